package smtp

import (
	"bufio"
	"bytes"
)

// A DotWriter writes message content after DATA: it ends lines with CR LF,
// doubles a dot at the start of a line, and closes with the lonely dot. Errors
// of the underlying writer stick to it; Close reports them.
type DotWriter struct {
	w       *bufio.Writer
	midLine bool
}

// NewDotWriter writes to w. The caller flushes w.
func NewDotWriter(w *bufio.Writer) *DotWriter { return &DotWriter{w: w} }

// Line writes a line, or a piece of one when full is false; p holds no line
// end. A line feed in it all the same (a queue file of another origin) ends
// the line, so that no peer can take it for something else than we do.
func (d *DotWriter) Line(p []byte, full bool) error {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return d.piece(p, full)
		}
		d.piece(bytes.TrimRight(p[:i], "\r"), true)
		p = p[i+1:]
	}
}

// piece writes a piece of a line, and the line end when full is set.
func (d *DotWriter) piece(p []byte, full bool) error {
	b := d.w.AvailableBuffer()
	if cap(b) < len(p)+3 {
		b = make([]byte, 0, len(p)+3)
	}
	if !d.midLine && len(p) > 0 && p[0] == '.' {
		b = append(b, '.')
	}
	b = append(b, p...)
	if full {
		b = append(b, '\r', '\n')
	}
	d.midLine = !full && (d.midLine || len(p) > 0)
	_, err := d.w.Write(b)
	return err
}

// Close ends an unfinished line and writes the end of data. It does not flush.
func (d *DotWriter) Close() error {
	if d.midLine {
		d.piece(nil, true)
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
