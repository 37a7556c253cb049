// Package lines reads text files that consist of logical lines.
//
// A logical line starts with a character that is not white space; lines that
// start with white space continue it. Empty lines, lines of white space only,
// and lines whose first character after white space is a "#" do not count,
// wherever they stand. This is the form of main.cf, master.cf and of the source
// text of most lookup tables.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits of a file.
const (
	MaxLine = 1 << 20 // octets of a logical line
	MaxFile = 1 << 30 // octets of a file
)

// A Line is one logical line.
type Line struct {
	Text        string // without line ends; continued text keeps its leading white space
	First, Last int    // numbers of its first and last physical line, from 1
}

// A Reader reads logical lines.
type Reader struct {
	// Warn is told of a logical line that starts with white space; such a line
	// does not count (Postfix). Where it is nil such a line is an error.
	Warn func(*Error)

	r      *bufio.Reader
	number int   // of the last physical line read
	size   int64 // octets read
	next   []byte
	nextNo int
	have   bool // next is a physical line that was read ahead
	limit  int64
}

// NewReader returns a reader of r. limit is the largest size of the file, 0 for
// MaxFile.
func NewReader(r io.Reader, limit int64) *Reader {
	if limit <= 0 {
		limit = MaxFile
	}
	return &Reader{r: bufio.NewReaderSize(r, 8192), limit: limit}
}

var (
	errTooLong  = fmt.Errorf("line is longer than %d octets", MaxLine)
	errNUL      = errors.New("line contains a NUL octet")
	errTooLarge = errors.New("file is too large")
)

// An Error is what is wrong with a physical line.
type Error struct {
	Line int
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Next returns the next logical line, and io.EOF after the last. Errors other
// than those of reading are of type *Error.
func (r *Reader) Next() (Line, error) {
	for {
		line, err := r.logical()
		if err != nil || !isSpace(line.Text[0]) {
			return line, err
		}
		bad := &Error{line.First, fmt.Errorf("logical line must not start with whitespace: \"%s\"", start(line.Text))}
		if r.Warn == nil {
			return Line{}, bad
		}
		r.Warn(bad)
	}
}

// start is the beginning of a line, for a message.
func start(text string) string {
	if len(text) > 30 {
		return text[:30] + "..."
	}
	return text
}

func (r *Reader) logical() (Line, error) {
	if err := r.advance(); err != nil {
		return Line{}, err
	}
	text := append([]byte(nil), r.next...)
	line := Line{First: r.nextNo, Last: r.nextNo}
	for {
		r.have = false
		err := r.advance()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Line{}, err
		}
		if !isSpace(r.next[0]) {
			break
		}
		if text = append(text, r.next...); len(text) > MaxLine {
			return Line{}, &Error{line.First, errTooLong}
		}
		line.Last = r.nextNo
	}
	line.Text = string(text)
	return line, nil
}

// advance makes r.next a physical line that counts.
func (r *Reader) advance() error {
	for !r.have {
		b, err := r.physical()
		if err != nil {
			return err
		}
		t := bytes.TrimLeft(b, " \t\r\v\f")
		if len(t) > 0 && t[0] != '#' {
			r.next, r.nextNo, r.have = b, r.number, true
		}
	}
	return nil
}

// physical reads a line without its line end.
func (r *Reader) physical() ([]byte, error) {
	r.number++
	var b []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if r.size += int64(len(part)); r.size > r.limit {
			return nil, &Error{r.number, errTooLarge}
		}
		b = append(b, part...)
		if len(b) > MaxLine {
			return nil, &Error{r.number, errTooLong}
		}
		if err == io.EOF && len(b) > 0 {
			err = nil
		} else if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return nil, &Error{r.number, errNUL}
	}
	return bytes.TrimSuffix(b, []byte("\n")), nil
}

func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}
