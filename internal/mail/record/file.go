package record

import (
	"fmt"
	"io"
)

// maxBackward bounds how many pointers of one file may lead backwards; each
// edit of a message needs one.
const maxBackward = 10_000

// bufferSize holds a small message whole, so that it is read by one call. Who
// reads on gets a larger buffer, up to maxAhead.
const (
	bufferSize = 8 << 10
	maxAhead   = 64 << 10
)

// A FileReader takes records out of a queue file. It follows pointers, skips
// padding, and ends after the record End unless Raw says otherwise.
type FileReader struct {
	r        io.ReaderAt
	Raw      bool // return Ptr and Pad records and read beyond End
	limit    int
	start    int64 // offset in the file of buf[0]
	pos, n   int   // next octet and number of octets in buf
	buf      []byte
	at       int64 // offset of the last record
	backward int
	ended    bool
}

// NewFileReader returns a reader that begins at offset off.
func NewFileReader(r io.ReaderAt, off int64) *FileReader {
	f := &FileReader{limit: MaxLength}
	f.Reset(r, off)
	return f
}

// Reset makes the reader begin anew at offset off of r; it keeps its buffer.
func (f *FileReader) Reset(r io.ReaderAt, off int64) {
	f.r, f.start, f.pos, f.n, f.at, f.backward, f.ended = r, off, 0, 0, off, 0, false
}

// SetLimit sets the longest data that Next accepts.
func (f *FileReader) SetLimit(n int) { f.limit = n }

// Offset returns the offset at which the next record is looked for.
func (f *FileReader) Offset() int64 { return f.start + int64(f.pos) }

// At returns the offset of the record that Next returned last.
func (f *FileReader) At() int64 { return f.at }

// SeekTo moves to the record at offset off.
func (f *FileReader) SeekTo(off int64) {
	f.ended = false
	if d := off - f.start; d >= 0 && d <= int64(f.n) {
		f.pos = int(d)
		return
	}
	f.start, f.pos, f.n = off, 0, 0
}

// Next returns the next record. The data is valid until the next call.
func (f *FileReader) Next() (Type, []byte, error) {
	for {
		if f.ended {
			return 0, nil, io.EOF
		}
		t, data, err := f.record()
		if err != nil || f.Raw {
			return t, data, err
		}
		switch t {
		case Pad:
		case Ptr:
			if err := f.Follow(data); err != nil {
				return 0, nil, err
			}
		case End:
			f.ended = true
			return t, data, nil
		default:
			return t, data, nil
		}
	}
}

// Follow moves to where the pointer with this data leads, for callers that read
// Raw. It bounds how often it goes backwards.
func (f *FileReader) Follow(data []byte) error {
	to, err := ParsePointer(data)
	if err != nil {
		return fmt.Errorf("offset %d: %w", f.at, err)
	}
	if to == 0 {
		return nil
	}
	if to <= f.at {
		if f.backward++; f.backward > maxBackward {
			return fmt.Errorf("offset %d: %w", f.at, ErrLoop)
		}
	}
	f.SeekTo(to)
	return nil
}

func (f *FileReader) record() (Type, []byte, error) {
	f.at = f.Offset()
	for {
		t, data, n, err := Split(f.buf[f.pos:f.n], f.limit)
		if err == nil && n <= f.n-f.pos {
			f.pos += n
			return t, data, nil
		}
		if err == nil {
			err = f.fill(n)
		}
		switch {
		case err == nil:
		case f.n == 0:
			return 0, nil, err
		default:
			return 0, nil, fmt.Errorf("offset %d: %w", f.at, unexpected(err))
		}
	}
}

// fill makes at least n octets available from pos on. The buffer grows only as
// the file turns out to have the octets.
func (f *FileReader) fill(n int) error {
	if size := len(f.buf); size > 0 && f.n == size && size < maxAhead {
		f.buf = append(make([]byte, 0, 2*size), f.buf...)[:2*size]
	}
	copy(f.buf, f.buf[f.pos:f.n])
	f.start += int64(f.pos)
	f.n -= f.pos
	f.pos = 0
	for f.n < n {
		if f.n == len(f.buf) {
			f.buf = append(f.buf, make([]byte, max(bufferSize, len(f.buf)))...)
		}
		m, err := f.r.ReadAt(f.buf[f.n:], f.start+int64(f.n))
		f.n += m
		if f.n < n && (err != nil || m == 0) {
			if err == nil {
				err = io.ErrNoProgress
			}
			if err == io.EOF && f.n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
