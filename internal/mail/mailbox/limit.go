package mailbox

import (
	"io"
	"syscall"
)

// A limited writer fails as a file does that reaches the limit of its size.
type limited struct {
	io.Writer
	left int64 // octets; negative: no limit
}

// limit bounds what is written to w, a file that has size octets.
func limit(w io.Writer, size, limit int64) *limited {
	if limit <= 0 {
		return &limited{w, -1}
	}
	return &limited{w, max(limit-size, 0)}
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left >= 0 {
		if int64(len(b)) > l.left {
			return 0, syscall.EFBIG
		}
		l.left -= int64(len(b))
	}
	return l.Writer.Write(b)
}
