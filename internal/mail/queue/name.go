package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Name is a queue: a directory below queue_directory.
type Name string

// The queues. Bounce, Defer and Trace hold a log per message, under the
// message's id; Flush holds a list of ids per destination.
const (
	Maildrop Name = "maildrop"
	Incoming Name = "incoming"
	Active   Name = "active"
	Deferred Name = "deferred"
	Hold     Name = "hold"
	Corrupt  Name = "corrupt"
	Bounce   Name = "bounce"
	Defer    Name = "defer"
	Trace    Name = "trace"
	Saved    Name = "saved"
	Flush    Name = "flush"
)

var names = [...]Name{Maildrop, Incoming, Active, Deferred, Hold, Corrupt, Bounce, Defer, Trace, Saved, Flush}

// ParseName returns the queue called s.
func ParseName(s string) (Name, error) {
	for _, n := range names {
		if string(n) == s {
			return n, nil
		}
	}
	return "", fmt.Errorf("unknown queue name %.100q", s)
}

// An ID names a message in a queue: letters, digits and "_" only, so that it
// can be part of a path.
type ID string

const maxID = 255

var errID = errors.New("bad queue id")

// ParseID checks that s can be a queue id.
func ParseID(s string) (ID, error) {
	if len(s) == 0 || len(s) > maxID {
		return "", fmt.Errorf("%w: %.100q", errID, s)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' {
			return "", fmt.Errorf("%w: %.100q", errID, s)
		}
	}
	return ID(s), nil
}

// The parts of a long id: seconds in six or more digits of base 52,
// microseconds in four, the letter z, and the inode in base 51.
const (
	longDigits  = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
	secDigits   = 6
	microDigits = 4
)

// Long says whether the id is of the long form: its last z stands behind the
// time.
func (id ID) Long() bool { return id.inodeMark() >= 0 }

func (id ID) inodeMark() int {
	if i := strings.LastIndexByte(string(id), 'z'); i >= secDigits+microDigits {
		return i
	}
	return -1
}

// Inode returns the part of the id that stands for the file's inode, in the
// form of the id.
func (id ID) Inode() string {
	if i := id.inodeMark(); i >= 0 {
		return string(id[i+1:])
	}
	if len(id) > 5 {
		return string(id[5:])
	}
	return ""
}

// WithInode returns the id with its inode part replaced, and whether the id
// has such a part at all.
func (id ID) WithInode(inode uint64) (ID, bool) {
	if i := id.inodeMark(); i >= 0 {
		return id[:i+1] + ID(appendLong(nil, inode, 51, 1)), true
	}
	if len(id) <= 5 {
		return id, false
	}
	return id[:5] + ID(appendHex(nil, inode, 1)), true
}

// hashKey returns the characters that choose the hashed directory: those of a
// short id, or the microseconds of a long one in upper-case hexadecimal.
func (id ID) hashKey() string {
	i := id.inodeMark()
	if i < 0 {
		return string(id)
	}
	micro := uint64(0)
	for _, c := range []byte(id[i-microDigits : i]) {
		d := strings.IndexByte(longDigits, c)
		micro = micro*52 + uint64(max(d, 0))
	}
	return string(appendHex(nil, micro, 5))
}

func newID(t time.Time, inode uint64, long bool) ID {
	var b [40]byte
	micro := uint64(t.Nanosecond() / 1000)
	if !long {
		return ID(appendHex(appendHex(b[:0], micro, 5), inode, 1))
	}
	s := appendLong(b[:0], uint64(t.Unix()), 52, secDigits)
	s = append(appendLong(s, micro, 52, microDigits), 'z')
	return ID(appendLong(s, inode, 51, 1))
}

func appendHex(b []byte, n uint64, width int) []byte {
	return appendBase(b, n, 16, width, "0123456789ABCDEF")
}

func appendLong(b []byte, n, base uint64, width int) []byte {
	return appendBase(b, n, base, width, longDigits)
}

func appendBase(b []byte, n, base uint64, width int, digits string) []byte {
	var d [64]byte
	i := len(d)
	for n > 0 || len(d)-i < width {
		i--
		d[i] = digits[n%base]
		n /= base
	}
	return append(b, d[i:]...)
}
