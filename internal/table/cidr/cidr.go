// Package cidr is tables of networks: the first rule whose network contains
// the address that is looked up gives the result.
//
// A rule is "pattern result" or "!pattern result"; "if pattern … endif" and
// "if !pattern … endif" enclose rules. (Postfix: cidr_table(5).)
package cidr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/table"
	"postern/internal/table/source"
)

// Type returns the table type "cidr".
func Type() table.Type { return table.Type{Name: "cidr", Open: open} }

// A Rules is a parsed table.
type Rules []rule

type rule struct {
	net    netip.Prefix
	negate bool
	value  string
	skip   int // for "if": where to go on when the pattern does not match; 0 for a rule
}

func open(name string, o *table.Opener) (table.Table, error) {
	if strings.HasPrefix(name, "{") {
		lines, err := source.Inline(name)
		if err != nil {
			return nil, fmt.Errorf("cidr map: %w", err)
		}
		return parse(lines, "cidr map "+name, o)
	}
	return table.OpenFile(name, o, func(f *os.File) (table.Table, error) {
		r := source.NewReader(f)
		r.Warn = func(text string) { o.Warningf("cidr map %s: %s", name, text) }
		rules, err := parse(r, "cidr map "+name, o)
		if err != nil {
			return nil, err
		}
		f.Close()
		return rules, nil
	})
}

// parse reads rules; a line with a mistake is reported and left out.
func parse(lines source.Lines, where string, o *table.Opener) (Rules, error) {
	p := parser{files: o.Flags&table.ValueIsFile != 0}
	for {
		l, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if err := p.line(l); err != nil {
			o.Warningf("%s, line %d: %v", where, l.First, err)
		}
	}
	for i := len(p.open) - 1; i >= 0; i-- {
		o.Warningf("%s, line %d: IF has no matching ENDIF", where, p.open[i].where)
		p.rules[p.open[i].at].skip = len(p.rules)
	}
	return p.rules, nil
}

type parser struct {
	files bool // values are names of files
	rules Rules
	open  []nested
}

type nested struct {
	at, where int
}

func (p *parser) line(l source.Line) error {
	text := strings.Trim(l.Text, " \t\r\n")
	word, rest := source.Word(text)
	switch {
	case strings.EqualFold(word, "endif"):
		return p.endif(rest)
	case strings.EqualFold(word, "if"):
		negate, pattern := source.Negation(rest)
		if pattern == "" {
			return errors.New("no address pattern: skipping this rule")
		}
		net, err := netaddr.ParsePattern(pattern)
		if err != nil {
			return fmt.Errorf("%w: skipping this rule", err)
		}
		p.open = append(p.open, nested{len(p.rules), l.First})
		p.rules = append(p.rules, rule{net: net, negate: negate, skip: -1})
		return nil
	}
	negate, text := source.Negation(text)
	pattern, value := source.Word(text)
	if pattern == "" {
		return errors.New("no address pattern: skipping this rule")
	}
	net, err := netaddr.ParsePattern(pattern)
	if err != nil {
		return fmt.Errorf("%w: skipping this rule", err)
	}
	if value == "" {
		return errors.New("no lookup result: skipping this rule")
	}
	if p.files {
		if value, err = source.FileValue(value); err != nil {
			return fmt.Errorf("%w: skipping this rule", err)
		}
	}
	p.rules = append(p.rules, rule{net: net, negate: negate, value: value})
	return nil
}

func (p *parser) endif(rest string) error {
	if rest != "" {
		return errors.New("garbage after ENDIF: skipping this rule")
	}
	if len(p.open) == 0 {
		return errors.New("ENDIF without IF: skipping this rule")
	}
	last := p.open[len(p.open)-1]
	p.open = p.open[:len(p.open)-1]
	p.rules[last.at].skip = len(p.rules)
	return nil
}

// Lookup returns the result of the first rule for the address key.
func (r Rules) Lookup(_ context.Context, key string) (string, bool, error) {
	addr, err := netip.ParseAddr(key)
	if err != nil || addr.Zone() != "" {
		return "", false, nil // Postfix: what is no address is in no network
	}
	for i := 0; i < len(r); {
		// Postfix: a rule is about addresses of its own family only.
		same := r[i].net.Addr().BitLen() == addr.BitLen()
		hit := same && r[i].net.Contains(addr) != r[i].negate
		switch {
		case r[i].skip != 0 && !hit:
			i = r[i].skip
		case r[i].skip != 0 || !hit:
			i++
		default:
			return r[i].value, true, nil
		}
	}
	return "", false, nil
}

// Entries counts the rules.
func (r Rules) Entries() int { return len(r) }

// Keys says that only whole addresses are looked up.
func (r Rules) Keys() table.Keys { return table.Pattern }

// Close does nothing.
func (r Rules) Close() error { return nil }
