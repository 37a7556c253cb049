package record

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Writer appends records to a stream and keeps the first error.
type Writer struct {
	w   buffered
	off int64
	err error
}

// buffered is what a Writer needs below it: a bufio.Writer, the W of an
// attr.Conn, a queue.Draft, a bytes.Buffer.
type buffered interface {
	io.Writer
	AvailableBuffer() []byte
}

// NewWriter returns a Writer on w. A w that has a buffer is used as it is;
// another one gets one.
func NewWriter(w io.Writer) *Writer {
	b, ok := w.(buffered)
	if !ok {
		b = bufio.NewWriterSize(w, 4096)
	}
	return &Writer{w: b}
}

// Offset returns the number of octets put so far, plus what SetOffset said.
func (w *Writer) Offset() int64 { return w.off }

// SetOffset says at which offset of the file the next record goes; it does not
// move the stream.
func (w *Writer) SetOffset(off int64) { w.off = off }

// Err returns the first error.
func (w *Writer) Err() error { return w.err }

// Put appends a record and returns the Writer's first error.
func (w *Writer) Put(t Type, data []byte) error {
	return w.Raw(Append(w.room(len(data)), t, data))
}

// PutString appends a record and returns the Writer's first error.
func (w *Writer) PutString(t Type, data string) error {
	return w.Raw(Append(w.room(len(data)), t, data))
}

// room returns where a record with n octets of data is put together: in the
// buffer below, where it fits.
func (w *Writer) room(n int) []byte {
	if b := w.w.AvailableBuffer(); cap(b) >= maxHead+n {
		return b
	}
	return make([]byte, 0, maxHead+n)
}

// Raw appends whole records as they are.
func (w *Writer) Raw(records []byte) error {
	if w.err == nil {
		var n int
		n, w.err = w.w.Write(records)
		w.off += int64(n)
	}
	return w.err
}

// Printf appends a record whose data is formatted.
func (w *Writer) Printf(t Type, format string, args ...any) error {
	return w.PutString(t, fmt.Sprintf(format, args...))
}

// Attr appends a named attribute, in which the first "=" ends the name.
func (w *Writer) Attr(name, value string) error {
	if strings.IndexByte(name, '=') >= 0 && w.err == nil {
		w.err = fmt.Errorf("attribute name %.100q contains %q", name, "=")
		return w.err
	}
	n := len(name) + 1 + len(value)
	b := append(appendHead(w.room(n), Attr, n), name...)
	return w.Raw(append(append(b, '='), value...))
}

// Pointer appends a pointer to offset to; 0 is no jump.
func (w *Writer) Pointer(to int64) error {
	var b [PointerData]byte
	return w.Put(Ptr, appendPadded(b[:0], to))
}

// Flush writes out what is buffered and returns the Writer's first error.
func (w *Writer) Flush() error {
	if f, ok := w.w.(interface{ Flush() error }); ok && w.err == nil {
		w.err = f.Flush()
	}
	return w.err
}

// maxHead is what a type and a length take at most.
const maxHead = 6

func appendHead(b []byte, t Type, n int) []byte {
	b = append(b, byte(t))
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// Append appends the record to b, for callers that write in place.
func Append[T string | []byte](b []byte, t Type, data T) []byte {
	return append(appendHead(b, t, len(data)), data...)
}
