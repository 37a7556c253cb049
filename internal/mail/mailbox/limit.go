package mailbox

import (
	"os"
	"syscall"
)

// A limitedFile fails as a file does that reaches the limit of its size.
type limitedFile struct {
	*os.File
	left int64 // octets; negative: no limit
}

func limited(f *os.File, size, limit int64) *limitedFile {
	if limit <= 0 {
		return &limitedFile{f, -1}
	}
	return &limitedFile{f, max(limit-size, 0)}
}

func (l *limitedFile) Write(b []byte) (int, error) {
	if l.left >= 0 {
		if int64(len(b)) > l.left {
			return 0, &os.PathError{Op: "write", Path: l.Name(), Err: syscall.EFBIG}
		}
		l.left -= int64(len(b))
	}
	return l.File.Write(b)
}
