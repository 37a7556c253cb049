package regex

import (
	"errors"
	"strconv"
	"strings"
)

// Sets that escapes stand for, in the C locale.
func shorthand(c byte) (set, bool) {
	var s set
	switch c | 0x20 {
	case 'd':
		s = ranges("09")
	case 's':
		s = ranges("\t\r  ")
	case 'w':
		s = ranges("09AZaz__")
	case 'h':
		s = ranges("\t\t  \xa0\xa0")
	case 'v':
		s = ranges("\n\r\x85\x85")
	default:
		return s, false
	}
	if c&0x20 == 0 {
		s = s.inverse()
	}
	return s, true
}

// escape parses after a backslash, outside a class.
func (p *perl) escape() (*node, error) {
	if !p.more() {
		return nil, errors.New(`\ at end of pattern`)
	}
	c := p.text[p.i]
	if s, ok := shorthand(c); ok {
		p.i++
		return &node{kind: kSet, set: s}, nil
	}
	if c >= '1' && c <= '9' {
		return p.numbered()
	}
	p.i++
	switch c {
	case 'p', 'P':
		negated := c == 'P' || strings.HasPrefix(p.text[p.i:], "{^")
		s, err := p.property(c == 'P')
		return &node{kind: kSet, set: s, negProp: negated}, err
	case 'b':
		return &node{kind: kWord}, nil
	case 'B':
		return &node{kind: kNotWord}, nil
	case 'A':
		return &node{kind: kBegin}, nil
	case 'z':
		return &node{kind: kEnd}, nil
	case 'Z':
		return p.endLine(), nil
	case 'K':
		if p.looks > 0 {
			return nil, errors.New(`\K is not allowed in lookarounds`)
		}
		return &node{kind: kKeep}, nil
	case 'Q':
		p.quoted = true
		return nil, nil
	case 'E':
		return nil, nil
	case 'N':
		if lo := p.i; p.peek() == '{' {
			if _, _, ok, _ := p.braces(); !ok {
				return nil, errors.New(`\N{name} is not supported`)
			}
			p.i = lo
		}
		return p.notNewline(), nil
	case 'C':
		return anyOctet(), nil
	case 'X':
		return grapheme(), nil
	case 'R':
		return p.anySequence(), nil
	case 'g':
		return p.gRef()
	case 'k':
		return p.kRef()
	}
	p.i--
	octet, err := p.octet()
	if err != nil {
		return nil, err
	}
	return p.literal(octet), nil
}

// numbered parses \1 and so on: a back-reference, or an octet in octal where
// there are not so many groups (PCRE2: numbers below 10 are always references).
func (p *perl) numbered() (*node, error) {
	n := 0
	for n < len(p.text)-p.i && n < 3 && p.text[p.i+n] >= '0' && p.text[p.i+n] <= '9' {
		n++
	}
	number, _ := strconv.Atoi(p.text[p.i : p.i+n])
	if number < 10 || number <= p.groups {
		p.i += n
		p.refs = append(p.refs, number)
		return &node{kind: kBackref, n: number, icase: p.has(IgnoreCase)}, nil
	}
	if p.peek() >= '8' {
		return nil, errNoGroup
	}
	octet, err := p.octal()
	if err != nil {
		return nil, err
	}
	return p.literal(octet), nil
}

// gRef parses \g1, \g{1}, \g{-1} and \g{name}.
func (p *perl) gRef() (*node, error) {
	if end, ok := map[byte]byte{'<': '>', '\'': '\''}[p.peek()]; ok {
		p.i++
		name, err := p.until(end)
		if err != nil {
			return nil, err
		}
		return p.call(name)
	}
	what := ""
	if p.accept("{") {
		var err error
		if what, err = p.until('}'); err != nil {
			return nil, err
		}
	} else {
		n := 0
		for n < len(p.text)-p.i && (p.text[p.i+n] >= '0' && p.text[p.i+n] <= '9' || n == 0 && p.text[p.i] == '-') {
			n++
		}
		what = p.text[p.i : p.i+n]
		p.i += n
	}
	number, err := strconv.Atoi(what)
	if err != nil {
		return p.backrefTo(what)
	}
	if number < 0 {
		number += p.groups + 1
	}
	p.refs = append(p.refs, number)
	return &node{kind: kBackref, n: number, icase: p.has(IgnoreCase)}, nil
}

// kRef parses \k<name>, \k'name' and \k{name}.
func (p *perl) kRef() (*node, error) {
	for _, pair := range []string{"<>", "''", "{}"} {
		if p.accept(pair[:1]) {
			name, err := p.until(pair[1])
			if err != nil {
				return nil, err
			}
			return p.backrefTo(name)
		}
	}
	return nil, errors.New(`\k is not followed by a braced, angle-bracketed, or quoted name`)
}

// octet parses what stands for one octet, after the backslash.
func (p *perl) octet() (byte, error) {
	c := p.text[p.i]
	switch c {
	case 't':
		c = '\t'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 'f':
		c = '\f'
	case 'a':
		c = '\a'
	case 'e':
		c = 0x1b
	case 'x':
		p.i++
		return p.hex()
	case 'c':
		if p.i+1 >= len(p.text) {
			return 0, errors.New(`\c at end of pattern`)
		}
		p.i += 2
		c = p.text[p.i-1]
		if 'a' <= c && c <= 'z' {
			c -= 32
		}
		return c ^ 0x40, nil
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return p.octal()
	default:
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return 0, unsupported(`\` + string(rune(c)))
		}
	}
	p.i++
	return c, nil
}

func (p *perl) octal() (byte, error) {
	n := 0
	for n < 3 && p.i+n < len(p.text) && p.text[p.i+n] >= '0' && p.text[p.i+n] <= '7' {
		n++
	}
	v, err := strconv.ParseUint(p.text[p.i:p.i+n], 8, 8)
	if err != nil {
		return 0, errors.New("octal value is greater than \\377")
	}
	p.i += n
	return byte(v), nil
}

func (p *perl) hex() (byte, error) {
	text := ""
	if p.accept("{") {
		var err error
		if text, err = p.until('}'); err != nil {
			return 0, err
		}
	} else {
		n := 0
		for n < 2 && p.i+n < len(p.text) && strings.IndexByte("0123456789abcdefABCDEF", p.text[p.i+n]) >= 0 {
			n++
		}
		text = p.text[p.i : p.i+n]
		p.i += n
		if text == "" {
			return 0, nil // PCRE2: \x alone is a NUL
		}
	}
	v, err := strconv.ParseUint(text, 16, 8)
	if err != nil {
		return 0, errors.New("character code point value in \\x{} or \\o{} is too large")
	}
	return byte(v), nil
}

var errClassRange = errors.New("invalid range in character class")

// class parses a class after its opening bracket.
func (p *perl) class() (*node, error) {
	n := &node{kind: kSet}
	var fixed set // what the option i does not widen
	var named set // octets that are written
	negate := p.accept("^")
	for first := true; ; first = false {
		for p.accept(`\E`) {
		}
		if !p.more() {
			return nil, errors.New("missing terminating ] for character class")
		}
		if p.peek() == ']' && !first {
			p.i++
			break
		}
		if c := p.propertyNext(); c != 0 {
			p.i += 2
			s, err := p.property(c == 'P')
			if err != nil {
				return nil, err
			}
			if p.peek() == '-' && p.i+1 < len(p.text) && p.text[p.i+1] != ']' {
				return nil, errClassRange
			}
			fixed.union(s)
			continue
		}
		lo, s, single, err := p.member()
		if err != nil {
			return nil, err
		}
		ranged := p.peek() == '-' && p.i+1 < len(p.text) && p.text[p.i+1] != ']'
		if !single && ranged {
			return nil, errClassRange
		}
		if !single {
			n.set.union(s)
			continue
		}
		hi := lo
		if ranged {
			p.i++
			if p.propertyNext() != 0 {
				return nil, errClassRange
			}
			if hi, _, single, err = p.member(); err != nil {
				return nil, err
			}
			if !single {
				return nil, errClassRange
			}
			if hi < lo {
				p.i--
				return nil, errors.New("range out of order in character class")
			}
		}
		n.set.addRange(lo, hi)
		named.add(lo)
		named.add(hi)
	}
	if size := named.size(); size > 1 || size == 1 && !negate {
		p.crOrLF = p.crOrLF || named.has('\r') || named.has('\n')
	}
	if p.has(IgnoreCase) {
		n.set.fold()
	}
	n.set.union(fixed)
	if negate {
		n.set = n.set.inverse()
	}
	return n, nil
}

// propertyNext returns the p or P of a property that is next; 0 if none is.
func (p *perl) propertyNext() byte {
	if rest := p.text[p.i:]; strings.HasPrefix(rest, `\p`) || strings.HasPrefix(rest, `\P`) {
		return rest[1]
	}
	return 0
}

// member parses one member of a class: an octet, or a set.
func (p *perl) member() (octet byte, s set, single bool, err error) {
	if end := p.collating(); end > 0 {
		kind := p.text[p.i+1]
		p.i += 2
		if kind != ':' {
			return 0, s, false, errors.New("POSIX collating elements are not supported")
		}
		end -= 2
		name := p.text[p.i : p.i+end]
		negate := strings.HasPrefix(name, "^")
		s, ok := class(strings.TrimPrefix(name, "^"))
		if !ok {
			return 0, s, false, errors.New("unknown POSIX class name")
		}
		if negate {
			s = s.inverse()
		}
		p.i += end + 2
		return 0, s, false, nil
	}
	c := p.text[p.i]
	p.i++
	if c != '\\' {
		return c, s, true, nil
	}
	if !p.more() {
		return 0, s, false, errors.New(`\ at end of pattern`)
	}
	if s, ok := shorthand(p.text[p.i]); ok {
		p.i++
		return 0, s, false, nil
	}
	switch p.text[p.i] {
	case 'b':
		p.i++
		return '\b', s, true, nil
	case 'Q', 'N', 'R', 'B', 'X':
		return 0, s, false, unsupported(`\` + p.text[p.i:p.i+1] + " in a class")
	}
	octet, err = p.octet()
	return octet, s, true, err
}

// collating says how far away the end of [:name:], [.name.] or [=name=] is, if one
// begins here (PCRE2: a bracket before it makes it literal).
func (p *perl) collating() int {
	rest := p.text[p.i:]
	if len(rest) < 4 || rest[0] != '[' || strings.IndexByte(":.=", rest[1]) < 0 {
		return 0
	}
	for i := 2; i+1 < len(rest); i++ {
		switch {
		case rest[i] == '\\' && (rest[i+1] == ']' || rest[i+1] == '\\'):
			i++
		case rest[i] == ']' || rest[i] == '[' && rest[i+1] == rest[1]:
			return 0
		case rest[i] == rest[1] && rest[i+1] == ']':
			return i
		}
	}
	return 0
}
