package queue

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/mail/queue/journal"
)

// draftBuffer holds a small message whole: envelope, content and the changes
// made in place go to the file by one write. A message that outgrows it gets a
// largeBuffer, if not too many are in use.
const (
	draftBuffer = 32 << 10
	largeBuffer = journalMax
	maxLarge    = 64
)

var (
	draftBuffers = sync.Pool{New: func() any { return new([draftBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// A Draft is a message that is being written. Its maker fills it, in order and
// at offsets, and ends with Commit or Cancel. It buffers; it is for one
// goroutine.
type Draft struct {
	// Queue is where Commit puts the message; until then it stays in the queue
	// for which it was created.
	Queue Name

	s     *Store
	q     Name
	id    ID
	fd    int
	small *[draftBuffer]byte
	large *[largeBuffer]byte // in the place of small
	buf   []byte             // the whole of the one that is in use
	base  int64              // offset in the file of buf[0]
	n     int                // octets in buf
	size  int64              // of the file, the buffer included
	err   error

	spare   bool  // the file was used before
	old     int64 // what is left in it from then, 0 when that is gone
	entered bool  // the message may be in the journal

	made time.Time // later than whatever is noted of another message with this id
}

var errClosed = errors.New("draft is closed")

// Create makes a message file in the queue, of mode 0600 and named by its id.
func (s *Store) Create(q Name) (*Draft, error) {
	if _, err := ParseName(string(q)); err != nil {
		return nil, err
	}
	dir, err := s.base()
	if err != nil {
		return nil, err
	}
	if err := s.fails(OpCreate, q, ""); err != nil {
		return nil, fmt.Errorf("create file in queue %s: %w", q, err)
	}
	if q == Incoming {
		if fd, id, old, ok := s.takeSpare(dir, q); ok {
			d := s.newDraft(q, id, fd)
			d.spare, d.old = true, old
			return d, nil
		}
	}
	fd, temp, err := s.createTemp(dir, q)
	if err != nil {
		return nil, fmt.Errorf("create file in queue %s: %w", q, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		id := newID(s.now(), st.Ino, s.cfg.LongIDs)
		if err = s.renamePath(temp, q, id); err == nil {
			return s.newDraft(q, id, fd), nil
		}
	}
	unix.Unlinkat(dir, temp, 0)
	unix.Close(fd)
	return nil, fmt.Errorf("create file in queue %s: %w", q, err)
}

func (s *Store) newDraft(q Name, id ID, fd int) *Draft {
	small := draftBuffers.Get().(*[draftBuffer]byte)
	return &Draft{Queue: q, s: s, q: q, id: id, fd: fd, small: small, buf: small[:], made: time.Now()}
}

// createTemp makes a file named by the time and the process; another goroutine
// may have been there in the same microsecond.
func (s *Store) createTemp(dir int, q Name) (fd int, name string, err error) {
	for range 1000 {
		b := make([]byte, 0, 48)
		b = append(b, q...)
		b = append(b, '/')
		b = strconv.AppendInt(b, int64(s.now().Nanosecond()/1000), 10)
		b = append(b, '.')
		b = append(b, s.pid...)
		name = string(b)
		fd, err = unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, modeDraft)
		if err != unix.EEXIST && err != unix.EINTR {
			return fd, name, err
		}
	}
	return -1, "", err
}

// ID returns the message's id.
func (d *Draft) ID() ID { return d.id }

// Size returns the number of octets written so far.
func (d *Draft) Size() int64 { return d.size }

// Write appends b.
func (d *Draft) Write(b []byte) (int, error) {
	done := 0
	for len(b) > 0 {
		if err := d.room(); err != nil {
			return done, err
		}
		n := copy(d.buf[d.n:], b)
		d.advance(n)
		b = b[n:]
		done += n
	}
	return done, d.err
}

// AvailableBuffer returns the empty rest of the buffer, in which the next thing to
// Write may be put together.
func (d *Draft) AvailableBuffer() []byte {
	if d.buf == nil {
		return nil
	}
	return d.buf[d.n:d.n]
}

func (d *Draft) advance(n int) {
	d.n += n
	d.size += int64(n)
}

// room makes sure that the buffer takes another octet.
func (d *Draft) room() error {
	if d.buf == nil {
		d.err = d.error("write", errClosed)
	}
	if d.err == nil && d.n == len(d.buf) && !d.grow() {
		return d.flush()
	}
	return d.err
}

// grow gets a larger buffer for what has outgrown the small one.
func (d *Draft) grow() bool {
	if d.large != nil || d.base > 0 {
		return false
	}
	if d.s.large.Add(1) > maxLarge {
		d.s.large.Add(-1)
		return false
	}
	d.large = largeBuffers.Get().(*[largeBuffer]byte)
	copy(d.large[:], d.buf[:d.n])
	draftBuffers.Put(d.small)
	d.small, d.buf = nil, d.large[:]
	return true
}

// Flush writes what is buffered to the file, which then holds nothing else. The
// first error stays.
func (d *Draft) Flush() error {
	if err := d.flush(); err != nil {
		return err
	}
	return d.cut()
}

func (d *Draft) flush() error {
	if d.err != nil || d.n == 0 {
		return d.err
	}
	if err := d.pwrite(d.buf[:d.n], d.base); err != nil {
		return err
	}
	d.base += int64(d.n)
	d.n = 0
	return nil
}

// cut takes away what an earlier message has left behind the end of this one.
func (d *Draft) cut() error {
	if d.old <= d.size {
		return nil
	}
	if err := unix.Ftruncate(d.fd, d.size); err != nil {
		d.err = d.error("truncate", err)
		return d.err
	}
	d.old = 0
	return nil
}

func (d *Draft) pwrite(b []byte, off int64) error {
	err := d.s.fails(OpWrite, d.q, d.id)
	if err == nil {
		_, err = pwriteFull(d.fd, b, off)
	}
	if err != nil {
		d.err = d.error("write", err)
	}
	return d.err
}

// WriteAt overwrites octets that have been written. What is still buffered is
// changed there; what is after the end is refused.
func (d *Draft) WriteAt(b []byte, off int64) (int, error) {
	if d.buf == nil {
		d.err = d.error("write", errClosed)
	}
	if d.err != nil {
		return 0, d.err
	}
	if off < 0 || off+int64(len(b)) > d.size {
		return 0, d.error("write", fmt.Errorf("offset %d is outside the file", off))
	}
	if off >= d.base {
		return copy(d.buf[off-d.base:d.n], b), nil
	}
	if off+int64(len(b)) > d.base {
		if err := d.flush(); err != nil {
			return 0, err
		}
	}
	if err := d.pwrite(b, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadAt reads what has been written.
func (d *Draft) ReadAt(b []byte, off int64) (int, error) {
	if d.buf == nil {
		return 0, d.error("read", errClosed)
	}
	if off >= d.base && off < d.size {
		n := copy(b, d.buf[off-d.base:d.n])
		if n < len(b) {
			return n, io.EOF
		}
		return n, nil
	}
	if err := d.Flush(); err != nil {
		return 0, err
	}
	n, err := preadFull(d.fd, b, off)
	if err != nil && err != io.EOF {
		err = d.error("read", err)
	}
	return n, err
}

// Commit makes the message complete and brings it to stable storage: by the
// journal where it is small enough, else by its own file. After an error the message does not exist for anybody; the caller
// cancels it and must not try again: a failed sync may have lost what it could
// not write.
func (d *Draft) Commit() error {
	if d.buf == nil {
		return d.error("commit", errClosed)
	}
	inBuffer := d.base == 0 // Flush leaves it there
	if err := d.Flush(); err != nil {
		return err
	}
	if d.Queue != d.q {
		if err := d.s.Move(d.id, d.q, d.Queue); err != nil {
			d.err = err
			return err
		}
		d.q = d.Queue
	}
	err := d.complete()
	if err == nil {
		err = d.secure(inBuffer)
	}
	if err != nil {
		d.err = err
		return err
	}
	err = unix.Close(d.fd)
	d.release()
	if err != nil {
		return d.error("close", err)
	}
	return nil
}

// complete sets the mode of a complete message.
func (d *Draft) complete() error {
	mode := uint32(modeReady)
	if d.q == Maildrop {
		mode |= modeShared
	}
	err := d.s.fails(OpChmod, d.q, d.id)
	if err == nil {
		err = unix.Fchmod(d.fd, mode)
	}
	if err != nil {
		return d.error("mark complete", err)
	}
	return nil
}

// secure brings the message to stable storage. inBuffer says that the buffer
// holds it whole.
func (d *Draft) secure(inBuffer bool) error {
	err := d.s.fails(OpSync, d.q, d.id)
	if err == nil && d.size <= journalMax && d.s.journaled(d.q) {
		d.entered = true
		err = d.enter(inBuffer)
		if err == nil {
			return nil
		}
		if errors.Is(err, journal.ErrFull) || errors.Is(err, journal.ErrUnusable) {
			d.entered = false
			err = nil
		}
	}
	if err == nil {
		err = unix.Fsync(d.fd)
	}
	if err == nil && d.spare {
		// A new file brings its name along where there is no journal of the
		// file system; one that was used before does not.
		err = d.s.syncDir(d.s.Path(d.q, d.id))
	}
	if err != nil {
		return d.error("sync", err)
	}
	return nil
}

// enter writes the message to the journal.
func (d *Draft) enter(inBuffer bool) error {
	if inBuffer {
		return d.s.enter(d.q, d.id, d.made, d.buf[:d.size])
	}
	whole := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(whole)
	if _, err := preadFull(d.fd, whole[:d.size], 0); err != nil {
		return d.error("read", err)
	}
	return d.s.enter(d.q, d.id, d.made, whole[:d.size])
}

// Cancel removes the message's file. After a successful Commit, and when
// called again, it does nothing.
func (d *Draft) Cancel() error {
	if d.buf == nil {
		return nil
	}
	if d.entered {
		d.s.noteDone(d.q, d.id)
	}
	err := d.s.removePath(d.s.Path(d.q, d.id), d.q, d.id)
	unix.Close(d.fd)
	d.release()
	return err
}

func (d *Draft) release() {
	if d.large != nil {
		largeBuffers.Put(d.large)
		d.s.large.Add(-1)
	} else {
		draftBuffers.Put(d.small)
	}
	d.small, d.large, d.buf, d.fd, d.n = nil, nil, nil, -1, 0
}

func (d *Draft) error(what string, err error) error {
	return fmt.Errorf("%s queue file %s: %w", what, d.s.Path(d.q, d.id), err)
}
