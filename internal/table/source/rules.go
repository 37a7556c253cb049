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

// Inline returns the rules of "{ { rule }, { rule } }"; the nth has line
// number n.
func Inline(text string) (Lines, error) {
	body, err := braced(text)
	if err != nil {
		return nil, err
	}
	var l inlineRules
	for _, tok := range table.Tokens(body) {
		rule, err := braced(tok)
		if err != nil {
			return nil, err
		}
		tok = rule
		l = append(l, tok)
	}
	return &inlineReader{rules: l}, nil
}

// braced words the mistakes as Postfix does.
func braced(text string) (string, error) {
	if !strings.HasPrefix(text, "{") {
		return "", fmt.Errorf("no '{' at start of text in %q", text)
	}
	body, err := table.Braced(text)
	if err != nil && !strings.Contains(err.Error(), " in ") {
		err = fmt.Errorf("%w in %q", err, text)
	}
	return body, err
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
