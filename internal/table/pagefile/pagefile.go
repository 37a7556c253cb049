// Package pagefile is a database file as its readers see it: octets at offsets.
// A small file is read into memory once; a large one is read in place, and its
// writers are kept out for as long as a lookup takes.
package pagefile

import (
	"errors"
	"io"
	"os"

	"postern/internal/table"
)

// InMemory is the size up to which a file is read into memory.
const InMemory = 4 << 20

// ErrShort says that something refers to what lies beyond the end of the file.
var ErrShort = errors.New("the file ends too early")

// A File is an open file.
type File struct {
	file *os.File
	copy []byte // the contents; nil for a large file
	size int64
}

// Open takes over f, waiting for whoever writes to it. check looks at the
// first n octets; fewer are an error.
func Open(f *os.File, n int, check func(head []byte) error) (*File, error) {
	if err := table.LockRead(f); err != nil {
		return nil, err
	}
	defer table.Unlock(f)
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &File{file: f, size: st.Size()}
	head, err := p.Slice(0, int64(n))
	if err == nil {
		err = check(head)
	}
	if err != nil || p.size > InMemory {
		return p, err
	}
	p.copy, err = p.read(0, p.size)
	return p, err
}

// Memory is a file whose contents are b.
func Memory(b []byte) *File { return &File{copy: b, size: int64(len(b))} }

// Name returns the file's path.
func (p *File) Name() string {
	if p.file == nil {
		return "memory"
	}
	return p.file.Name()
}

// Size returns the length in octets.
func (p *File) Size() int64 { return p.size }

// Begin keeps writers out until done is called.
func (p *File) Begin() (done func(), err error) {
	if p.copy != nil {
		return func() {}, nil
	}
	if err := table.LockRead(p.file); err != nil {
		return nil, err
	}
	return func() { table.Unlock(p.file) }, nil
}

// Slice returns n octets at offset off. They are not to be changed.
func (p *File) Slice(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > p.size || n > p.size-off {
		return nil, ErrShort
	}
	if p.copy != nil {
		return p.copy[off : off+n], nil
	}
	return p.read(off, n)
}

func (p *File) read(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := p.file.ReadAt(b, off)
	if n > 0 && errors.Is(err, io.EOF) {
		return nil, ErrShort
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// Close closes the file.
func (p *File) Close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}
