// Package source is the text form of lookup tables: what postmap compiles and
// what texthash, cidr, pcre and regexp read as it is.
//
// A logical line starts with text and goes on in the lines after it that begin
// with white space; empty lines and lines whose first character is # count
// neither as text nor as an end. (Postfix: postmap(1), TABLE FORMAT.)
package source

import (
	"bufio"
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

// A Reader reads logical lines.
type Reader struct {
	// Warn takes what is wrong with a line that is left out; it may be nil.
	Warn func(text string)

	r       *bufio.Reader
	number  int
	pending string // the physical line that starts the next logical one
	have    bool
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReader(r)} }

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
	var b strings.Builder
	var l Line
	for {
		text, err := r.physical()
		if err != nil && (!errors.Is(err, io.EOF) || l.First == 0) {
			return l, err
		}
		if err != nil {
			break
		}
		if blank(text) || strings.HasPrefix(strings.TrimLeft(text, " \t\v\f\r"), "#") {
			continue
		}
		if l.First != 0 && text[0] != ' ' && text[0] != '\t' {
			r.pending, r.have = text, true
			break
		}
		if l.First == 0 {
			l.First = r.number
		}
		l.Last = r.number
		b.WriteString(text)
		if b.Len() > MaxLine {
			return l, fmt.Errorf("line %d: longer than %d octets", l.First, MaxLine)
		}
	}
	l.Text = b.String()
	return l, nil
}

// physical returns the next physical line without its end.
func (r *Reader) physical() (string, error) {
	if r.have {
		r.have = false
		return r.pending, nil
	}
	var b []byte
	for {
		part, err := r.r.ReadSlice('\n')
		b = append(b, part...)
		if len(b) > MaxLine {
			return "", fmt.Errorf("line %d: longer than %d octets", r.number+1, MaxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (len(b) == 0 || !errors.Is(err, io.EOF)) {
			return "", err
		}
		r.number++
		return strings.TrimSuffix(string(b), "\n"), nil
	}
}

func blank(s string) bool { return strings.TrimLeft(s, " \t\v\f\r") == "" }

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
	value = strings.Trim(text[end:], space)
	if key == "" || value == "" {
		return "", "", "expected format: key whitespace value", false
	}
	if strings.HasSuffix(key, ":") {
		warning = `record is in "key: value" format; is this an alias file?`
	}
	return key, value, warning, true
}

const space = " \t\r\n\v\f"

func keyEnd(text string) (end int, balanced bool) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(space, c) >= 0:
			return i, true
		}
	}
	return len(text), !quoted
}
