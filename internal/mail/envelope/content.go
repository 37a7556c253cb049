package envelope

import (
	"fmt"
	"io"

	"postern/internal/mail/record"
)

// A Content reads the lines of a message out of its queue file.
type Content struct {
	r   *record.FileReader
	end bool
}

// NewContent returns the content that begins at offset off, that of
// Sizes.ContentOffset.
func NewContent(f io.ReaderAt, off int64) *Content {
	return &Content{r: record.NewFileReader(f, off)}
}

// Next returns the next line without its end, or a piece of a line when whole
// is false. The text is valid until the next call. The end of the content is
// io.EOF; a content that stops short of it is ErrCorrupt.
func (c *Content) Next() (text []byte, whole bool, err error) {
	if c.end {
		return nil, false, io.EOF
	}
	t, data, err := c.r.Next()
	switch {
	case err == io.EOF:
		return nil, false, fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	case err != nil:
		return nil, false, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case t == record.Norm:
		return data, true, nil
	case t == record.Cont:
		return data, false, nil
	case t == record.Xtra:
		c.end = true
		return nil, false, io.EOF
	}
	return nil, false, fmt.Errorf("%w: offset %d: unexpected record %q in the content", ErrCorrupt, c.r.At(), byte(t))
}

// A Lines reads a Content as octets, each line ended by a newline,
// the last one too.
type Lines struct {
	c    *Content
	text []byte
	nl   bool // a newline is due
	open bool // the last line has not ended yet
}

// NewLines returns the octets of c.
func NewLines(c *Content) *Lines { return &Lines{c: c} }

// Read implements io.Reader.
func (l *Lines) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		if len(l.text) > 0 {
			m := copy(b[n:], l.text)
			l.text = l.text[m:]
			n += m
			continue
		}
		if l.nl {
			b[n] = '\n'
			n++
			l.nl = false
			continue
		}
		var err error
		if l.text, l.nl, err = l.c.Next(); err == nil {
			l.open = !l.nl
			continue
		}
		if err == io.EOF && l.open {
			l.open, l.nl = false, true
			continue
		}
		if n > 0 && err == io.EOF {
			return n, nil
		}
		return n, err
	}
	return n, nil
}
