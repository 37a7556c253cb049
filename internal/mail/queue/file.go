package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/mail/record"
)

// Errors that callers tell apart. A message that is not there gives
// fs.ErrNotExist.
var (
	ErrBusy    = errors.New("queue file is locked by another process")
	ErrNotFile = errors.New("not a regular file")
)

// Permission bits with which the administrator's commands ask something of
// the queue manager.
const (
	Unthrottle  fs.FileMode = 0o040 // try the message's destinations even if they are dead
	ForceExpire fs.FileMode = 0o010 // return the message now
)

// Info is what the file system knows of a message.
type Info struct {
	Size       int64
	Mode       fs.FileMode // permissions, and the kind when not a regular file
	ModTime    time.Time   // of a deferred message: when it is tried next
	AccessTime time.Time
	Inode      uint64
	UID        uint32
	GID        uint32
	Links      uint64
}

func newInfo(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	default:
		mode |= fs.ModeIrregular
	}
	return Info{
		Size: st.Size, Mode: mode, ModTime: time.Unix(st.Mtim.Unix()), AccessTime: time.Unix(st.Atim.Unix()), Inode: st.Ino,
		UID: st.Uid, GID: st.Gid, Links: uint64(st.Nlink),
	}
}

// Ready says whether the message is complete.
func (i Info) Ready() bool { return i.Mode.IsRegular() && i.Mode.Perm()&modeReady == modeReady }

// ForcedExpiry says whether the administrator wants the message returned now
// (postsuper -e: the group may execute).
func (i Info) ForcedExpiry() bool { return i.Mode.Perm()&ForceExpire != 0 }

// Unthrottled says whether the message's dead destinations are to be tried
// again (the group may read).
func (i Info) Unthrottled() bool { return i.Mode.Perm()&Unthrottle != 0 }

// A File is a message that is open. Reading and writing at offsets may be done
// from several goroutines.
type File struct {
	s    *Store
	q    Name
	id   ID
	fd   int
	info Info
}

// Open opens a message for reading and for changes in place.
func (s *Store) Open(q Name, id ID) (*File, error) { return s.open(q, id, unix.O_RDWR) }

// OpenRead opens a message for reading only.
func (s *Store) OpenRead(q Name, id ID) (*File, error) { return s.open(q, id, unix.O_RDONLY) }

func (s *Store) open(q Name, id ID, flags int) (*File, error) {
	if err := check(q, id); err != nil {
		return nil, err
	}
	dir, err := s.base()
	if err != nil {
		return nil, err
	}
	path := s.Path(q, id)
	fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open queue file %s: %w", path, err)
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotFile
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open queue file %s: %w", path, err)
	}
	return &File{s: s, q: q, id: id, fd: fd, info: newInfo(&st)}, nil
}

// Queue returns the queue in which the message was opened.
func (f *File) Queue() Name { return f.q }

// ID returns the message's id.
func (f *File) ID() ID { return f.id }

// Info returns what Open has seen.
func (f *File) Info() Info { return f.info }

// Size returns the size of the file when it was opened.
func (f *File) Size() int64 { return f.info.Size }

// Stat looks again at the open file.
func (f *File) Stat() (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return Info{}, f.error("stat", err)
	}
	return newInfo(&st), nil
}

// Lock takes the exclusive lock, with which the queue manager claims a message
// that nobody delivers. It returns ErrBusy when another process has a lock.
func (f *File) Lock() error { return f.lock(unix.LOCK_EX) }

// LockShared takes the lock under which delivery agents, several at once,
// deliver a message. It returns ErrBusy when another process has the exclusive
// lock.
func (f *File) LockShared() error { return f.lock(unix.LOCK_SH) }

func (f *File) lock(how int) error {
	for {
		err := unix.Flock(f.fd, how|unix.LOCK_NB)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return f.error("lock", ErrBusy)
		default:
			return f.error("lock", err)
		}
	}
}

// ReadAt reads len(b) octets from offset off.
func (f *File) ReadAt(b []byte, off int64) (int, error) {
	if err := f.s.fails(OpRead, f.q, f.id); err != nil {
		return 0, f.error("read", err)
	}
	// A complete message does not grow: its end is known without asking.
	short := false
	if left := f.info.Size - off; left >= 0 && left < int64(len(b)) {
		b, short = b[:left], true
	}
	n, err := preadFull(f.fd, b, off)
	if err == nil && short {
		err = io.EOF
	}
	if err != nil && err != io.EOF {
		err = f.error("read", err)
	}
	return n, err
}

// WriteAt overwrites len(b) octets from offset off.
func (f *File) WriteAt(b []byte, off int64) (int, error) {
	if err := f.s.fails(OpWrite, f.q, f.id); err != nil {
		return 0, f.error("write", err)
	}
	n, err := pwriteFull(f.fd, b, off)
	if err != nil {
		err = f.error("write", err)
	}
	return n, err
}

// MarkDone records that the recipient whose record is at offset off has been
// delivered to, or returned. Nothing but the type of the record changes.
func (f *File) MarkDone(off int64) error {
	if off < 0 || off >= f.info.Size {
		return f.error("mark recipient done", fmt.Errorf("offset %d is outside the file", off))
	}
	_, err := f.WriteAt([]byte{byte(record.Done)}, off)
	return err
}

// MarkCorrupt sets the mode with which a message that cannot be read waits for
// its move to the corrupt queue.
func (f *File) MarkCorrupt() error {
	if err := unix.Fchmod(f.fd, modeCorrupt); err != nil {
		return f.error("mark corrupt", err)
	}
	return nil
}

// SetMode changes the permissions of the open file.
func (f *File) SetMode(mode fs.FileMode) error {
	if err := unix.Fchmod(f.fd, uint32(mode.Perm())); err != nil {
		return f.error("set mode of", err)
	}
	return nil
}

// Sync brings the changes to stable storage.
func (f *File) Sync() error {
	err := f.s.fails(OpSync, f.q, f.id)
	if err == nil {
		err = unix.Fsync(f.fd)
	}
	if err != nil {
		return f.error("sync", err)
	}
	return nil
}

// Close closes the file and gives up its lock. A second call does nothing.
func (f *File) Close() error {
	if f.fd < 0 {
		return nil
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}

func (f *File) error(what string, err error) error {
	return fmt.Errorf("%s queue file %s: %w", what, f.s.Path(f.q, f.id), err)
}

func preadFull(fd int, b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

func pwriteFull(fd int, b []byte, off int64) (int, error) {
	n := 0
	for n < len(b) {
		m, err := unix.Pwrite(fd, b[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrShortWrite
		}
		n += m
	}
	return n, nil
}

// LockWait takes the exclusive lock when the others have given theirs up. It is
// for logs, whose locks are short.
func (f *File) LockWait() error {
	for {
		if err := unix.Flock(f.fd, unix.LOCK_EX); err != unix.EINTR {
			if err != nil {
				return f.error("lock", err)
			}
			return nil
		}
	}
}

// Truncate makes the file empty.
func (f *File) Truncate() error {
	if err := unix.Ftruncate(f.fd, 0); err != nil {
		return f.error("truncate", err)
	}
	return nil
}
