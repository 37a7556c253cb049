package smtp

import (
	"bytes"
	"io"
)

// A ChunkReader cuts message content that comes in counted chunks (BDAT) into
// lines: the same lines that a DataReader would give, but dots mean nothing. A
// line may run on from one chunk to the next.
//
// RFC 3030 defines BDAT.
type ChunkReader struct {
	BareLF bool // at least one line ended in LF without CR

	r     *Reader
	limit int
	left  int64  // octets of the chunk that are still to come
	part  []byte // an unfinished line
}

// NewChunkReader returns a reader for the chunks of one message. A line longer
// than limit octets comes in pieces.
func (r *Reader) NewChunkReader(limit int) *ChunkReader {
	return &ChunkReader{r: r, limit: max(limit, 3)}
}

// StartChunk begins a chunk of size octets.
func (c *ChunkReader) StartChunk(size int64) {
	c.left = size
	c.r.StartContent()
}

// Next returns the next line or piece of a line, without line end, valid until
// the next call; full says that the line ends here. At the end of the chunk
// the error is io.EOF, and what begins an unfinished line is kept.
func (c *ChunkReader) Next() (line []byte, full bool, err error) {
	for c.left > 0 {
		if c.r.r == c.r.w {
			if err := c.r.fillContent(); err != nil {
				return nil, false, noEOF(err)
			}
		}
		b := c.r.buf[c.r.r:c.r.w]
		if int64(len(b)) > c.left {
			b = b[:c.left]
		}
		line, full, ok, n := c.cut(b)
		c.r.r += n
		c.left -= int64(n)
		if ok {
			return line, full, nil
		}
	}
	return nil, false, io.EOF
}

// cut takes a line, or a piece of one, off b, which is not empty. Of b, n
// octets are consumed; ok is false when more is needed.
func (c *ChunkReader) cut(b []byte) (line []byte, full, ok bool, n int) {
	if len(c.part) == c.limit { // it ends in CR, which an LF may follow
		line = c.part
		c.part = c.part[:0]
		if b[0] == '\n' {
			return c.end(line), true, true, 1
		}
		return line, false, true, 0
	}
	n = min(len(b), c.limit-len(c.part))
	if i := bytes.IndexByte(b[:n], '\n'); i >= 0 {
		line, n = b[:i], i+1
		if len(c.part) > 0 {
			line = append(c.part, line...)
			c.part = line[:0]
		}
		return c.end(line), true, true, n
	}
	c.part = append(c.part, b[:n]...)
	if len(c.part) == c.limit && b[n-1] != '\r' {
		line = c.part
		c.part = c.part[:0]
		return line, false, true, n
	}
	return nil, false, false, n
}

func (c *ChunkReader) end(line []byte) []byte {
	line = c.r.trim(line)
	c.BareLF = c.BareLF || c.r.BareLF
	return line
}

// Left returns how many octets of the chunk have not been read.
func (c *ChunkReader) Left() int64 { return c.left }

// Skip reads and drops the rest of the chunk.
func (c *ChunkReader) Skip() error {
	for c.left > 0 {
		if c.r.r == c.r.w {
			if err := c.r.fillContent(); err != nil {
				return noEOF(err)
			}
		}
		n := min(int64(c.r.w-c.r.r), c.left)
		c.r.r += int(n)
		c.left -= n
	}
	c.part = nil
	return nil
}

// Flush returns the unfinished line that is left after the last chunk, nil if
// there is none.
func (c *ChunkReader) Flush() []byte {
	if len(c.part) == 0 {
		return nil
	}
	p := c.part
	c.part = nil
	return p
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
