// Package source is the text form of lookup tables: what postmap compiles and
// what texthash, cidr, pcre and regexp read as it is.
//
// A logical line starts with text and goes on in the lines after it that begin
// with white space; empty lines and lines whose first character is # count
// neither as text nor as an end. (Postfix: postmap(1), TABLE FORMAT.)
package source

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxLine bounds a logical line, so that a file without line ends costs bounded memory.
const MaxLine = 1 << 24

// A Line is a logical line without line ends and with where it stands.
type Line struct {
	Text        string
	First, Last int // line numbers, from 1
}

// blockSize is how much is read at once.
const blockSize = 1 << 18

// A Reader reads logical lines.
type Reader struct {
	// Warn takes what is wrong with a line that is left out; it may be nil.
	Warn func(text string)

	r       io.Reader
	buffer  []byte
	block   string // what was read and not taken: lines are parts of it
	err     error  // of the last read
	number  int
	pending string // the physical line that starts the next logical one
	have    bool
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next logical line, or io.EOF.
func (r *Reader) Next() (Line, error) {
	for {
		l, err := r.logical()
		if err != nil || l.Text[0] != ' ' && l.Text[0] != '\t' {
			return l, err
		}
		if r.Warn != nil {
			r.Warn(fmt.Sprintf("logical line must not start with whitespace: %q", clip(l.Text)))
		}
	}
}

// clip shortens text for a message.
func clip(text string) string {
	const limit = 30
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}

func (r *Reader) logical() (Line, error) {
	var more strings.Builder // for a line of several parts
	var l Line
	for {
		text, err := r.physical()
		if err != nil && (!errors.Is(err, io.EOF) || l.First == 0) {
			return l, err
		}
		if err != nil {
			break
		}
		if ignored(text) {
			continue
		}
		if l.First != 0 && text[0] != ' ' && text[0] != '\t' {
			r.pending, r.have = text, true
			break
		}
		if l.First == 0 {
			l.First, l.Last, l.Text = r.number, r.number, text
			continue
		}
		l.Last = r.number
		if more.Len() == 0 {
			more.WriteString(l.Text)
		}
		more.WriteString(text)
		if more.Len() > MaxLine {
			return l, fmt.Errorf("line %d: longer than %d octets", l.First, MaxLine)
		}
	}
	if more.Len() > 0 {
		l.Text = more.String()
	}
	return l, nil
}

// ignored says whether a physical line is white space or a comment.
func ignored(text string) bool {
	if text != "" && text[0] > ' ' && text[0] != '#' {
		return false
	}
	text = strings.TrimLeft(text, " \t\v\f\r")
	return text == "" || text[0] == '#'
}

// physical returns the next physical line without its end.
func (r *Reader) physical() (string, error) {
	if r.have {
		r.have = false
		return r.pending, nil
	}
	for seen := 0; ; {
		if n := strings.IndexByte(r.block[seen:], '\n'); n >= 0 {
			line := r.block[:seen+n]
			r.block = r.block[seen+n+1:]
			r.number++
			return line, nil
		}
		if seen = len(r.block); seen > MaxLine {
			return "", fmt.Errorf("line %d: longer than %d octets", r.number+1, MaxLine)
		}
		if r.err != nil {
			break
		}
		r.fill()
	}
	if r.block == "" || !errors.Is(r.err, io.EOF) {
		return "", r.err
	}
	line := r.block
	r.block = ""
	r.number++
	return line, nil
}

// fill reads on; what there is already stays in front.
func (r *Reader) fill() {
	if len(r.buffer) < len(r.block) || r.buffer == nil {
		r.buffer = make([]byte, max(blockSize, len(r.block)))
	}
	n, err := r.r.Read(r.buffer)
	r.err = err
	var b strings.Builder
	b.Grow(len(r.block) + n)
	b.WriteString(r.block)
	b.Write(r.buffer[:n])
	r.block = b.String()
}

// A Warning is what is wrong with a line, in words that follow "file, line n: ".
type Warning string

// Split cuts the text of a "key white-space value" line. The key ends at the
// first white space outside of double quotes and keeps its quotes; \ takes
// the next octet as it is. ok is false when the line is to be left out;
// warning may be set either way.
func Split(text string) (key, value string, warning Warning, ok bool) {
	end, balanced := keyEnd(text)
	if !balanced {
		return "", "", Warning(fmt.Sprintf("unbalanced '\"' in '%s' -- ignoring this line", text)), false
	}
	key = text[:end]
	value = trim(text[end:])
	if key == "" || value == "" {
		return "", "", "expected format: key whitespace value", false
	}
	if strings.HasSuffix(key, ":") {
		warning = `record is in "key: value" format; is this an alias file?`
	}
	return key, value, warning, true
}

const space = " \t\r\n\v\f"

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// trim takes white space off both ends.
func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func keyEnd(text string) (end int, balanced bool) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c <= ' ' && !quoted && isSpace(c):
			return i, true
		}
	}
	return len(text), !quoted
}
