package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"postern/internal/mail/dsn"
)

// A Conn is what a Reader reads from.
type Conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// Sizes of a Reader's buffer: while it waits for commands, and while message
// content passes.
const (
	commandBuffer = 1024
	contentBuffer = 32 * 1024
)

// Limits bound the time that a peer may take.
type Limits struct {
	// Timeout is the time for one request: a whole command line, or a
	// whole reply line. For message content it is a budget that every octet
	// read refills at MinRate.
	Timeout time.Duration
	// MinRate is the lowest tolerable rate of message content in octets per
	// second; with 0, Timeout is for one read of content.
	MinRate int
}

// ErrLineTooLong is returned with the first octets of a line over its limit;
// the rest of the line has been skipped.
var ErrLineTooLong = errors.New("line is too long")

// A Reader reads lines and content from a connection. It is strict about
// memory and time, and it takes note of line ends that are not CR LF.
type Reader struct {
	// BareLF says that the line read last ended in LF without CR.
	BareLF bool
	// Strict takes one CR for a part of the line end. Without it all CRs
	// before the line feed go (Postfix: smtpd_forbid_bare_newline = no, and
	// replies of servers).
	Strict bool

	c        Conn
	pool     *sync.Pool // of *[]byte, contentBuffer octets each; may be nil
	buf      []byte
	big      *[]byte // buf when it came from the pool
	r, w     int     // buf[r:w] is read but not consumed
	limits   Limits
	deadline time.Time     // of the current request
	budget   time.Duration // what is left for message content
}

// NewReader returns a reader of c. The pool, which may be nil, holds buffers
// for message content that many readers share; see NewBuffers.
func NewReader(c Conn, limits Limits, pool *sync.Pool) *Reader {
	return &Reader{c: c, limits: limits, pool: pool}
}

// NewBuffers returns a pool of content buffers for NewReader.
func NewBuffers() *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, contentBuffer)
		return &b
	}}
}

// Reset makes the reader read from another connection (after STARTTLS, or
// when its transport got a layer). What was buffered is dropped.
func (r *Reader) Reset(c Conn) {
	r.c = c
	r.r, r.w = 0, 0
}

// SetLimits changes the time limits, from the next request on.
func (r *Reader) SetLimits(l Limits) { r.limits = l }

// Buffered returns the number of octets that are read but not consumed.
func (r *Reader) Buffered() int { return r.w - r.r }

// Peek returns what is buffered, valid until the next call of a method that
// reads. It never waits.
func (r *Reader) Peek() []byte { return r.buf[r.r:r.w] }

// ReadLine returns the next line without its line end, valid until the next
// call; BareLF tells whether the line feed came without CR. A line of more than limit octets is returned cut, together with
// ErrLineTooLong. A time limit that passes is os.ErrDeadlineExceeded; a peer
// that closes is io.EOF, in the middle of a line io.ErrUnexpectedEOF.
func (r *Reader) ReadLine(limit int) ([]byte, error) {
	r.startRequest()
	from := 0 // octets of buf[r.r:] that hold no line feed
	for {
		pending := r.buf[r.r:r.w]
		if i := bytes.IndexByte(pending[from:], '\n'); i >= 0 {
			line := r.trim(pending[:from+i])
			r.r += from + i + 1
			if len(line) > limit {
				return line[:limit], ErrLineTooLong
			}
			return line, nil
		}
		from = len(pending)
		if from > limit+1 {
			return r.skipLine(limit)
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && r.w > r.r {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// trim removes the CR of the line end from a line that a line feed ended.
func (r *Reader) trim(line []byte) []byte {
	r.BareLF = len(line) == 0 || line[len(line)-1] != '\r'
	if r.Strict && !r.BareLF {
		return line[:len(line)-1]
	}
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line
}

// skipLine keeps the first limit octets of the line in the buffer and reads
// and drops the rest.
func (r *Reader) skipLine(limit int) ([]byte, error) {
	kept := append([]byte(nil), r.buf[r.r:r.r+limit]...)
	last := r.buf[r.w-1]
	r.r = r.w
	for {
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		pending := r.buf[r.r:r.w]
		if i := bytes.IndexByte(pending, '\n'); i >= 0 {
			if i > 0 {
				last = pending[i-1]
			}
			r.BareLF = last != '\r'
			r.r += i + 1
			return kept, ErrLineTooLong
		}
		last = pending[len(pending)-1]
		r.r = r.w
	}
}

// ReadReply reads a reply of one or more lines. A line is cut at limit octets;
// more than maxLines lines, or a line that is no reply line, is an error.
// The codes of the last line count (Postfix: the same).
func (r *Reader) ReadReply(limit, maxLines int) (Reply, error) {
	var rep Reply
	for n := 0; ; n++ {
		line, err := r.ReadLine(limit)
		if err != nil && err != ErrLineTooLong {
			return rep, err
		}
		if n >= maxLines {
			return rep, fmt.Errorf("reply of more than %d lines", maxLines)
		}
		code, rest, ok := splitCode(string(line))
		if !ok {
			return rep, fmt.Errorf("not a reply: %.100q", line)
		}
		more := strings.HasPrefix(rest, "-")
		if rest != "" {
			rest = rest[1:]
		}
		res := dsn.Split("", rest)
		if res.Status != "" && int(res.Status[0]-'0') == code/100 {
			rest = res.Reason
		} else {
			res.Status = ""
		}
		rep.Code, rep.Status = code, res.Status
		rep.Lines = append(rep.Lines, rest)
		if !more {
			return rep, nil
		}
	}
}

// WaitReadable waits until there is something to read, at most d. It returns
// os.ErrDeadlineExceeded when there is nothing.
func (r *Reader) WaitReadable(d time.Duration) error {
	if r.w > r.r {
		return nil
	}
	saved := r.deadline
	r.deadline = time.Now().Add(d)
	err := r.fill()
	r.deadline = saved
	return err
}

// ReadFull reads len(p) octets of message content (BDAT), as they are.
func (r *Reader) ReadFull(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.r == r.w {
			if err := r.fillContent(); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return n, err
			}
		}
		m := copy(p[n:], r.buf[r.r:r.w])
		r.r += m
		n += m
	}
	return n, nil
}

// startRequest starts the clock for a line.
func (r *Reader) startRequest() {
	if r.r == r.w {
		r.shrink()
	}
	if r.limits.Timeout > 0 {
		r.deadline = time.Now().Add(r.limits.Timeout)
	} else {
		r.deadline = time.Time{}
	}
}

// StartContent gives message content a fresh time budget and a large buffer,
// which the next ReadLine gives back.
func (r *Reader) StartContent() {
	r.budget = r.limits.Timeout
	if r.pool == nil || r.big != nil {
		return
	}
	big := r.pool.Get().(*[]byte)
	if r.w-r.r > len(*big) {
		r.pool.Put(big)
		return
	}
	r.w = copy(*big, r.buf[r.r:r.w])
	r.r = 0
	r.buf, r.big = *big, big
}

// shrink gives the content buffer back; the reader is empty.
func (r *Reader) shrink() {
	r.r, r.w = 0, 0
	if r.big != nil {
		r.pool.Put(r.big)
		r.big, r.buf = nil, nil
	}
	if len(r.buf) > 4*commandBuffer {
		r.buf = nil
	}
}

// Release gives pooled memory back; the session is over.
func (r *Reader) Release() { r.shrink() }

// fillContent reads more message content within its budget.
func (r *Reader) fillContent() error {
	if r.limits.Timeout <= 0 {
		r.deadline = time.Time{}
		return r.fill()
	}
	if r.limits.MinRate <= 0 {
		r.budget = r.limits.Timeout
	}
	start := time.Now()
	r.deadline = start.Add(r.budget)
	before := r.w - r.r
	err := r.fill()
	if r.limits.MinRate > 0 {
		r.budget -= time.Since(start)
		got := r.w - r.r - before
		r.budget += time.Duration(got) * time.Second / time.Duration(r.limits.MinRate)
		r.budget = min(r.budget, r.limits.Timeout)
	}
	return err
}

// fill reads once from the connection, making room first.
func (r *Reader) fill() error {
	switch {
	case r.r == r.w:
		r.r, r.w = 0, 0
	case r.r > 0 && r.w == len(r.buf):
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.buf) {
		grown := make([]byte, max(commandBuffer, 2*len(r.buf)))
		r.w = copy(grown, r.buf[r.r:r.w])
		r.r = 0
		if r.big != nil {
			r.pool.Put(r.big)
			r.big = nil
		}
		r.buf = grown
	}
	if err := r.c.SetReadDeadline(r.deadline); err != nil {
		return err
	}
	n, err := r.c.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// IsTimeout says that a time limit passed.
func IsTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
