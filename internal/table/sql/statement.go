package sql

import (
	"fmt"
	"strings"

	"postern/internal/table/database"
)

// A Dialect is how a server reads the text of a statement.
type Dialect struct {
	Backtick    bool // `name`
	Bracket     bool // [name]
	Hash        bool // # begins a comment
	DashBlank   bool // "--" begins a comment only before white space
	Dollar      bool // $tag$ text $tag$
	EscapeMarks bool // E'text', U&'text': a backslash escapes whatever the session says
}

// A place is where an expansion stands in a statement, which decides how what
// replaces it is made safe.
type place struct {
	quote     byte // ', " or `; 0: not in quotes, where only a number is safe
	backslash bool // a backslash escapes in these quotes
}

// A statement is a query template for sessions of one kind.
type statement struct {
	template *database.Template
	places   []place // of each piece; only those of expansions count
}

// newStatement finds out where the expansions of t stand. backslash says
// whether a backslash escapes in ordinary quotes.
func newStatement(t *database.Template, d Dialect, backslash bool) (*statement, error) {
	s := &statement{template: t}
	x := scanner{dialect: d, backslash: backslash}
	for _, p := range t.Pieces {
		if p.Verb == 0 {
			x.literal(p.Literal)
			s.places = append(s.places, place{})
			continue
		}
		at, err := x.expansion()
		if err != nil {
			return nil, fmt.Errorf("query: %%%c stands %w: put it between quotes", p.Verb, err)
		}
		s.places = append(s.places, at)
	}
	return s, nil
}

// text makes the statement for key, which fits.
func (s *statement) text(key *database.Address) (string, error) {
	var b strings.Builder
	for i, p := range s.template.Pieces {
		part := p.Part(key, nil)
		if p.Verb == 0 {
			b.WriteString(part)
			continue
		}
		if err := s.places[i].write(&b, part); err != nil {
			return "", fmt.Errorf("query: %%%c: %w", p.Verb, err)
		}
	}
	return b.String(), nil
}

// write makes part safe for the place. A quote is doubled, which every server
// understands in every mode.
func (at place) write(b *strings.Builder, part string) error {
	if at.quote == 0 {
		if !number(part) {
			return fmt.Errorf("%.100q is not a number and stands outside quotes", part)
		}
		b.WriteString(part)
		return nil
	}
	for i := 0; i < len(part); i++ {
		switch c := part[i]; {
		case c == at.quote:
			b.WriteByte(c)
			b.WriteByte(c)
		case c == '\\' && at.backslash:
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
	}
	return nil
}

// number says whether text is a plain decimal number.
func number(text string) bool {
	whole, fraction, point := strings.Cut(text, ".")
	digits := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	return digits(whole) && (!point || digits(fraction))
}

// States of a scanner.
type state int

const (
	code state = iota
	quoted
	comment      // up to the end of the line
	blockComment // up to */
	bracket
	dollar
)

// A scanner follows the quotes and comments of a statement.
type scanner struct {
	dialect   Dialect
	backslash bool

	state   state
	place   place
	escaped bool   // the octet before was a backslash that escapes
	tag     string // of a dollar quote, "$tag$"
	nested  int    // block comments
	recent  string // the last octets of code, in lower case
}

// expansion returns the place where an expansion would stand now.
func (x *scanner) expansion() (place, error) {
	switch {
	case x.state == quoted && x.escaped:
		return place{}, fmt.Errorf("after a backslash")
	case x.state == quoted:
		return x.place, nil
	case x.state == comment || x.state == blockComment:
		return place{}, fmt.Errorf("in a comment")
	case x.state == bracket:
		return place{}, fmt.Errorf("in brackets")
	case x.state == dollar:
		return place{}, fmt.Errorf("in dollar quotes")
	}
	x.recent = "" // what follows is not joined to what was before
	return place{}, nil
}

func (x *scanner) literal(text string) {
	for i := 0; i < len(text); i++ {
		i += x.octet(text, i)
	}
}

// octet takes text[i]; it returns how many more octets it has taken.
func (x *scanner) octet(text string, i int) int {
	c, rest := text[i], text[i:]
	switch x.state {
	case quoted:
		switch {
		case x.escaped:
			x.escaped = false
		case c == '\\' && x.place.backslash:
			x.escaped = true
		case c == x.place.quote:
			x.state, x.recent = code, ""
		}
	case comment:
		if c == '\n' {
			x.state = code
		}
	case blockComment:
		return x.inBlockComment(rest)
	case bracket:
		if c == ']' {
			x.state = code
		}
	case dollar:
		if strings.HasPrefix(rest, x.tag) {
			x.state = code
			return len(x.tag) - 1
		}
	default:
		return x.inCode(c, rest)
	}
	return 0
}

func (x *scanner) inBlockComment(rest string) int {
	switch {
	case strings.HasPrefix(rest, "*/"):
		if x.nested--; x.nested <= 0 {
			x.state = code
		}
		return 1
	case strings.HasPrefix(rest, "/*") && x.dialect.Dollar: // PostgreSQL nests them
		x.nested++
		return 1
	}
	return 0
}

func (x *scanner) inCode(c byte, rest string) int {
	d := x.dialect
	switch {
	case c == '\'' || c == '"' || c == '`' && d.Backtick:
		x.state = quoted
		x.place = place{quote: c, backslash: x.escapes(c)}
	case c == '[' && d.Bracket:
		x.state = bracket
	case c == '#' && d.Hash:
		x.state = comment
	case strings.HasPrefix(rest, "--") && (!d.DashBlank || len(rest) < 3 || rest[2] <= ' '):
		x.state = comment
		return 1
	case strings.HasPrefix(rest, "/*"):
		x.state, x.nested = blockComment, 1
		return 1
	case c == '$' && d.Dollar && !nameEnd(x.recent):
		if end := strings.IndexByte(rest[1:], '$'); end >= 0 && !strings.ContainsAny(rest[1:1+end], " \t\r\n'\"();,") && !number(rest[1:1+end]) {
			x.state, x.tag = dollar, rest[:end+2]
			return len(x.tag) - 1
		}
	}
	x.recent = strings.ToLower((x.recent + string(c))[max(0, len(x.recent)-2):])
	return 0
}

// escapes says whether a backslash escapes in the quotes that c opens now.
func (x *scanner) escapes(c byte) bool {
	if x.dialect.EscapeMarks {
		mark := x.recent
		if strings.HasSuffix(mark, "u&") || c == '\'' && strings.HasSuffix(mark, "e") && !nameEnd(mark[:len(mark)-1]) {
			return true
		}
		return x.backslash && c == '\''
	}
	return x.backslash && c != '`'
}

// nameEnd says whether a letter after s would belong to a word.
func nameEnd(s string) bool {
	if s == "" {
		return false
	}
	c := s[len(s)-1]
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
