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

// Next returns the next record. The data is valid until the next call.
func (r *Reader) Next() (Type, []byte, error) {
	t, err := r.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	r.off++
	n := 0
	for shift := 0; ; shift += 7 {
		if shift > 28 {
			return 0, nil, ErrLength
		}
		b, err := r.r.ReadByte()
		if err != nil {
			return 0, nil, unexpected(err)
		}
		r.off++
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if n > r.limit {
		return 0, nil, fmt.Errorf("%w: %d", ErrLength, n)
	}
	data, err := r.data(n)
	if err != nil {
		return 0, nil, err
	}
	r.off += int64(n)
	return Type(t), data, nil
}

// data returns the next n octets: out of the stream's buffer where they fit,
// else from a buffer that grows as the octets arrive.
func (r *Reader) data(n int) ([]byte, error) {
	if n <= r.r.Size() {
		b, err := r.r.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		r.r.Discard(n)
		return b, nil
	}
	r.buf = r.buf[:0]
	for n > 0 {
		step := min(n, 64<<10)
		at := len(r.buf)
		r.buf = append(r.buf, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			return nil, unexpected(err)
		}
		n -= step
	}
	return r.buf, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
