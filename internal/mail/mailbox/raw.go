package mailbox

import (
	"io"

	"golang.org/x/sys/unix"
)

// A rawFile is an open file without what the runtime adds to one: a mailbox is
// written with as few system calls as possible.
type rawFile int

// openRaw opens the file at path.
func openRaw(path string, flags int, mode uint32) (rawFile, error) {
	return openRawAt(unix.AT_FDCWD, path, flags, mode)
}

// openRawAt opens the file at path, which begins at the directory dir.
func openRawAt(dir rawFile, path string, flags int, mode uint32) (rawFile, error) {
	for {
		fd, err := unix.Openat(int(dir), path, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return rawFile(fd), err
		}
	}
}

// Write writes all of b.
func (f rawFile) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := unix.Write(int(f), b[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if k == 0 {
			return n, io.ErrShortWrite
		}
		n += k
	}
	return n, nil
}

func (f rawFile) sync() error {
	for {
		if err := unix.Fsync(int(f)); err != unix.EINTR {
			return err
		}
	}
}

// syncAll syncs everything on the file system of f.
func (f rawFile) syncAll() error {
	for {
		if err := unix.Syncfs(int(f)); err != unix.EINTR {
			return err
		}
	}
}

// close closes the file. Linux: the descriptor is gone whatever close says.
func (f rawFile) close() error { return unix.Close(int(f)) }
