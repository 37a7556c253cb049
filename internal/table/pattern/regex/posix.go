package regex

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The messages are those of regerror(3).
var (
	errPreceding = errors.New("Invalid preceding regular expression")
	errParen     = errors.New("Unmatched ( or \\(")
	errCloser    = errors.New("Unmatched ) or \\)")
	errBracket   = errors.New("Unmatched [, [^, [:, [., or [=")
	errBrace     = errors.New("Unmatched \\{")
	errContent   = errors.New("Invalid content of \\{\\}")
	errBackref   = errors.New("Invalid back reference")
	errTrailing  = errors.New("Trailing backslash")
	errRange     = errors.New("Invalid range end")
	errClass     = errors.New("Invalid character class name")
)

// maxInterval is RE_DUP_MAX of the C library.
const maxInterval = 32767

// POSIX compiles a regular expression, extended or basic, as the C library
// reads it, in octets and the C locale.
func POSIX(pattern string, f Flags) (*Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, errTooLarge
	}
	p := &posix{text: pattern, flags: f, basic: f&Extended == 0}
	tree, err := p.alternatives(0)
	if err == nil && p.i < len(p.text) {
		err = errCloser
	}
	if err != nil {
		return nil, err
	}
	r := &Regexp{groups: p.groups, literals: tree.required()}
	if p.special {
		r.prog, err = compile(tree, p.groups, nil)
		if r.prog != nil {
			r.prog.longest = true
		}
		return r, err
	}
	var b strings.Builder
	writeGo(&b, tree)
	if r.posix, err = regexp.Compile(b.String()); err != nil {
		return nil, fmt.Errorf("%w: %w", errTooLarge, err)
	}
	r.posix.Longest()
	return r, nil
}

type posix struct {
	text    string
	i       int
	flags   Flags
	basic   bool // the syntax of ed: \( \) \{ \}
	groups  int
	closed  [maxGroups + 1]bool
	special bool // has what Go's package regexp cannot do
}

func (p *posix) more() bool { return p.i < len(p.text) }

// A token is what comes next: an operator, named by its octet in the extended
// syntax, 'c' for an octet that stands for itself, '\\' for another escape.
type token struct {
	kind  byte
	width int
}

// next returns the next token; first says that an expression begins here.
func (p *posix) next(first bool) token {
	rest := p.text[p.i:]
	switch {
	case rest == "":
		return token{}
	case !p.basic && rest[0] == '\\':
		return token{'\\', 1}
	case !p.basic && strings.IndexByte("()|*+?{^$.[", rest[0]) >= 0:
		return token{rest[0], 1}
	case !p.basic:
		return token{'c', 1}
	}
	switch c := rest[0]; c {
	case '.', '[':
		return token{c, 1}
	case '*':
		if !first {
			return token{c, 1}
		}
	case '^':
		if first {
			return token{c, 1}
		}
	case '$':
		if rest == "$" || strings.HasPrefix(rest, `$\)`) || strings.HasPrefix(rest, `$\|`) {
			return token{c, 1}
		}
	case '\\':
		if len(rest) > 1 && strings.IndexByte("(){|", rest[1]) >= 0 || len(rest) > 1 && !first && strings.IndexByte("+?", rest[1]) >= 0 {
			return token{rest[1], 2}
		}
		return token{c, 1}
	}
	return token{'c', 1}
}

func (p *posix) alternatives(depth int) (*node, error) {
	if depth > maxNesting {
		return nil, errTooLarge
	}
	var list []*node
	before, after := p.closed, p.closed
	for {
		p.closed = before // an alternative does not know the groups of another
		n, err := p.sequence(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		for i := range after {
			after[i] = after[i] || p.closed[i]
		}
		p.closed = after
		t := p.next(false)
		if t.kind != '|' {
			return alternate(list), nil
		}
		p.i += t.width
	}
}

func (p *posix) sequence(depth int) (*node, error) {
	var list []*node
	for first := true; p.more(); {
		t := p.next(first)
		if p.basic && t.kind == '^' && len(list) > 0 {
			t.kind = 'c' // an anchor only where the expression begins
		}
		if t.kind == '|' || t.kind == ')' && depth > 0 {
			break
		}
		if t.kind == ')' && p.basic {
			return nil, errCloser
		}
		n, err := p.atom(t, depth)
		if err != nil {
			return nil, err
		}
		// An assertion cannot be repeated; in the basic syntax a star after it
		// stands for itself.
		first = isAssertion(n.kind)
		if !first {
			if n, err = p.quantified(n); err != nil {
				return nil, err
			}
		}
		list = append(list, n)
	}
	return concat(list), nil
}

func isAssertion(k kind) bool {
	switch k {
	case kBegin, kEnd, kBeginML, kEndML, kWord, kNotWord, kWordBegin, kWordEnd:
		return true
	}
	return false
}

func (p *posix) quantified(n *node) (*node, error) {
	for again := false; ; again = true {
		t := p.next(false)
		if again && p.basic && (t.kind == '*' || t.kind == '{') {
			return nil, errPreceding
		}
		lo, hi := 0, unlimited
		switch t.kind {
		case '*':
		case '+':
			lo = 1
		case '?':
			hi = 1
		case '{':
			var err error
			if lo, hi, err = p.interval(t.width); err != nil {
				return nil, err
			}
			t.width = 0
		default:
			return n, nil
		}
		p.i += t.width
		n = &node{kind: kRepeat, sub: []*node{n}, min: lo, max: hi}
	}
}

// interval parses {n}, {n,}, {,m} and {n,m}.
func (p *posix) interval(opener int) (lo, hi int, err error) {
	closer := "}"
	if p.basic {
		closer = `\}`
	}
	p.i += opener
	end := strings.Index(p.text[p.i:], closer)
	if end < 0 {
		return 0, 0, errBrace
	}
	first, second, comma := strings.Cut(p.text[p.i:p.i+end], ",")
	p.i += end + len(closer)
	if first != "" || !comma {
		if lo, err = strconv.Atoi(first); err != nil || !digits(first) {
			return 0, 0, errContent
		}
	}
	switch {
	case !comma:
		hi = lo
	case second == "":
		hi = unlimited
	default:
		if hi, err = strconv.Atoi(second); err != nil || !digits(second) {
			return 0, 0, errContent
		}
	}
	if hi != unlimited && hi < lo {
		return 0, 0, errContent
	}
	if lo > maxInterval || hi > maxInterval {
		return 0, 0, errTooLarge
	}
	return lo, hi, nil
}

func (p *posix) literal(c byte) *node {
	n := &node{kind: kSet}
	n.set.add(c)
	if p.flags&IgnoreCase != 0 {
		n.set.fold()
	}
	return n
}

func (p *posix) atom(t token, depth int) (*node, error) {
	c := p.text[p.i]
	p.i += t.width
	newline := p.flags&Multiline != 0 // REG_NEWLINE
	switch t.kind {
	case '(':
		return p.group(depth)
	case '[':
		return p.bracket()
	case '.':
		n := &node{kind: kSet}
		if newline {
			n.set.add('\n')
		}
		n.set = n.set.inverse()
		return n, nil
	case '^':
		if newline {
			return &node{kind: kBeginML}, nil
		}
		return &node{kind: kBegin}, nil
	case '$':
		if newline {
			return &node{kind: kEndML}, nil
		}
		return &node{kind: kEnd}, nil
	case '*', '+', '?', '{':
		return nil, errPreceding
	case '\\':
		return p.escape()
	}
	return p.literal(c), nil
}

func (p *posix) group(depth int) (*node, error) {
	if p.groups >= maxGroups {
		return nil, errTooLarge
	}
	p.groups++
	number := p.groups
	n, err := p.alternatives(depth + 1)
	if err != nil {
		return nil, err
	}
	t := p.next(false)
	if t.kind != ')' {
		return nil, errParen
	}
	p.i += t.width
	p.closed[number] = true
	return &node{kind: kGroup, n: number, sub: []*node{n}}, nil
}

// escape parses after a backslash; the letters are the C library's.
func (p *posix) escape() (*node, error) {
	if !p.more() {
		return nil, errTrailing
	}
	c := p.text[p.i]
	p.i++
	switch c {
	case 'w', 'W', 's', 'S':
		s, _ := shorthand(c)
		return &node{kind: kSet, set: s}, nil
	case 'b':
		return &node{kind: kWord}, nil
	case 'B':
		return &node{kind: kNotWord}, nil
	case '<', '>':
		p.special = true
		if c == '<' {
			return &node{kind: kWordBegin}, nil
		}
		return &node{kind: kWordEnd}, nil
	case '`':
		return &node{kind: kBegin}, nil
	case '\'':
		return &node{kind: kEnd}, nil
	}
	if c >= '1' && c <= '9' {
		number := int(c - '0')
		if !p.closed[number] {
			return nil, errBackref
		}
		p.special = true
		return &node{kind: kBackref, n: number, icase: p.flags&IgnoreCase != 0}, nil
	}
	return p.literal(c), nil
}

// bracket parses a bracket expression; a backslash is literal in it.
func (p *posix) bracket() (*node, error) {
	n := &node{kind: kSet}
	negate := p.more() && p.text[p.i] == '^'
	if negate {
		p.i++
	}
	for first := true; ; first = false {
		if !p.more() {
			return nil, errBracket
		}
		if p.text[p.i] == ']' && !first {
			p.i++
			break
		}
		if !first && p.text[p.i] == '-' && p.i+1 < len(p.text) && p.text[p.i+1] != ']' {
			return nil, errRange // the C library: a hyphen is itself only at the ends
		}
		lo, s, single, err := p.element()
		if err != nil {
			return nil, err
		}
		if !single {
			n.set.union(s)
			continue
		}
		hi := lo
		if p.i+1 < len(p.text) && p.text[p.i] == '-' && p.text[p.i+1] != ']' {
			p.i++
			if hi, _, single, err = p.element(); err != nil {
				return nil, err
			}
			if p.flags&IgnoreCase != 0 {
				lo, hi = upper(lo), upper(hi) // the C library folds before it compares
			}
			if !single || hi < lo {
				return nil, errRange
			}
		}
		n.set.addRange(lo, hi)
	}
	if p.flags&IgnoreCase != 0 {
		n.set.fold()
	}
	if negate {
		if p.flags&Multiline != 0 {
			n.set.add('\n')
		}
		n.set = n.set.inverse()
	}
	return n, nil
}

func (p *posix) element() (octet byte, s set, single bool, err error) {
	rest := p.text[p.i:]
	for _, kind := range []string{":", ".", "="} {
		if !strings.HasPrefix(rest, "["+kind) {
			continue
		}
		end := strings.Index(rest[2:], kind+"]")
		if end < 0 {
			return 0, s, false, errBracket
		}
		name := rest[2 : 2+end]
		p.i += end + 4
		if kind == ":" {
			s, ok := class(name)
			if !ok || name == "word" || name == "ascii" {
				return 0, s, false, errClass
			}
			return 0, s, false, nil
		}
		if len(name) != 1 {
			return 0, s, false, errors.New("Invalid collation character")
		}
		return name[0], s, true, nil
	}
	p.i++
	return rest[0], s, true, nil
}

// writeGo writes the tree in Go's syntax, an octet as the code point of the
// same number.
func writeGo(b *strings.Builder, n *node) {
	switch n.kind {
	case kEmpty:
		b.WriteString("(?:)")
	case kSet:
		writeSet(b, n.set)
	case kConcat:
		for _, s := range n.sub {
			writeGo(b, s)
		}
	case kAlt:
		b.WriteString("(?:")
		for i, s := range n.sub {
			if i > 0 {
				b.WriteByte('|')
			}
			writeGo(b, s)
		}
		b.WriteByte(')')
	case kRepeat:
		b.WriteString("(?:")
		writeGo(b, n.sub[0])
		b.WriteByte(')')
		writeRepeat(b, n)
		if n.lazy {
			b.WriteByte('?')
		}
	case kGroup:
		b.WriteByte('(')
		writeGo(b, n.sub[0])
		b.WriteByte(')')
	case kBegin:
		b.WriteString(`\A`)
	case kEnd, kEndLine:
		b.WriteString(`\z`)
	case kBeginML:
		b.WriteString(`(?m:^)`)
	case kEndML:
		b.WriteString(`(?m:$)`)
	case kWord:
		b.WriteString(`\b`)
	case kNotWord:
		b.WriteString(`\B`)
	}
}

func writeRepeat(b *strings.Builder, n *node) {
	switch {
	case n.min == 0 && n.max == unlimited:
		b.WriteByte('*')
	case n.min == 1 && n.max == unlimited:
		b.WriteByte('+')
	case n.min == 0 && n.max == 1:
		b.WriteByte('?')
	case n.max == unlimited:
		fmt.Fprintf(b, "{%d,}", n.min)
	default:
		fmt.Fprintf(b, "{%d,%d}", n.min, n.max)
	}
}

func writeSet(b *strings.Builder, s set) {
	b.WriteByte('[')
	empty := true
	for lo := 0; lo < 256; lo++ {
		if !s.has(byte(lo)) {
			continue
		}
		hi := lo
		for hi < 255 && s.has(byte(hi+1)) {
			hi++
		}
		fmt.Fprintf(b, `\x{%x}-\x{%x}`, lo, hi)
		lo, empty = hi, false
	}
	if empty {
		b.WriteString(`^\x{0}-\x{10ffff}`)
	}
	b.WriteByte(']')
}

// findOctets matches text, octet by octet.
func findOctets(re *regexp.Regexp, text string) []int {
	ascii := true
	for i := range len(text) {
		if text[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
		return re.FindStringSubmatchIndex(text)
	}
	// Each octet becomes the code point of its number: one or two octets of
	// UTF-8. at tells the way back.
	wide := make([]byte, 0, 2*len(text))
	at := make([]int, 0, 2*len(text)+1)
	for i := range len(text) {
		before := len(wide)
		wide = append(wide, string(rune(text[i]))...)
		for range len(wide) - before {
			at = append(at, i)
		}
	}
	at = append(at, len(text))
	m := re.FindSubmatchIndex(wide)
	for i := range m {
		if m[i] >= 0 {
			m[i] = at[m[i]]
		}
	}
	return m
}
