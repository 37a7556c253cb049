package smtp

import (
	"bytes"
	"io"
	"strings"
)

// A BareNewline says what to do with lines that end in LF instead of CR LF
// (smtpd_forbid_bare_newline).
type BareNewline int

const (
	AllowBareLF     BareNewline = iota // "no": a bare LF is as good as CR LF everywhere
	NormalizeBareLF                    // "normalize", "yes": as CR LF, but the end of data must be CR LF . CR LF
	NoteBareLF                         // "note": as normalize, and the log tells
	RejectBareLF                       // "reject": as normalize, and the command or message is refused
)

// ParseBareNewline reads a value of smtpd_forbid_bare_newline, in any case.
func ParseBareNewline(s string) (BareNewline, bool) {
	switch strings.ToLower(s) {
	case "no":
		return AllowBareLF, true
	case "yes", "normalize":
		return NormalizeBareLF, true
	case "note":
		return NoteBareLF, true
	case "reject":
		return RejectBareLF, true
	}
	return 0, false
}

// A DataReader reads message content up to the end of data. Dots are unstuffed.
type DataReader struct {
	// BareLF says that at least one line ended in LF without CR.
	BareLF bool

	r        *Reader
	policy   BareNewline
	limit    int
	inLine   bool // the piece before did not end its line
	prevBare bool // the line before ended in a bare LF
	done     bool
}

// NewDataReader reads the content that follows a DATA command. A line longer
// than limit octets comes in pieces (line_length_limit).
func (r *Reader) NewDataReader(policy BareNewline, limit int) *DataReader {
	r.StartContent()
	return &DataReader{r: r, policy: policy, limit: max(limit, 3)}
}

// Next returns the next line or piece of a line, without line end, valid until
// the next call. full says that the line ends here. At the end of data the
// error is io.EOF; a peer that goes away earlier is io.ErrUnexpectedEOF.
func (d *DataReader) Next() (line []byte, full bool, err error) {
	for !d.done {
		line, full, err = d.r.contentLine(d.limit)
		if err != nil {
			return nil, false, noEOF(err)
		}
		bare := full && d.r.BareLF
		prevBare := d.prevBare
		start := !d.inLine
		d.BareLF = d.BareLF || bare
		d.inLine = !full
		if full {
			d.prevBare = bare
		}
		if !start || len(line) == 0 || line[0] != '.' {
			return line, full, nil
		}
		if len(line) > 1 || !full {
			return line[1:], full, nil
		}
		// A lonely dot that does not stand between two CR LF is no end of
		// data, and no content either (Postfix: the line vanishes).
		d.done = d.policy == AllowBareLF || !bare && !prevBare
	}
	return nil, false, io.EOF
}

// contentLine returns a line of message content, or limit octets of a longer
// one. A CR LF is never cut in two.
func (r *Reader) contentLine(limit int) (line []byte, full bool, err error) {
	from := 0
	for {
		pending := r.buf[r.r:r.w]
		scan := pending[:min(len(pending), limit+1)]
		i := -1
		if from < len(scan) {
			i = bytes.IndexByte(scan[from:], '\n')
		}
		switch {
		case i >= 0 && (from+i < limit || pending[limit-1] == '\r'):
			line = r.trim(pending[:from+i])
			r.r += from + i + 1
			return line, true, nil
		case len(pending) > limit:
			r.r += limit
			return pending[:limit], false, nil
		}
		from = len(scan)
		if err := r.fillContent(); err != nil {
			return nil, false, err
		}
	}
}
