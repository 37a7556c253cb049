package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// MaxLength is the longest data that a reader accepts unless told otherwise.
// Lines of a message are cut at line_length_limit when they enter the queue.
const MaxLength = 1 << 20

// Errors of the readers. A stream that ends inside a record gives
// io.ErrUnexpectedEOF, one that ends between records io.EOF.
var (
	ErrLength  = errors.New("record length is not acceptable")
	ErrLoop    = errors.New("too many backward pointer records")
	ErrPointer = errors.New("bad pointer record")
)

// A Reader takes records off a stream, as they are: pointers are not followed
// and padding is not skipped.
type Reader struct {
	r     *bufio.Reader
	limit int
	off   int64
	buf   []byte
}

// NewReader returns a Reader of r. A *bufio.Reader is used as it is.
func NewReader(r io.Reader) *Reader {
	br, ok := r.(*bufio.Reader)
	if !ok {
		br = bufio.NewReaderSize(r, 4096)
	}
	return &Reader{r: br, limit: MaxLength}
}

// SetLimit sets the longest data that Next accepts.
func (r *Reader) SetLimit(n int) { r.limit = n }

// Offset returns the number of octets read.
func (r *Reader) Offset() int64 { return r.off }

// Buffered returns what has arrived and was not read yet; it never waits.
// Discard takes octets of it.
func (r *Reader) Buffered() []byte {
	b, _ := r.r.Peek(r.r.Buffered())
	return b
}

// Discard skips n octets of what Buffered returned.
func (r *Reader) Discard(n int) {
	r.r.Discard(n)
	r.off += int64(n)
}

// Next returns the next record. The data is valid until the next call.
func (r *Reader) Next() (Type, []byte, error) {
	for {
		b := r.Buffered()
		t, data, n, err := Split(b, r.limit)
		if err != nil {
			return 0, nil, err
		}
		if n <= len(b) {
			r.Discard(n)
			return t, data, nil
		}
		if n > r.r.Size() {
			return r.large(n)
		}
		if b, err = r.r.Peek(n); err != nil {
			if len(b) > 0 {
				err = unexpected(err)
			}
			return 0, nil, err
		}
	}
}

// large returns the record of n octets that does not fit into the stream's
// buffer, in one that grows as the octets arrive.
func (r *Reader) large(n int) (Type, []byte, error) {
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		at := len(r.buf)
		r.buf = append(r.buf, make([]byte, min(n-at, 64<<10))...)
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			return 0, nil, unexpected(err)
		}
	}
	r.off += int64(n)
	t, data, _, err := Split(r.buf, r.limit)
	return t, data, err
}

// Split takes apart the record at the start of b. n is the number of octets
// that it needs, as far as b shows; when that is more than b has, there is no
// data yet. Data longer than limit is ErrLength.
func Split(b []byte, limit int) (t Type, data []byte, n int, err error) {
	length, at := 0, 1
	for shift := 0; ; shift += 7 {
		if shift > 28 {
			return 0, nil, 0, ErrLength
		}
		if at >= len(b) {
			return 0, nil, at + min(len(b), 1), nil
		}
		c := b[at]
		at++
		length |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	if length > limit {
		return 0, nil, 0, fmt.Errorf("%w: %d", ErrLength, length)
	}
	n = at + length
	if n > len(b) {
		return Type(b[0]), nil, n, nil
	}
	return Type(b[0]), b[at:n], n, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
