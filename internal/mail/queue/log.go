package queue

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// AppendLog appends data to the message's log, a file in the queue Bounce,
// Defer or Trace that is made when it is not there, and brings it to stable
// storage. After an error nothing was appended, as far as the disk allows.
func (s *Store) AppendLog(q Name, id ID, data []byte) error {
	return s.appendLog(q, id, data, true)
}

// AppendHint is AppendLog for the logs in the queue Flush, whose loss costs
// time only: it does not wait for the disk.
func (s *Store) AppendHint(q Name, id ID, data []byte) error {
	return s.appendLog(q, id, data, false)
}

func (s *Store) appendLog(q Name, id ID, data []byte, sync bool) error {
	if err := check(q, id); err != nil {
		return err
	}
	dir, err := s.base()
	if err != nil {
		return err
	}
	for {
		fd, err := s.openLog(dir, q, id)
		if err != nil {
			return fmt.Errorf("open log %s: %w", s.Path(q, id), err)
		}
		gone, err := s.appendLocked(fd, q, id, data, sync)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("append to log %s: %w", s.Path(q, id), err)
		}
		if !gone {
			return nil
		}
	}
}

func (s *Store) openLog(dir int, q Name, id ID) (int, error) {
	if err := s.fails(OpCreate, q, id); err != nil {
		return -1, err
	}
	path := s.Path(q, id)
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := unix.Openat(dir, path, flags, modeDraft)
	if err == unix.ENOENT && s.Hashed(q) && s.mkdirs(dir, path) == nil {
		fd, err = unix.Openat(dir, path, flags, modeDraft)
	}
	return fd, err
}

// appendLocked appends under a lock. gone says that the log was removed, because
// it had been reported, before the lock was there.
func (s *Store) appendLocked(fd int, q Name, id ID, data []byte, sync bool) (gone bool, err error) {
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, ErrNotFile
	}
	if st.Nlink == 0 {
		return true, nil
	}
	if err = s.fails(OpWrite, q, id); err == nil {
		err = writeFull(fd, data)
	}
	if err == nil && sync {
		if err = s.fails(OpSync, q, id); err == nil {
			err = unix.Fsync(fd)
		}
	}
	if err != nil {
		unix.Ftruncate(fd, st.Size)
	}
	return false, err
}

func writeFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
