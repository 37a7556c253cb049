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
			break
		}
		d.piece(bytes.TrimRight(p[:i], "\r"))
		d.endLine()
		p = p[i+1:]
	}
	d.piece(p)
	if full {
		return d.endLine()
	}
	return nil
}

func (d *DotWriter) piece(p []byte) {
	if len(p) == 0 {
		return
	}
	if !d.midLine && p[0] == '.' {
		d.w.WriteByte('.')
	}
	d.midLine = true
	d.w.Write(p)
}

func (d *DotWriter) endLine() error {
	d.midLine = false
	_, err := d.w.WriteString("\r\n")
	return err
}

// Close ends an unfinished line and writes the end of data. It does not flush.
func (d *DotWriter) Close() error {
	if d.midLine {
		d.endLine()
	}
	_, err := d.w.WriteString(".\r\n")
	return err
}
