package queue

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Files of finished messages are used again. To make a file and to free it are
// the dearest things that a file system does for a message; to rename one is
// cheap. A finished file is marked incomplete and renamed into the directory
// "spare", where its name is its inode number; a new draft takes one from there
// and writes over what is in it.
//
// Nothing in "spare" is ever taken for a message: it is no queue. The name is
// the inode, so two processes that reach for the same name have the same file,
// and only one of them can rename it. A crash in between leaves a file that is
// incomplete, or the finished message in its old place, which is
// where a crash before an unlink would have left it.
const (
	spareDir = "spare"
	// spareMax bounds how many files wait.
	spareMax = 4096
	// sparePause is how long an empty directory is not looked at again.
	sparePause = 50 * time.Millisecond
)

// spares is what a store knows of the directory.
type spares struct {
	mu     sync.Mutex
	names  []string  // found, not yet taken
	empty  time.Time // when a look found nothing
	budget int       // how many files may be added before it is counted again
}

// Recycle removes a message that is finished, and keeps its file for another
// one where it can. Where it cannot, the file is unlinked.
func (s *Store) Recycle(q Name, id ID) error {
	if err := check(q, id); err != nil {
		return err
	}
	dir, err := s.base()
	if err == nil {
		err = s.fails(OpRemove, q, id)
	}
	if err != nil {
		return fmt.Errorf("remove queue file %s: %w", s.Path(q, id), err)
	}
	s.noteDone(q, id)
	path := s.Path(q, id)
	if s.roomForSpare(dir) && makeSpare(dir, path) == nil {
		s.spareAdded()
		return nil
	}
	if err := unix.Unlinkat(dir, path, 0); err != nil {
		return fmt.Errorf("remove queue file %s: %w", path, err)
	}
	return nil
}

// errUnfit is why a file is not used again.
var errUnfit = errors.New("file is not fit to be used again")

func makeSpare(dir int, path string) error {
	inode, err := empty(dir, path)
	if err != nil {
		return err
	}
	return unix.Renameat(dir, path, dir, sparePath(inode))
}

// spareSize is up to which size a file keeps what is in it: to free the blocks
// and to take them again costs more than to write over them.
const spareSize = journalMax

// empty makes the file incomplete, and empty if it is large, and returns its
// inode. The lock is gone when it returns: whoever uses the file next must not
// find it locked.
func empty(dir int, path string) (inode uint64, err error) {
	fd, err := unix.Openat(dir, path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// Somebody who still holds the lock still works with the message.
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 || st.Uid != uint32(os.Geteuid()) {
		return 0, errUnfit
	}
	if err := unix.Fchmod(fd, modeDraft); err != nil {
		return 0, err
	}
	if st.Size > spareSize {
		err = unix.Ftruncate(fd, 0)
	}
	return st.Ino, err
}

func sparePath(inode uint64) string { return spareDir + "/" + strconv.FormatUint(inode, 16) }

// roomForSpare counts the directory now and then, and makes it when it is
// missing.
func (s *Store) roomForSpare(dir int) bool {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	if s.spare.budget > 0 {
		s.spare.budget--
		return true
	}
	if s.spare.budget < 0 {
		s.spare.budget++
		return false
	}
	names, err := readSpares(dir)
	if errors.Is(err, unix.ENOENT) && unix.Mkdirat(dir, spareDir, 0o700) == nil {
		err = nil
	}
	room := spareMax - len(names)
	if err != nil || room <= 0 {
		// The next messages are unlinked without another look.
		s.spare.budget = -spareMax / 4
		return false
	}
	s.spare.budget = room - 1
	return true
}

// spareAdded makes the next look find what was added here.
func (s *Store) spareAdded() {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	s.spare.empty = time.Time{}
}

func readSpares(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, spareDir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), spareDir)
	defer f.Close()
	return f.Readdirnames(-1)
}

// takeSpare makes a spare file the message id of the queue, and returns its
// descriptor and size; ok is false when there is none.
func (s *Store) takeSpare(dir int, q Name) (fd int, id ID, size int64, ok bool) {
	for range 8 {
		name, found := s.nextSpare(dir)
		if !found {
			return -1, "", 0, false
		}
		if fd, st, err := openSpare(dir, name); err == nil {
			id = newID(s.now(), st.Ino, s.cfg.LongIDs)
			if s.renamePath(spareDir+"/"+name, q, id) == nil {
				return fd, id, st.Size, true
			}
			unix.Close(fd)
		}
	}
	return -1, "", 0, false
}

func (s *Store) nextSpare(dir int) (string, bool) {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	if len(s.spare.names) == 0 {
		if now := s.now(); now.Sub(s.spare.empty) < sparePause && now.After(s.spare.empty) {
			return "", false
		}
		names, err := readSpares(dir)
		if err != nil || len(names) == 0 {
			s.spare.empty = s.now()
			return "", false
		}
		s.spare.names = names
	}
	last := len(s.spare.names) - 1
	name := s.spare.names[last]
	s.spare.names = s.spare.names[:last]
	return name, true
}

// openSpare opens a file of the directory and looks whether it is what its name
// says: incomplete, ours, and under no other name.
func openSpare(dir int, name string) (fd int, st unix.Stat_t, err error) {
	inode, err := strconv.ParseUint(name, 16, 64)
	if err != nil {
		return -1, st, err
	}
	fd, err = unix.Openat(dir, spareDir+"/"+name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err == nil {
		if st.Ino == inode && st.Mode == unix.S_IFREG|modeDraft && st.Nlink == 1 && st.Uid == uint32(os.Geteuid()) {
			return fd, st, nil
		}
		err = errUnfit
	}
	unix.Close(fd)
	return -1, st, err
}

// ScrubSpares empties the spare files that were finished before the time: what
// was in old messages is not kept for longer than it helps. Like one who takes
// a file, it first makes the name its own; a file of any other name than its
// inode's is of no use to anybody.
func (s *Store) ScrubSpares(before time.Time) error {
	dir, err := s.base()
	if err != nil {
		return err
	}
	names, err := readSpares(dir)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("scan directory %s: %w", spareDir, err)
	}
	for _, name := range names {
		path := spareDir + "/" + name
		own, taken := strings.CutSuffix(path, scrubbing)
		var st unix.Stat_t
		if unix.Fstatat(dir, path, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || !taken && (st.Size == 0 || !time.Unix(st.Ctim.Unix()).Before(before)) {
			continue
		}
		if !taken && unix.Renameat(dir, path, dir, path+scrubbing) != nil {
			continue
		}
		if err := scrub(dir, own+scrubbing); err != nil {
			return fmt.Errorf("empty file %s: %w", own, err)
		}
		if err := unix.Renameat(dir, own+scrubbing, dir, own); err != nil {
			return fmt.Errorf("rename file %s: %w", own, err)
		}
	}
	return nil
}

// scrubbing ends the name of a file that is being emptied.
const scrubbing = ".empty"

func scrub(dir int, path string) error {
	fd, err := unix.Openat(dir, path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Ftruncate(fd, 0)
}
