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
	io.ByteWriter
	io.StringWriter
}

// NewWriter returns a Writer on w. A w that has WriteByte and WriteString is
// taken to be buffered and is used as it is; another one gets a buffer.
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
	w.head(t, len(data))
	if w.err == nil {
		n, err := w.w.Write(data)
		w.off += int64(n)
		w.err = err
	}
	return w.err
}

// PutString appends a record and returns the Writer's first error.
func (w *Writer) PutString(t Type, data string) error {
	w.head(t, len(data))
	if w.err == nil {
		n, err := w.w.WriteString(data)
		w.off += int64(n)
		w.err = err
	}
	return w.err
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
	w.head(Attr, len(name)+1+len(value))
	if w.err == nil {
		w.w.WriteString(name)
		w.w.WriteByte('=')
		_, w.err = w.w.WriteString(value)
		w.off += int64(len(name) + 1 + len(value))
	}
	return w.err
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

func (w *Writer) head(t Type, n int) {
	if w.err != nil {
		return
	}
	w.w.WriteByte(byte(t))
	w.off++
	for n >= 0x80 {
		w.w.WriteByte(byte(n) | 0x80)
		w.off++
		n >>= 7
	}
	w.err = w.w.WriteByte(byte(n))
	w.off++
}

// Append appends the record to b, for callers that write in place.
func Append(b []byte, t Type, data string) []byte {
	b = append(b, byte(t))
	n := len(data)
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	b = append(b, byte(n))
	return append(b, data...)
}
