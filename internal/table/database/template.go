package database

import (
	"fmt"
	"slices"
	"strings"
)

// A Template is a text with %-expansions of a key and, in a result format, of
// a value.
type Template struct {
	Text   string
	Pieces []Piece
}

// A Piece of a template is a literal text, or an expansion.
type Piece struct {
	Literal string // with "%%" reduced to "%"
	Verb    byte   // s, u, d, S, U, D or 1 to 9; 0 for a literal
}

// ParseTemplate parses the text of the parameter name.
func ParseTemplate(name, text string) (*Template, error) {
	t := &Template{Text: text}
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t.Pieces = append(t.Pieces, Piece{Literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			literal.WriteByte(text[i])
			continue
		}
		i++
		switch {
		case i < len(text) && text[i] == '%':
			literal.WriteByte('%')
		case i < len(text) && strings.IndexByte("sudSUD123456789", text[i]) >= 0:
			flush()
			t.Pieces = append(t.Pieces, Piece{Verb: text[i]})
		default:
			return nil, fmt.Errorf("invalid %s template: %q: use %%s, %%u, %%d, %%S, %%U, %%D, %%1 to %%9, and %%%% for a percent sign", name, text)
		}
	}
	flush()
	return t, nil
}

// uses says whether one of verbs occurs.
func (t *Template) uses(verbs string) bool {
	for _, p := range t.Pieces {
		if p.Verb != 0 && strings.IndexByte(verbs, p.Verb) >= 0 {
			return true
		}
	}
	return false
}

// labels returns the highest number that occurs, 0 for none.
func (t *Template) labels() int {
	most := 0
	for _, p := range t.Pieces {
		if p.Verb >= '1' && p.Verb <= '9' {
			most = max(most, int(p.Verb-'0'))
		}
	}
	return most
}

// Dynamic says whether the text depends on the key.
func (t *Template) Dynamic() bool { return t.uses("sudSUD123456789") }

// An Address is a key or a value taken apart at its last "@".
type Address struct {
	Whole, User, Domain string
	Qualified           bool     // there is an "@"
	labels              []string // of the domain, the most significant first
}

// SplitAddress takes text apart. Without an "@" the whole is the user.
func SplitAddress(text string) *Address {
	a := &Address{Whole: text, User: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		a.User, a.Domain, a.Qualified = text[:i], text[i+1:], true
		// Postfix: empty labels do not count.
		a.labels = strings.FieldsFunc(a.Domain, func(r rune) bool { return r == '.' })
		slices.Reverse(a.labels)
	}
	return a
}

// has says whether a has what the template wants of it.
func (a *Address) has(user, domain bool, labels int) bool {
	switch {
	case user && a.Qualified && a.User == "":
	case domain && a.Domain == "":
	case labels > len(a.labels):
	default:
		return true
	}
	return false
}

// FitsKey says whether key has all parts that a query made of t needs.
func (t *Template) FitsKey(key *Address) bool {
	return key.has(t.uses("uU"), t.uses("dD"), t.labels())
}

// fitsResult says the same of what t needs as a result format.
func (t *Template) fitsResult(key *Address) bool {
	return key.has(t.uses("U"), t.uses("D"), t.labels())
}

// Part returns the part of key, or of value where that is not nil and the verb
// means it.
func (p Piece) Part(key, value *Address) string {
	if value == nil {
		value = key
	}
	switch p.Verb {
	case 's':
		return value.Whole
	case 'u':
		return value.User
	case 'd':
		return value.Domain
	case 'S':
		return key.Whole
	case 'U':
		return key.User
	case 'D':
		return key.Domain
	case 0:
		return p.Literal
	}
	return key.labels[p.Verb-'1']
}

// Expand makes the text for key, which fits. quote, which may be nil, makes a
// part safe to stand between the literals.
func (t *Template) Expand(key *Address, quote func(part string) string) string {
	var b strings.Builder
	for _, p := range t.Pieces {
		part := p.Part(key, nil)
		if p.Verb != 0 && quote != nil {
			part = quote(part)
		}
		b.WriteString(part)
	}
	return b.String()
}
