// Package macro expands $name and its relatives in configuration text.
//
// The forms are Postfix's: $name, ${name}, $(name), $$ for one dollar;
// ${name?text} and ${name:text}, the text if the value is, or is not, empty;
// ${name?{text}:{text}}; ${{text} operator {text} ? {text} : {text}} with the
// operators ==, !=, <, <=, >=, > and the same with the suffix "level", which
// compare compatibility levels. A comparison alone, ${{text} == {text}}, is
// "true" or nothing. Blanks before an operand do not count, those inside its
// braces, and those of an operand without braces, do.
//
// Expansion is bounded in depth and in size, so that neither a value that
// names itself nor one that doubles at each step can exhaust a program.
package macro

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of one expansion.
const (
	MaxDepth = 100     // Postfix: the same number of nested calls
	MaxSize  = 1 << 20 // octets of the result
)

// An Expander holds what one kind of text is expanded with. Its methods do not
// change it.
type Expander struct {
	// Lookup returns the value of a name; ok is false for a name that has none.
	Lookup func(name string) (value string, ok bool, err error)
	// Recurse has the values expanded in their turn.
	Recurse bool
	// Filter lists the octets that a value may hold; others become "_". Text
	// outside of values is not filtered. Empty: no filter.
	Filter string
	// MaxSize bounds the result; 0 means the package's limit.
	MaxSize int
	// Functions may be called as ${name{text}}.
	Functions map[string]func(text string) (string, error)
}

// A Result is an expanded text.
type Result struct {
	Text      string
	Undefined bool // a name without value was replaced by nothing
}

// Expand returns text with everything expanded.
func (e *Expander) Expand(text string) (Result, error) {
	limit := e.MaxSize
	if limit <= 0 {
		limit = MaxSize
	}
	x := &expansion{Expander: e, limit: limit}
	var out strings.Builder
	if err := x.expand(&out, text, 0); err != nil {
		return Result{}, err
	}
	return Result{Text: out.String(), Undefined: x.undefined}, nil
}

// Names calls each for every name that text refers to, outermost first. It does
// not look into values.
func Names(text string, each func(name string)) error {
	e := Expander{
		Lookup: func(name string) (string, bool, error) {
			each(name)
			return "", true, nil
		},
		Functions: Functions,
	}
	x := &expansion{Expander: &e, limit: MaxSize, all: true}
	return x.expand(&strings.Builder{}, text, 0)
}

var (
	errTooLarge = errors.New("macro expansion is too large")
)

type expansion struct {
	*Expander
	limit     int
	spent     int // octets written so far, discarded text included
	undefined bool
	all       bool     // visit both branches
	within    []string // the names whose values are being expanded
}

func (x *expansion) add(out *strings.Builder, s string) error {
	if x.spent += len(s); x.spent > x.limit {
		return errTooLarge
	}
	out.WriteString(s)
	return nil
}

// expand appends text to out.
func (x *expansion) expand(out *strings.Builder, text string, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("unreasonable macro call nesting: %.100q", text)
	}
	// Work is bounded too: each call costs at least one octet of the limit.
	if x.spent++; x.spent > x.limit {
		return errTooLarge
	}
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			return x.add(out, text)
		}
		if err := x.add(out, text[:i]); err != nil {
			return err
		}
		text = text[i+1:]
		body, rest, braced, err := reference(text)
		if err != nil {
			return err
		}
		text = rest
		switch {
		case !braced && body == "$":
			err = x.add(out, "$")
		case braced:
			err = x.braced(out, body, depth)
		default:
			err = x.value(out, body, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reference splits what follows a dollar into the reference and the rest.
func reference(text string) (body, rest string, braced bool, err error) {
	if text == "" {
		return "", "", false, fmt.Errorf("empty macro name: %q", "$")
	}
	switch text[0] {
	case '$':
		return "$", text[1:], false, nil
	case '{', '(':
		n := balanced(text)
		if n < 0 {
			return "", "", false, fmt.Errorf("truncated macro reference: %.100q", text)
		}
		return text[1 : n-1], text[n:], true, nil
	}
	n := nameLen(text)
	if n == 0 {
		return "", "", false, fmt.Errorf("empty macro name: %.100q", "$"+text)
	}
	return text[:n], text[n:], false, nil
}

// balanced returns the length of the bracketed text that s starts with, or -1.
// Only brackets of the first one's kind count.
func balanced(s string) int {
	open, end := s[0], byte('}')
	if open == '(' {
		end = ')'
	}
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case open:
			level++
		case end:
			if level--; level == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && isName(s[n]) {
		n++
	}
	return n
}

func isName(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

const blanks = " \t\r\n\v\f"

// braced appends what stands between the brackets of a reference.
func (x *expansion) braced(out *strings.Builder, body string, depth int) error {
	s := strings.TrimLeft(body, blanks)
	if strings.HasPrefix(s, "{") {
		yes, rest, err := x.relation(s, depth)
		if err != nil {
			return err
		}
		if rest == "" {
			rest = "?true"
		}
		return x.choose(out, yes, rest, depth)
	}
	n := nameLen(s)
	name, rest := s[:n], strings.TrimLeft(s[n:], blanks)
	if name == "" {
		return fmt.Errorf("empty macro name: %.100q", "{"+body+"}")
	}
	if rest == "" {
		return x.value(out, name, depth)
	}
	if f := x.Functions[name]; f != nil && rest[0] == '{' {
		return x.call(out, name, rest, depth)
	}
	if rest[0] != '?' && rest[0] != ':' {
		return syntaxAt("attribute name syntax error", name, s[n:])
	}
	value, _, err := x.Lookup(name)
	if err != nil {
		return err
	}
	return x.choose(out, value != "", rest, depth)
}

// call appends what a function makes of the text in braces. Postfix: 3.11.
func (x *expansion) call(out *strings.Builder, name, rest string, depth int) error {
	text, rest, _, err := operand(rest)
	if err == nil && rest != "" {
		err = syntaxAt("unexpected input", name+"{"+text+"}", rest)
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := x.expand(&b, text, depth+1); err != nil || x.all {
		return err
	}
	result, err := x.Functions[name](b.String())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return x.add(out, result)
}

// choose appends one of the alternatives in rest: "?text", ":text" or
// "?{text}:{text}".
func (x *expansion) choose(out *strings.Builder, yes bool, rest string, depth int) error {
	ifTrue, ifFalse, err := alternatives(rest)
	if err != nil {
		return err
	}
	if x.all {
		if err := x.expand(out, ifTrue, depth+1); err != nil {
			return err
		}
		yes = false
	}
	if yes {
		return x.expand(out, ifTrue, depth+1)
	}
	return x.expand(out, ifFalse, depth+1)
}

func alternatives(s string) (ifTrue, ifFalse string, err error) {
	if s[0] != '?' && s[0] != ':' {
		return "", "", syntaxAt(`"?" or ":" expected`, "", s)
	}
	text, rest, braced, err := operand(s[1:])
	switch {
	case err != nil:
		return "", "", err
	case s[0] == ':' && rest == "":
		return "", text, nil
	case s[0] == ':':
		return "", "", syntaxAt("unexpected input", text+"}", rest)
	case !braced || rest == "":
		return text, "", nil
	case rest[0] != ':':
		return "", "", syntaxAt(`":" expected`, text+"}", rest)
	}
	ifFalse, rest, _, err = operand(rest[1:])
	if err == nil && rest != "" {
		err = syntaxAt("unexpected input", ifFalse+"}", rest)
	}
	return text, ifFalse, err
}

// syntaxAt is an error with the place where it was found.
func syntaxAt(what, before, after string) error {
	if len(before) > 20 {
		before = before[len(before)-20:]
	}
	return fmt.Errorf("%s at: %q", what, fmt.Sprintf("...%s>>>%.20s", before, after))
}

// operand takes a text in braces, or all of s, blanks too, where it has none.
func operand(s string) (text, rest string, braced bool, err error) {
	if !strings.HasPrefix(strings.TrimLeft(s, blanks), "{") {
		return s, "", false, nil
	}
	s = strings.TrimLeft(s, blanks)
	n := balanced(s)
	if n < 0 {
		return "", "", false, fmt.Errorf("unbalanced {} in attribute expression: %.100q", s)
	}
	return s[1 : n-1], strings.TrimLeft(s[n:], blanks), true, nil
}

// value appends the value of name.
func (x *expansion) value(out *strings.Builder, name string, depth int) error {
	value, ok, err := x.Lookup(name)
	if err != nil {
		return err
	}
	if !ok {
		x.undefined = true
		return nil
	}
	if x.Recurse && strings.Contains(value, "$") {
		if value, err = x.recurse(name, value, depth); err != nil {
			return err
		}
	}
	return x.add(out, filtered(value, x.Filter))
}

// recurse expands the value of a name.
func (x *expansion) recurse(name, value string, depth int) (string, error) {
	x.within = append(x.within, name)
	if i := slices.Index(x.within, name); i < len(x.within)-1 {
		return "", fmt.Errorf("unreasonable macro call nesting: $%s", strings.Join(x.within[i:], " refers to $"))
	}
	var b strings.Builder
	if err := x.expand(&b, value, depth+1); err != nil {
		return "", err
	}
	x.within = x.within[:len(x.within)-1]
	x.spent -= b.Len()
	return b.String(), nil
}

func filtered(value, allowed string) string {
	if allowed == "" {
		return value
	}
	b := []byte(value)
	for i, c := range b {
		if strings.IndexByte(allowed, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}
