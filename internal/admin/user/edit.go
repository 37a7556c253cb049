package user

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/protocol/sasl"
)

// mode of the file: the mail system reads it by its group.
const mode = 0o640

// edit changes the lines of the file under its lock. at is the line of the
// user, -1 without one.
func (j *job) edit(name string, change func(lines []string, at int) ([]string, error)) error {
	lock, err := lockFile(j.path)
	if err != nil {
		return err
	}
	defer lock.Close()
	var lines []string
	at := -1
	err = sasl.ReadUsers(lock, func(_ int, user, _, text string, _ error) error {
		if user == name {
			at = len(lines)
		}
		lines = append(lines, text)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s, %w", j.path, err)
	}
	if lines, err = change(lines, at); err != nil {
		return err
	}
	return j.replace(lines)
}

// lockFile opens the file, which is made where it is missing, and locks it. A
// file that was replaced while this process waited is not the file any more.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, mode)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		held, err := f.Stat()
		if err == nil {
			var now os.FileInfo
			if now, err = os.Lstat(path); err == nil && os.SameFile(held, now) {
				return f, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// replace writes a new file beside the old one, syncs it and puts it in place.
func (j *job) replace(lines []string) (err error) {
	dir := filepath.Dir(j.path)
	f, err := os.CreateTemp(dir, ".sasl_users-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	defer f.Close()
	w := bufio.NewWriter(f)
	for _, l := range lines {
		w.WriteString(l + "\n")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := j.protect(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), j.path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// protect lets the mail system read the file, and nobody else. The owner is
// that of the file before.
func (j *job) protect(f *os.File) error {
	if os.Geteuid() == 0 {
		o, err := sys.LookupOwner(j.Common.MailOwner)
		if err != nil {
			return fmt.Errorf("parameter mail_owner: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(j.path, &st); err != nil {
			return err
		}
		if err := f.Chown(int(st.Uid), int(o.GID)); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}
