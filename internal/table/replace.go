package table

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/errno"
)

// A Target is the file that a table is written to.
type Target struct {
	Path  string
	Perm  os.FileMode // of a new file
	Fresh bool        // a file that exists does not pass its mode on
}

// Replace writes a new file and puts it in the place of t.Path when it is
// complete and on disk; readers see the old contents or the new, nothing
// between. A file that exists passes its mode and owner on. Where the directory
// cannot be written, the old file is overwritten.
func (t Target) Replace(write func(f *os.File) error) error {
	path := t.Path
	f, err := createBeside(path, t.Perm)
	if errors.Is(err, os.ErrPermission) {
		return overwrite(path, write)
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := t.inherit(f); err != nil {
		return err
	}
	if err := fill(f, path, write); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// fill writes f, which is to be path, and syncs it.
func fill(f *os.File, path string, write func(f *os.File) error) error {
	err := write(f)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errno.LibC(err))
	}
	return nil
}

// overwrite writes into the file at path while no reader is in it.
func overwrite(path string, write func(f *os.File) error) error {
	f, err := OpenLocked(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	return fill(f, path, write)
}

// createBeside creates a file of an unused name in the directory of path.
func createBeside(path string, perm os.FileMode) (*os.File, error) {
	for try := 0; ; try++ {
		name := fmt.Sprintf("%s.%d-%d.tmp", path, os.Getpid(), time.Now().UnixNano())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if err == nil || !errors.Is(err, os.ErrExist) || try > 100 {
			if err != nil {
				err = fmt.Errorf("create %s: %w", path, errno.LibC(err))
			}
			return f, err
		}
	}
}

// inherit gives f the mode and, where permitted, the owner of the old file.
func (t Target) inherit(f *os.File) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(t.Path, &st); err != nil {
		return f.Chmod(t.Perm) // there is no old file
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fmt.Errorf("%s exists and is not a regular file", t.Path)
	}
	if t.Fresh {
		return f.Chmod(t.Perm)
	}
	f.Chown(int(st.Uid), int(st.Gid)) // who may not do that owns the new file
	return f.Chmod(os.FileMode(st.Mode & 0o777))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// LockRead takes a shared lock on all of f until Unlock or the file is closed.
// It conflicts with the fcntl locks of Postfix's commands.
func LockRead(f *os.File) error { return lock(f, unix.F_RDLCK) }

// LockWrite takes the exclusive lock.
func LockWrite(f *os.File) error { return lock(f, unix.F_WRLCK) }

// Unlock gives the lock up.
func Unlock(f *os.File) error { return lock(f, unix.F_UNLCK) }

func lock(f *os.File, kind int16) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: kind})
		if !errors.Is(err, syscall.EINTR) {
			if err != nil {
				return fmt.Errorf("lock %s: %w", f.Name(), err)
			}
			return nil
		}
	}
}

// OpenLocked opens the file at path with the exclusive lock on the version
// that has the name now; it waits for whoever is replacing it.
func OpenLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("open database %s: %w", path, errno.LibC(err))
		}
		if err := LockWrite(f); err != nil {
			f.Close()
			return nil, err
		}
		mine, err1 := f.Stat()
		now, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
	}
}
