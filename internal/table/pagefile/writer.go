package pagefile

import "os"

// chunkPages is how many pages are written at once.
const chunkPages = 256

// A Writer writes a new file page by page, in order. Pages stay in memory, and
// can be changed, until Done says that they are finished.
type Writer struct {
	f      *os.File
	size   int
	count  uint64 // pages so far
	chunks []chunk
	spare  [][]byte
	err    error
}

// A chunk is pages that lie together.
type chunk struct {
	first uint64
	b     []byte // the pages that are in use
}

// NewWriter writes pages of size octets to f.
func NewWriter(f *os.File, size int) *Writer { return &Writer{f: f, size: size} }

// Count returns the number of pages.
func (w *Writer) Count() uint64 { return w.count }

// Add adds n pages of zeros that lie together, and returns the number of the
// first and their octets.
func (w *Writer) Add(n int) (number uint64, b []byte) {
	if len(w.chunks) == 0 || w.room() < n*w.size {
		w.chunks = append(w.chunks, chunk{w.count, w.buffer(n)})
	}
	c := &w.chunks[len(w.chunks)-1]
	at := len(c.b)
	c.b = c.b[:at+n*w.size]
	number = w.count
	w.count += uint64(n)
	return number, c.b[at:]
}

func (w *Writer) room() int {
	c := w.chunks[len(w.chunks)-1]
	return cap(c.b) - len(c.b)
}

func (w *Writer) buffer(n int) []byte {
	if last := len(w.spare) - 1; last >= 0 && n <= chunkPages {
		b := w.spare[last]
		w.spare = w.spare[:last]
		clear(b[:cap(b)])
		return b[:0]
	}
	return make([]byte, 0, max(n, chunkPages)*w.size)
}

// Done says that the pages before number are finished.
func (w *Writer) Done(before uint64) {
	for len(w.chunks) > 1 && w.chunks[1].first <= before {
		w.write()
	}
}

func (w *Writer) write() {
	c := w.chunks[0]
	w.chunks = w.chunks[1:]
	if w.err == nil {
		_, w.err = w.f.Write(c.b)
	}
	if cap(c.b) == chunkPages*w.size {
		w.spare = append(w.spare, c.b)
	}
}

// Flush writes what is left.
func (w *Writer) Flush() error {
	for len(w.chunks) > 0 {
		w.write()
	}
	return w.err
}

// Rewrite puts b in the place of a page that is written already.
func (w *Writer) Rewrite(number uint64, b []byte) error {
	_, err := w.f.WriteAt(b, int64(number)*int64(w.size))
	return err
}
