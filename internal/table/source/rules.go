package source

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/table"
)

// Lines is where logical lines come from: a file or the configuration itself.
type Lines interface {
	Next() (Line, error)
}

// Where says where the line stands, "3" or "3-5".
func (l Line) Where() string {
	if l.First == l.Last {
		return fmt.Sprint(l.First)
	}
	return fmt.Sprintf("%d-%d", l.First, l.Last)
}

// Inline returns the rules of "{ { rule }, { rule } }"; the nth has line
// number n.
func Inline(text string) (Lines, error) {
	body, err := table.Braced(text)
	if err != nil {
		return nil, err
	}
	var l inlineRules
	for _, tok := range table.Tokens(body) {
		rule, err := table.Braced(tok)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, tok)
		}
		tok = rule
		l = append(l, tok)
	}
	return &inlineReader{rules: l}, nil
}

type inlineRules []string

type inlineReader struct {
	rules inlineRules
	n     int
}

func (r *inlineReader) Next() (Line, error) {
	if r.n == len(r.rules) {
		return Line{}, io.EOF
	}
	r.n++
	return Line{Text: r.rules[r.n-1], First: r.n, Last: r.n}, nil
}

// Word cuts the first word off.
func Word(text string) (word, rest string) {
	text = strings.TrimLeft(text, space)
	n := strings.IndexAny(text, space)
	if n < 0 {
		return text, ""
	}
	return text[:n], strings.Trim(text[n:], space)
}

// Negation takes the exclamation marks off that precede a pattern.
func Negation(text string) (negate bool, rest string) {
	for text != "" && (text[0] == '!' || strings.IndexByte(space, text[0]) >= 0) {
		negate = negate != (text[0] == '!')
		text = text[1:]
	}
	return negate, text
}
