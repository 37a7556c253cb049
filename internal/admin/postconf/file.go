package postconf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
)

// lockLimit is how long another edit is waited for.
const lockLimit = 10 * time.Second

// rewrite replaces the file at path by what change makes of its lines. The new
// file is complete and on stable storage before it takes the old one's name;
// two edits at the same time follow each other.
func rewrite(path string, change func(lines []string) ([]string, error)) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	tmp, err := lockedFile(path + ".tmp")
	if err != nil {
		return err
	}
	defer tmp.Close()
	renamed := false
	defer func() {
		if !renamed { // later the name may be that of the next edit's file
			os.Remove(tmp.Name())
		}
	}()
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(string(old), "\n")
	if n := len(lines); lines[n-1] == "" {
		lines = lines[:n-1]
	} else {
		lines[n-1] += "\n"
	}
	if lines, err = change(lines); err != nil {
		return err
	}
	text := []byte(strings.Join(lines, ""))
	if bytes.Equal(text, old) {
		return nil
	}
	if err := fill(path, tmp, text); err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	renamed = true
	return syncDir(filepath.Dir(path))
}

// lockedFile opens and locks the temporary file. The lock is good only while
// the file has its name: the holder before has given the name away.
func lockedFile(name string) (*os.File, error) {
	stop := make(chan struct{})
	timer := time.AfterFunc(lockLimit, func() { close(stop) })
	defer timer.Stop()
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := sys.WaitLock(stop, func() error { return sys.Flock(f, true) }); err != nil {
			f.Close()
			return nil, fmt.Errorf("another edit goes on: %w", err)
		}
		have, err1 := f.Stat()
		named, err2 := os.Lstat(name)
		if err1 == nil && err2 == nil && os.SameFile(have, named) {
			return f, nil
		}
		f.Close()
	}
}

// fill writes text to tmp and gives it the owner and mode of path.
func fill(path string, tmp *os.File, text []byte) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if err := tmp.Truncate(0); err != nil {
		return err
	}
	if _, err := tmp.WriteAt(text, 0); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := tmp.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := tmp.Chmod(os.FileMode(st.Mode & 0o777)); err != nil {
		return err
	}
	return tmp.Sync()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// edit goes through the physical lines of a file. For each logical line, which
// is given as it starts, decide says what becomes of it; comments stay where
// they are.
func edit(lines []string, decide func(number int, first string) action) []string {
	var out []string
	var now action
	for i, line := range lines {
		t := strings.TrimLeft(line, " \t\r\v\f")
		if t == "" || t[0] == '\n' || t[0] == '#' {
			out = append(out, line)
			continue
		}
		if len(t) == len(line) {
			now = decide(i+1, line)
			if now.kind == replaced {
				out = append(out, now.text+"\n")
			}
		}
		switch now.kind {
		case kept:
			out = append(out, line)
		case commented:
			out = append(out, "#"+line)
		}
	}
	return out
}

// An action is what happens to a logical line.
type action struct {
	kind int
	text string // of a replaced line
}

const (
	kept = iota
	removed
	commented
	replaced
)
