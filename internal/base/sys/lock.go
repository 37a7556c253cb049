package sys

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process, or another open of this one, has the
// lock.
var ErrLocked = errors.New("locked by another process")

// Flock locks the open file f for itself alone, or shared, without waiting.
// Postfix: the lock of queue files and of pid files.
func Flock(f *os.File, exclusive bool) error {
	op := unix.LOCK_SH
	if exclusive {
		op = unix.LOCK_EX
	}
	return control(f, func(fd int) error { return unix.Flock(fd, op|unix.LOCK_NB) })
}

// OFDLock locks all of the open file f with a lock of its open file
// description, without waiting. It excludes the fcntl locks of other programs,
// and other opens within this process.
func OFDLock(f *os.File, exclusive bool) error {
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	if exclusive {
		lock.Type = unix.F_WRLCK
	}
	return control(f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) })
}

// control runs lock on the descriptor of f.
func control(f *os.File, lock func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = lock(int(fd)) }); err != nil {
		return err
	}
	switch failed {
	case nil:
		return nil
	case unix.EAGAIN, unix.EACCES:
		return fmt.Errorf("lock %s: %w", f.Name(), ErrLocked)
	}
	return fmt.Errorf("lock %s: %w", f.Name(), failed)
}

// WaitLock calls lock until it no longer says ErrLocked, or until stop is
// closed.
func WaitLock(stop <-chan struct{}, lock func() error) error {
	for {
		err := lock()
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-stop:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// OpenPIDFile opens the file at path for this process's number without
// locking it. The file is made with mode 0600 when it is missing; a link in
// its place is refused.
func OpenPIDFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file %s: %w", path, err)
	}
	return f, nil
}

// WritePID writes the number of this process into a locked pid file.
// Postfix: right-aligned in 32 columns.
func WritePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%32d\n", os.Getpid()), 0); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}
