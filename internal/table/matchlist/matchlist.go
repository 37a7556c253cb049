// Package matchlist is the value of a parameter that lists who or what
// matches: domains (mydestination), host names and addresses (mynetworks),
// or plain words.
//
// The items are tried in order and the first that matches decides; "!item"
// decides that there is no match. An item is a name, an address or network, a
// "type:table" (a match if the key is there, whatever the value), or a
// "/file" that holds more items.
package matchlist

import (
	"context"
	"fmt"
	"os"
	"strings"

	"postern/internal/table"
)

// Flags of a list.
type Flags int

// Parent makes the name "example.com" match "a.example.com" too. Without it
// ".example.com" does that (Postfix: parent_domain_matches_subdomains).
const Parent Flags = 1

// A List is a parsed list. The nil List matches nothing.
type List struct {
	title string
	items []item
	flags Flags
	log   table.Logger
}

type item struct {
	negate  bool
	pattern string // lower case; "" for a table
	spec    string // type:name
	tab     table.Table
}

// ParentStyle returns the flags for the parameter title when
// parent_domain_matches_subdomains has the value styles.
func ParentStyle(title, styles string) Flags {
	for _, s := range table.Tokens(styles) {
		if s == title {
			return Parent
		}
	}
	return 0
}

// New parses list, the value of the parameter title, and opens its tables.
func New(title, list string, o *table.Opener, f Flags) (*List, error) {
	l := &List{title: title, flags: f, log: o.Log}
	if err := l.add(list, o, true, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	return l, nil
}

const maxDepth = 10 // files that name files

func (l *List) add(list string, o *table.Opener, match bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("files that name each other")
	}
	for _, tok := range table.Tokens(list) {
		if strings.HasPrefix(tok, "#") {
			return fmt.Errorf("%q: comment at end of line is not supported", tok)
		}
		this := match
		for strings.HasPrefix(tok, "!") {
			this, tok = !this, tok[1:]
		}
		if tok == "" {
			return fmt.Errorf("no pattern after '!'")
		}
		if err := l.addItem(tok, o, this, depth); err != nil {
			return err
		}
	}
	return nil
}

func (l *List) addItem(tok string, o *table.Opener, match bool, depth int) error {
	switch {
	case tok[0] == '/':
		b, err := os.ReadFile(tok)
		if err != nil {
			// Postfix: a list that cannot be read fails when it is used.
			if l.log != nil {
				l.log.Warningf("%s: %v", l.title, err)
			}
			l.items = append(l.items, item{spec: tok, tab: unreadable{err}})
			return nil
		}
		for _, line := range logicalLines(string(b)) {
			if err := l.add(line, o, match, depth+1); err != nil {
				return err
			}
		}
	case tok[0] != '[' && strings.Contains(tok, ":"):
		t, err := o.Open(tok)
		if err != nil {
			return err
		}
		l.items = append(l.items, item{negate: !match, spec: tok, tab: t})
	default:
		l.items = append(l.items, item{negate: !match, pattern: table.Fold(tok, true)})
	}
	return nil
}

type unreadable struct{ err error }

func (u unreadable) Lookup(context.Context, string) (string, bool, error) { return "", false, u.err }
func (u unreadable) Close() error                                         { return nil }

// logicalLines returns the lines of a file with continuation lines joined and
// comments left out.
func logicalLines(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if len(out) == 0 {
				out = append(out, trimmed)
			} else {
				out[len(out)-1] += " " + trimmed
			}
		default:
			out = append(out, trimmed)
		}
	}
	return out
}
