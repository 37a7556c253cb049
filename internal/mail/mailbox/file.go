package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/mail/dsn"
)

// A File is an mbox, or another file, that mail is appended to.
type File struct {
	Path  string
	Owner sys.Owner // the recipient: who writes the file
	// Creator makes the file and its lock file, in a directory where the owner
	// must not; nil: the owner. The file is given to the owner.
	Creator *sys.Owner
	Strict  bool       // a file that the owner does not own is refused
	Any     bool       // devices and such are written to as well; files that can be executed are refused
	Limit   int64      // largest size of the file; 0: none
	Default dsn.Status // of a failure that is not the system's; "" for 5.2.0
	// Warn takes what is odd but no reason to fail, with Any; it may be nil.
	Warn func(format string, args ...any)
}

// failure makes an *Error of a system's error.
func (f *File) failure(err error, format string, args ...any) *Error {
	def := f.Default
	if def == "" {
		def = "5.2.0"
	}
	return failure(err, def, format, args...)
}

// Append appends a message. When it returns nil the message is on stable
// storage. On failure what was written is taken back. Errors are of type *Error.
func (l *Locker) Append(f *File, c *Copy, content Content) error {
	defer l.take(f.Path)()
	if f.Creator == nil {
		return sys.As(f.Owner, func() error {
			unlock, err := l.prepare(f)
			if err != nil {
				return err
			}
			defer unlock()
			return l.appendTo(f, c, content)
		})
	}
	var unlock func()
	err := sys.As(*f.Creator, func() (err error) {
		if unlock, err = l.prepare(f); err == nil {
			if err = f.createFor(); err != nil {
				unlock()
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	defer sys.As(*f.Creator, func() error { unlock(); return nil })
	return sys.As(f.Owner, func() error { return l.appendTo(f, c, content) })
}

// prepare makes the lock file.
func (l *Locker) prepare(f *File) (unlock func(), err error) {
	if !l.Methods.Dotlock || f.special() {
		return func() {}, nil
	}
	unlock, err = l.dotlock(f.Path)
	switch {
	case err == nil:
		return unlock, nil
	case errors.Is(err, os.ErrExist):
		return nil, &Error{"4.2.0", fmt.Sprintf("unable to create lock file %s.lock: %s", f.Path, systemText(err)), err}
	}
	e := f.failure(err, "unable to create lock file %s.lock", f.Path)
	if !f.Any {
		return nil, e
	}
	// A file need not be where its owner can make others.
	if f.Warn != nil {
		f.Warn("%s", e.Reason)
	}
	return func() {}, nil
}

// createFor makes an empty file for the owner where there is none.
func (f *File) createFor() error {
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return f.failure(err, "cannot create file exclusively")
	}
	defer file.Close()
	if os.Geteuid() == 0 {
		err = file.Chown(f.Owner.UID, f.Owner.GID)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.Path))
	}
	if err != nil {
		return failure(err, "4.2.0", "cannot give file %s to its owner", f.Path)
	}
	return nil
}

func (l *Locker) appendTo(f *File, c *Copy, content Content) error {
	file, created, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	if !f.special() {
		if err := l.lock(file); err != nil {
			return &Error{"4.2.0", "unable to lock for exclusive access: " + systemText(err), err}
		}
	}
	return f.append(file, created, c, content)
}

// special says that the path names something that is not a file.
func (f *File) special() bool {
	st, err := os.Stat(f.Path)
	return err == nil && !st.Mode().IsRegular()
}

// open opens the file, or makes it. What is refused is so for now: nobody has
// lost mail because a link was in the way.
func (f *File) open() (*os.File, bool, error) {
	for try := 0; ; try++ {
		file, err := f.openExisting()
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return file, false, err
		}
		flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
		file, err = os.OpenFile(f.Path, flags, 0o600)
		if errors.Is(err, os.ErrExist) && try == 0 {
			continue
		}
		if err != nil {
			return nil, false, f.failure(err, "cannot create file exclusively")
		}
		return file, true, nil
	}
}

func (f *File) openExisting() (*os.File, error) {
	flags := os.O_WRONLY | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	var link unix.Stat_t
	// Postfix: a symbolic link is followed if root has made it.
	if err := unix.Lstat(f.Path, &link); err == nil && link.Mode&unix.S_IFMT == unix.S_IFLNK && link.Uid == 0 {
		flags &^= unix.O_NOFOLLOW
	}
	file, err := os.OpenFile(f.Path, flags, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, err
	case errors.Is(err, syscall.ELOOP):
		return nil, &Error{"4.2.0", "cannot open file: file is a symbolic link", err}
	case err != nil:
		return nil, f.failure(err, "cannot open file")
	}
	if err := f.check(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// check looks at what has been opened.
func (f *File) check(file *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return failure(err, "4.3.0", "fstat %s", f.Path)
	}
	regular := st.Mode&unix.S_IFMT == unix.S_IFREG
	owner := os.Geteuid() // of this thread
	if owner == 0 {
		owner = f.Owner.UID
	}
	switch {
	case !regular && !f.Any:
		return &Error{"5.2.0", fmt.Sprintf("destination %s is not a regular file", f.Path), nil}
	case regular && st.Nlink != 1:
		return &Error{"4.2.0", fmt.Sprintf("cannot open file: file has %d hard links", st.Nlink), nil}
	case f.Any && regular && st.Mode&0o111 != 0:
		return &Error{"5.7.1", "file is executable", nil}
	case f.Strict && regular && int(st.Uid) != owner:
		return &Error{"4.2.0", fmt.Sprintf("destination %s is not owned by recipient", f.Path), ErrNotOwner}
	}
	return nil
}

// ErrNotOwner is the cause when a mailbox belongs to somebody else
// (strict_mailbox_ownership).
var ErrNotOwner = errors.New("not the owner")

func (f *File) append(file *os.File, created bool, c *Copy, content Content) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return failure(err, "4.3.0", "fstat %s", f.Path)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		if err := c.To(file, content); err != nil {
			return copyFailure(err)
		}
		return nil
	}
	err := c.To(limit(file, st.Size, f.Limit), content)
	if err == nil {
		if e := file.Sync(); e != nil {
			err = &WriteError{e}
		}
	}
	if err == nil && created {
		if e := syncDir(filepath.Dir(f.Path)); e != nil {
			err = &WriteError{e}
		}
	}
	if err != nil {
		// What another reader must not take for a message goes again.
		if e := file.Truncate(st.Size); e != nil {
			return &Error{Status(err, "5.3.0"), err.Error() + "; and the file cannot be truncated: " + systemText(e), err}
		}
		return copyFailure(err)
	}
	return nil
}
