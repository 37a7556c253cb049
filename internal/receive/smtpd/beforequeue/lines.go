package beforequeue

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"postern/internal/mail/record"
)

// A lines takes a stream of records, in pieces of any size, and passes on the
// lines between the marks of the content's begin and end.
type lines struct {
	emit    func(line []byte, full bool) error
	rest    []byte // the begin of a record
	content bool
}

// Write takes the next piece.
func (l *lines) Write(p []byte) (int, error) {
	b := p
	if len(l.rest) > 0 {
		l.rest = append(l.rest, p...)
		b = l.rest
	}
	for {
		t, data, n, err := record.Split(b, record.MaxLength)
		if err != nil {
			return 0, err
		}
		if n > len(b) {
			break
		}
		b = b[n:]
		if err := l.record(t, data); err != nil {
			return 0, err
		}
	}
	l.rest = append(l.rest[:0:0], b...)
	return len(p), nil
}

func (l *lines) record(t record.Type, data []byte) error {
	switch {
	case t == record.Mesg:
		l.content = true
	case t == record.Xtra:
		l.content = false
	case l.content && (t == record.Norm || t == record.Cont):
		return l.emit(data, t == record.Norm)
	}
	return nil
}

// tempFile makes a file without a name in dir, so that nothing is left behind
// whatever happens.
func tempFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "proxy.")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
