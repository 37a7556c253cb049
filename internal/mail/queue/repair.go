package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fixing ends the name of a file on its way to a name that another file may
// have until the next pass.
const fixing = "#FIX"

// A Repair looks through whole queues and puts right what a crash or a copy of
// the queue has left: postsuper -s and -p.
type Repair struct {
	Structure bool                             // move files to the directory and name that are theirs
	LongToo   bool                             // long ids must match the inode as well
	Purge     time.Time                        // remove files older than this that never were complete; zero: none
	Strange   func(format string, args ...any) // told of what does not belong into a queue
	Renamed   int                              // messages whose id has changed
}

// Run repairs the queues. What an interrupted run has left, the next one
// finishes.
func (r *Repair) Run(s *Store, queues []Name) error {
	if err := r.pass(s, queues); err != nil {
		return err
	}
	if r.Renamed == 0 {
		return nil
	}
	final := *r
	final.Strange = func(string, ...any) {}
	final.Purge = time.Time{}
	all := append([]Name{Bounce, Defer, Trace}, queues...)
	return final.pass(s, all)
}

func (r *Repair) pass(s *Store, queues []Name) error {
	for _, q := range queues {
		if _, err := ParseName(string(q)); err != nil {
			return err
		}
		if err := r.directory(s, q, string(q), 0); err != nil {
			return err
		}
	}
	return nil
}

// deepest bounds how far down directories are looked into.
const deepest = 32

func (r *Repair) directory(s *Store, q Name, path string, depth int) error {
	names, err := s.names(path)
	if err != nil || depth > deepest {
		return err
	}
	for _, name := range names {
		if err := r.entry(s, q, path+"/"+name, name, depth); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	wanted := 0
	if s.Hashed(q) {
		wanted = s.cfg.HashDepth
	}
	if r.Structure && depth > wanted {
		unix.Unlinkat(s.dir, path, unix.AT_REMOVEDIR) // fails when something is left in it
	}
	return nil
}

// names lists a directory. It is held whole, because files move while it is
// worked on.
func (s *Store) names(path string) ([]string, error) {
	dir, err := s.base()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("scan directory %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	return f.Readdirnames(-1)
}

func (r *Repair) entry(s *Store, q Name, path, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(s.dir, path, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if len(name) != 1 {
			r.Strange("bogus directory name: %s", path)
			return nil
		}
		return r.directory(s, q, path, depth+1)
	case unix.S_IFREG:
	default:
		r.Strange("not a regular file: %s", path)
		return nil
	}
	unfinished := tempName(name) || q.holdsMessages() && !newInfo(&st).Ready()
	if unfinished && !r.Purge.IsZero() && time.Unix(st.Mtim.Unix()).Before(r.Purge) {
		if err := unix.Unlinkat(s.dir, path, 0); err != nil {
			return fmt.Errorf("remove file %s: %w", path, err)
		}
		return nil
	}
	base, _ := strings.CutSuffix(name, fixing)
	id, err := ParseID(base)
	if _, ok := id.WithInode(0); err != nil || !ok && q.holdsMessages() {
		r.Strange("bogus file name: %s", path)
		return nil
	}
	if !r.Structure {
		return nil
	}
	return r.place(s, q, path, id, st.Ino)
}

// holdsMessages says whether the files of the queue are messages, not logs.
func (q Name) holdsMessages() bool {
	switch q {
	case Bounce, Defer, Trace, Flush:
		return false
	}
	return true
}

// place gives a file the name and the directory that are its own.
func (r *Repair) place(s *Store, q Name, path string, id ID, inode uint64) error {
	if q.holdsMessages() && (!id.Long() || r.LongToo) {
		if own, _ := id.WithInode(inode); own != id {
			r.Renamed++
			for _, log := range [...]Name{Bounce, Defer, Trace} {
				err := s.shift(s.Path(log, id), s.Path(log, own)+fixing, log)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			if err := s.shift(path, s.Path(q, own)+fixing, q); err != nil {
				return err
			}
			return s.renamed(q, id, s.Path(q, own)+fixing)
		}
	}
	if target := s.Path(q, id); path != target {
		return s.shift(path, target, q)
	}
	return nil
}

// shift renames a file within a queue. It never replaces another file.
func (s *Store) shift(from, to string, q Name) error {
	err := unix.Renameat2(s.dir, from, s.dir, to, unix.RENAME_NOREPLACE)
	if err == unix.ENOENT && s.Hashed(q) && exists(s.dir, from) && s.mkdirs(s.dir, to) == nil {
		err = unix.Renameat2(s.dir, from, s.dir, to, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return fmt.Errorf("rename file %s as %s: %w", from, to, err)
	}
	return nil
}

func exists(dir int, path string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, path, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}
