// Package queue is the mail queue on stable storage: one file per message, in
// a directory per queue, named by the message's queue id.
//
// A message enters as a Draft, a file of mode 0600 that its maker fills and
// commits; from then on its mode is 0700 and it is complete. A file of another
// mode is being written, or was left behind by a crash. A complete message is
// opened as a File, moves from queue to queue under the same id, and is removed
// when every recipient is done. Short and long ids, hashed directories, modes
// and time stamps are Postfix's, so that either system can go on with a queue
// that the other one left.
//
// What is outside this package speaks of messages by queue name and id only.
package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/mail/queue/journal"
)

// Modes of a message file.
const (
	modeDraft   = 0o600
	modeReady   = 0o700
	modeCorrupt = 0o400
	// modeShared is added in maildrop, which pickup reads under another uid.
	modeShared = 0o044
)

// A Config says where the queue is and how its files are named.
type Config struct {
	Dir       string   // queue_directory
	HashNames []string // hash_queue_names: queues with hashed directories
	HashDepth int      // hash_queue_depth
	LongIDs   bool     // enable_long_queue_ids
	Journal   bool     // queue_journal: new messages are brought to stable storage together
}

// A Store is the queue of one instance. Its methods may be called from several
// goroutines.
type Store struct {
	cfg   Config
	fault Fault
	now   func() time.Time
	pid   string // of this process, in the names of temporary files

	spare      spares
	journalDir journal.Dir
	journal    *journal.Writer // nil: each message by itself
	done       *journal.Done   // nil likewise

	large atomic.Int32 // large buffers of drafts in use

	mu  sync.Mutex
	dir int // descriptor of the queue directory, -1 until it is needed
}

// New returns the store that c describes.
func New(c Config) *Store {
	s := &Store{cfg: c, now: time.Now, pid: strconv.Itoa(os.Getpid()), dir: -1}
	if c.Journal {
		s.journalDir = journal.NewDir(c.Dir + "/" + journalDir)
		s.journal, s.done = journal.NewWriter(s.journalDir), journal.NewDone(s.journalDir)
	}
	return s
}

// Dir returns queue_directory.
func (s *Store) Dir() string { return s.cfg.Dir }

// Prepare opens the queue directory, so that a later chroot or change of
// working directory does not matter.
func (s *Store) Prepare() error {
	_, err := s.base()
	return err
}

// Close releases what Prepare or the first use has opened.
func (s *Store) Close() error {
	if s.journal != nil {
		s.journal.Close()
		s.done.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir < 0 {
		return nil
	}
	err := unix.Close(s.dir)
	s.dir = -1
	return err
}

func (s *Store) base() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir >= 0 {
		return s.dir, nil
	}
	fd, err := unix.Open(s.cfg.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open queue directory %s: %w", s.cfg.Dir, err)
	}
	s.dir = fd
	return fd, nil
}

// Hashed says whether the queue has hashed directories.
func (s *Store) Hashed(q Name) bool {
	if s.cfg.HashDepth < 1 {
		return false
	}
	for _, n := range s.cfg.HashNames {
		if strings.EqualFold(n, string(q)) {
			return true
		}
	}
	return false
}

// Path returns where the message's file is, relative to the queue directory.
// It is for messages to people; the store opens files itself.
func (s *Store) Path(q Name, id ID) string {
	if !s.Hashed(q) {
		return string(q) + "/" + string(id)
	}
	b := make([]byte, 0, 64)
	b = append(b, q...)
	b = append(b, '/')
	key := id.hashKey()
	for i := range s.cfg.HashDepth {
		c := byte('_')
		if i < len(key) {
			c = key[i]
		}
		b = append(b, c, '/')
	}
	return string(append(b, id...))
}

// check refuses what must not become part of a path.
func check(q Name, id ID) error {
	if _, err := ParseName(string(q)); err != nil {
		return err
	}
	_, err := ParseID(string(id))
	return err
}

// Move moves the message from one queue to another.
func (s *Store) Move(id ID, from, to Name) error {
	return s.rename(from, id, to, id)
}

// Rename moves the message to another queue or id or both.
func (s *Store) Rename(from Name, id ID, to Name, newID ID) error {
	return s.rename(from, id, to, newID)
}

func (s *Store) rename(from Name, id ID, to Name, newID ID) error {
	if err := errors.Join(check(from, id), check(to, newID)); err != nil {
		return err
	}
	if err := s.renamePath(s.Path(from, id), to, newID); err != nil {
		return err
	}
	if newID != id || to == Maildrop { // what leaves maildrop again has another id
		return s.renamed(from, id, s.Path(to, newID))
	}
	return nil
}

// renamePath makes the file at path, relative to the queue directory, the
// message id of the queue to; missing hashed directories are made.
func (s *Store) renamePath(path string, to Name, id ID) error {
	dir, err := s.base()
	if err != nil {
		return err
	}
	if err := s.fails(OpRename, to, id); err != nil {
		return fmt.Errorf("rename queue file %s to %s: %w", path, s.Path(to, id), err)
	}
	target := s.Path(to, id)
	err = unix.Renameat(dir, path, dir, target)
	if err == unix.ENOENT && s.Hashed(to) && s.mkdirs(dir, target) == nil {
		err = unix.Renameat(dir, path, dir, target)
	}
	if err != nil {
		return fmt.Errorf("rename queue file %s to %s: %w", path, target, err)
	}
	return nil
}

// mkdirs makes the directories of the file at path.
func (s *Store) mkdirs(dir int, path string) error {
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if err := unix.Mkdirat(dir, path[:i], 0o700); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return nil
}

// Remove removes the message's file.
func (s *Store) Remove(q Name, id ID) error {
	if err := check(q, id); err != nil {
		return err
	}
	s.noteDone(q, id)
	return s.removePath(s.Path(q, id), q, id)
}

func (s *Store) removePath(path string, q Name, id ID) error {
	dir, err := s.base()
	if err == nil {
		err = s.fails(OpRemove, q, id)
	}
	if err == nil {
		err = unix.Unlinkat(dir, path, 0)
	}
	if err != nil {
		return fmt.Errorf("remove queue file %s: %w", path, err)
	}
	return nil
}

// SetNextTry records when the message is to be tried again: the file's times.
func (s *Store) SetNextTry(q Name, id ID, t time.Time) error {
	if err := check(q, id); err != nil {
		return err
	}
	dir, err := s.base()
	if err != nil {
		return err
	}
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.UtimesNanoAt(dir, s.Path(q, id), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of queue file %s: %w", s.Path(q, id), err)
	}
	return nil
}

// SetMode changes the permissions of the message's file: 0700 is complete,
// group bits are requests of postsuper and postqueue to the queue manager.
func (s *Store) SetMode(q Name, id ID, mode fs.FileMode) error {
	if err := check(q, id); err != nil {
		return err
	}
	dir, err := s.base()
	if err == nil {
		err = s.fails(OpChmod, q, id)
	}
	if err == nil {
		err = unix.Fchmodat(dir, s.Path(q, id), uint32(mode.Perm()), 0)
	}
	if err != nil {
		return fmt.Errorf("set mode of queue file %s: %w", s.Path(q, id), err)
	}
	return nil
}

// Stat returns what the file system knows of the message. Links are not
// followed.
func (s *Store) Stat(q Name, id ID) (Info, error) {
	if err := check(q, id); err != nil {
		return Info{}, err
	}
	dir, err := s.base()
	if err != nil {
		return Info{}, err
	}
	var st unix.Stat_t
	if err = s.fails(OpStat, q, id); err == nil {
		err = unix.Fstatat(dir, s.Path(q, id), &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return Info{}, fmt.Errorf("stat queue file %s: %w", s.Path(q, id), err)
	}
	return newInfo(&st), nil
}

// Find looks for the message in the given queues, in order.
func (s *Store) Find(ctx context.Context, id ID, in ...Name) (Name, Info, error) {
	for _, q := range in {
		info, err := s.Stat(q, id)
		if err == nil {
			return q, info, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", Info{}, err
		}
		if ctx.Err() != nil {
			return "", Info{}, ctx.Err()
		}
	}
	return "", Info{}, fmt.Errorf("queue file %s: %w", id, fs.ErrNotExist)
}
