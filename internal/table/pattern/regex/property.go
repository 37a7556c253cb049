package regex

import (
	"errors"
	"strings"
	"unicode"
)

// property parses after \p or \P: the octets whose character, of the first 256 of
// Unicode, has a property: a general category, a script, or one of PCRE2's own.
func (p *perl) property(negate bool) (set, error) {
	var s set
	if !p.more() {
		return s, errors.New(`malformed \P or \p sequence`)
	}
	name := p.text[p.i : p.i+1]
	p.i++
	if name == "{" {
		var err error
		if name, err = p.until('}'); err != nil {
			return s, errors.New(`malformed \P or \p sequence`)
		}
		if rest, found := strings.CutPrefix(name, "^"); found {
			name, negate = rest, !negate
		}
	}
	has, ok := properties(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name)))
	if !ok {
		return s, unsupported(`the property ` + name)
	}
	for c := range 256 {
		if has(rune(c)) != negate {
			s.add(byte(c))
		}
	}
	return s, nil
}

func properties(name string) (has func(rune) bool, ok bool) {
	switch name {
	case "any":
		return func(rune) bool { return true }, true
	case "l&", "lc":
		return func(r rune) bool { return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt) }, true
	case "xan":
		return alphanumeric, true
	case "xwd":
		return func(r rune) bool { return alphanumeric(r) || r == '_' }, true
	case "xsp", "xps":
		return func(r rune) bool { return unicode.Is(unicode.Z, r) || r >= '\t' && r <= '\r' || r == 0x85 }, true
	case "xuc":
		return func(r rune) bool { return r == '$' || r == '@' || r == '`' || r >= 0xa0 }, true
	case "cn", "cs", "co", "c":
		return func(r rune) bool { return name == "c" && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)) }, true
	}
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts} {
		for n, t := range tables {
			if strings.ReplaceAll(strings.ToLower(n), "_", "") == name {
				return func(r rune) bool { return unicode.Is(t, r) }, true
			}
		}
	}
	return nil, false
}

func alphanumeric(r rune) bool { return unicode.In(r, unicode.L, unicode.N) }
