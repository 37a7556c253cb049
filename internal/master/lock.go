package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"postern/internal/base/sys"
)

// pidFile is below the queue directory; its lock says that a master runs.
func (m *master) pidFile() string {
	return filepath.Join(m.conf.common.ProcessIDDirectory, "master.pid")
}

// testLock is -t: status 0 when no master has the lock.
func (m *master) testLock() (int, error) {
	f, err := os.OpenFile(m.pidFile(), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 1, fmt.Errorf("open lock file %s: %w", m.pidFile(), err)
	}
	defer f.Close()
	if err := sys.Flock(f, true); err != nil {
		return 1, lockFailed(m.pidFile(), err)
	}
	return 0, nil
}

// takeLocks keeps a second master out of the queue directory and out of the
// data directory. Postfix's master honours the same locks.
func (m *master) takeLocks() (err error) {
	if m.lock, err = takeLock(m.pidFile()); err != nil {
		return err
	}
	path := filepath.Join(m.conf.common.DataDirectory, "master.lock")
	if m.dataLock, err = takeLock(path); err == nil && m.conf.owner != nil {
		err = m.dataLock.Chown(m.conf.owner.UID, -1)
	}
	return err
}

func takeLock(path string) (*os.File, error) {
	f, err := sys.OpenPIDFile(path)
	if err != nil {
		return nil, err
	}
	if err := sys.Flock(f, true); err != nil {
		f.Close()
		return nil, lockFailed(path, err)
	}
	return f, nil
}

func lockFailed(path string, err error) error {
	if errors.Is(err, sys.ErrLocked) {
		return fmt.Errorf("open lock file %s: unable to set exclusive lock: %w", path, syscall.EAGAIN)
	}
	return err
}
