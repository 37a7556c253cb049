package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// scanBatch is how many directory entries are held at once.
const scanBatch = 256

// An Entry is a file that a scan has found.
type Entry struct {
	ID   ID     // "" when Name is no queue id: a temporary file, something strange
	Name string // of the file
	Path string // relative to the queue directory
}

// A Scanner lists the files of a queue and of its hashed directories, a few at
// a time, in the order of the file system. Files that come or go meanwhile may
// or may not be seen.
type Scanner struct {
	s    *Store
	open []*level
}

type level struct {
	f     *os.File
	path  string
	names []string
}

// Scanner begins a scan of the queue.
func (s *Store) Scanner(q Name) (*Scanner, error) {
	if _, err := ParseName(string(q)); err != nil {
		return nil, err
	}
	sc := &Scanner{s: s}
	if err := sc.push(string(q)); err != nil {
		return nil, err
	}
	return sc, nil
}

func (sc *Scanner) push(path string) error {
	dir, err := sc.s.base()
	if err != nil {
		return err
	}
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("scan directory %s: %w", filepath.Join(sc.s.cfg.Dir, path), err)
	}
	sc.open = append(sc.open, &level{f: os.NewFile(uintptr(fd), path), path: path})
	return nil
}

// Next returns the next file, and io.EOF after the last one.
// Postfix: a directory of a hashed queue is told by its name of one letter.
func (sc *Scanner) Next() (Entry, error) {
	for len(sc.open) > 0 {
		l := sc.open[len(sc.open)-1]
		if len(l.names) == 0 {
			names, err := l.f.Readdirnames(scanBatch)
			if len(names) == 0 {
				sc.pop()
				if err != nil && err != io.EOF {
					return Entry{}, fmt.Errorf("scan directory %s: %w", filepath.Join(sc.s.cfg.Dir, l.path), err)
				}
				continue
			}
			l.names = names
		}
		name := l.names[0]
		l.names = l.names[1:]
		path := l.path + "/" + name
		if len(name) == 1 {
			if err := sc.push(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				return Entry{}, err
			}
			continue
		}
		id, _ := ParseID(name)
		return Entry{ID: id, Name: name, Path: path}, nil
	}
	return Entry{}, io.EOF
}

func (sc *Scanner) pop() {
	sc.open[len(sc.open)-1].f.Close()
	sc.open = sc.open[:len(sc.open)-1]
}

// Close ends the scan early.
func (sc *Scanner) Close() error {
	for len(sc.open) > 0 {
		sc.pop()
	}
	return nil
}

// Scan lists the ids of the queue. An error ends the list.
func (s *Store) Scan(q Name) iter.Seq2[ID, error] {
	return func(yield func(ID, error) bool) {
		sc, err := s.Scanner(q)
		if err != nil {
			yield("", err)
			return
		}
		defer sc.Close()
		for {
			e, err := sc.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield("", err)
				return
			}
			if e.ID != "" && !yield(e.ID, nil) {
				return
			}
		}
	}
}

// RemoveStaleTemp removes the file of e when it is a temporary file, one that
// never got its id, and was not touched since before. Links and strange files
// stay.
func (s *Store) RemoveStaleTemp(e Entry, before time.Time) (bool, error) {
	if !tempName(e.Name) {
		return false, nil
	}
	dir, err := s.base()
	if err != nil {
		return false, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(dir, e.Path, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || !time.Unix(st.Mtim.Unix()).Before(before)) {
		return false, nil
	}
	if err == nil {
		err = unix.Unlinkat(dir, e.Path, 0)
	}
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove file %s: %w", e.Path, err)
	}
	return true, nil
}

// tempName says whether a name is of the form "<microseconds>.<process>".
func tempName(name string) bool {
	dots := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.' && i > 0 && i < len(name)-1:
			dots++
		case c < '0' || c > '9':
			return false
		}
	}
	return dots == 1
}
