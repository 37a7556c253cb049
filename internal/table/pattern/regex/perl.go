package regex

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrUnsupported is in the errors of patterns that PCRE2 accepts and this
// package does not: they are refused, not read differently.
var ErrUnsupported = errors.New("not supported")

const (
	maxGroups  = 99     // Postfix: as many as a result can name
	maxRepeat  = 65535  // PCRE2
	maxNesting = 250    // PCRE2
	maxPattern = 65_536 // octets
)

// Perl compiles a pattern of PCRE2, in octets.
func Perl(pattern string, f Flags) (*Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, errTooLarge
	}
	p := &perl{text: pattern, flags: f, names: map[string]int{}, defs: map[int]*node{}}
	if err := p.settings(); err != nil {
		return nil, fmt.Errorf("error in regex at offset %d: %w", p.i, err)
	}
	tree, err := p.alternatives()
	if err == nil && p.i < len(p.text) {
		err = errors.New("unmatched closing parenthesis")
	}
	if err == nil {
		err = p.checkGroups()
	}
	if err == nil {
		err = p.checkBehinds()
	}
	if err != nil {
		return nil, fmt.Errorf("error in regex at offset %d: %w", p.i, err)
	}
	p.defs[0] = tree
	if err := p.checkVerbs(tree); err != nil {
		return nil, err
	}
	tree = p.demand(tree)
	prog, err := compile(tree, p.groups, p.defs)
	if err != nil {
		return nil, err
	}
	if f&Anchored != 0 {
		prog.start = true
	}
	if prog.start {
		prog.first = nil // there is nothing to look for
	}
	if err := errors.Join(p.setLines(prog, tree), p.setStart(prog, tree)); err != nil {
		return nil, err
	}
	if f&Anchored != 0 {
		tree = concat([]*node{{kind: kBegin}, tree})
	}
	re := &Regexp{groups: p.groups, prog: prog, linear: p.linear(tree)}
	if !tree.holds(isAccept) { // then a match may lack what comes after it
		re.literals = tree.required()
	}
	return re, nil
}

// perl is the parser. Flags change inside groups.
type perl struct {
	text    string
	i       int
	flags   Flags
	groups  int
	depth   int
	looks   int // look-arounds that are open
	names   map[string]int
	defs    map[int]*node // the groups
	later   []namedRef
	refused error // what is not supported, found where it cannot be returned
	refs    []int // groups that are referred to
	reset   bool  // the alternatives that come next number their groups alike: (?|
	defines bool  // has (?(DEFINE)…)
	quoted  bool  // between \Q and \E
	open    []int // groups that are open, in the present assertion
	bars    int   // alternatives that (*THEN) can go on with
	marks   map[string]int
	noStart bool // (*NO_START_OPT)
	behinds []*node

	newline                   newline
	newlineSet                bool // newline is not LF
	narrowR                   bool // (*BSR_ANYCRLF)
	notEmpty, notEmptyAtStart bool
	crOrLF                    bool // CR or LF is in the pattern

	calledGroups []calledGroup
}

// linear returns the pattern for Go's engine, which does not know of groups that
// are defined only.
func (p *perl) linear(tree *node) *linear {
	if p.defines || p.newline.crlf {
		return nil
	}
	return newLinear(tree)
}

func (p *perl) has(f Flags) bool { return p.flags&f != 0 }
func (p *perl) more() bool       { return p.i < len(p.text) }
func (p *perl) peek() byte {
	if !p.more() {
		return 0
	}
	return p.text[p.i]
}

func (p *perl) accept(s string) bool {
	if strings.HasPrefix(p.text[p.i:], s) {
		p.i += len(s)
		return true
	}
	return false
}

func unsupported(what string) error { return fmt.Errorf("%s: %w", what, ErrUnsupported) }

// alternatives parses up to the end or a closing parenthesis.
func (p *perl) alternatives() (*node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errors.New("parentheses are too deeply nested")
	}
	defer func() { p.depth-- }()
	reset, first, last := p.reset, p.groups, p.groups
	p.reset = false
	var list []*node
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		last = max(last, p.groups)
		if !p.accept("|") {
			p.groups = last
			return alternate(list), nil
		}
		if reset {
			p.groups = first
		}
	}
}

func (p *perl) sequence() (*node, error) {
	var list []*node
	repeatable := false // the last of list may be repeated
	for {
		if p.has(Extended) && !p.quoted {
			p.skipSpace()
		}
		if !p.more() || !p.quoted && (p.peek() == '|' || p.peek() == ')') {
			return concat(list), nil
		}
		lo, hi, ok, err := p.quantifier()
		if err != nil {
			return nil, err
		}
		if ok && !repeatable {
			return nil, p.notRepeatable()
		}
		if ok {
			last := &list[len(list)-1]
			*last = p.repeat(*last, lo, hi)
			repeatable = false
			continue
		}
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue // a comment, \Q or \E
		}
		if n.negProp && len(list) > 0 {
			if last := list[len(list)-1]; last.kind == kRepeat && last.sub[0].negProp {
				p.refused = unsupported("a negated property after a repeated one") // PCRE2 10.42 takes them for disjoint
			}
		}
		list = append(list, n)
		repeatable = n.canRepeat()
	}
}

// notRepeatable is the error at a quantifier that was just read; the offset is
// where PCRE2 sees it.
func (p *perl) notRepeatable() error {
	p.i--
	return errors.New("quantifier does not follow a repeatable item")
}

// canRepeat says whether a quantifier may follow.
func (n *node) canRepeat() bool {
	switch n.kind {
	case kEmpty, kBegin, kEnd, kEndLine, kBeginML, kBeginLine, kEndML, kWord, kNotWord, kKeep, kFail, kVerb:
		return false
	}
	return !n.anchor
}

// repeat applies a quantifier that was just read, and what follows it.
func (p *perl) repeat(n *node, lo, hi int) *node {
	if n.kind == kLook {
		if p.looks > 0 && lo != hi {
			p.refused = unsupported("a repeated assertion in an assertion")
		}
		lo, hi = min(lo, 1), 1 // more than once is the same as once
	}
	r := &node{kind: kRepeat, sub: []*node{n}, min: lo, max: hi, lazy: p.has(Ungreedy)}
	p.skipNothing()
	switch {
	case p.accept("?"):
		r.lazy = !r.lazy
	case p.accept("+"):
		r.possess = true
	}
	return r
}

// skipSpace passes over white space and comments of an extended pattern.
func (p *perl) skipSpace() {
	for p.more() {
		switch c := p.peek(); {
		case c == ' ' || c >= '\t' && c <= '\r' || c == 0x85: // PCRE2: also NEL
			p.i++
		case c == '#':
			p.i = p.newline.after(p.text, p.i)
		default:
			return
		}
	}
}

// skipNothing passes over what means nothing between a quantifier and the mark
// that makes it lazy or possessive.
func (p *perl) skipNothing() {
	for {
		if p.has(Extended) {
			p.skipSpace()
		}
		if p.accept(`\E`) {
			continue
		}
		end := strings.IndexByte(p.text[p.i:], ')')
		if end < 0 || !strings.HasPrefix(p.text[p.i:], "(?#") {
			return
		}
		p.i += end + 1
	}
}

// quantifier reads a quantifier if one is next.
func (p *perl) quantifier() (lo, hi int, ok bool, err error) {
	switch {
	case p.quoted:
		return 0, 0, false, nil
	case p.peek() == '*':
		p.i++
		return 0, unlimited, true, nil
	case p.peek() == '+':
		p.i++
		return 1, unlimited, true, nil
	case p.peek() == '?':
		p.i++
		return 0, 1, true, nil
	case p.peek() == '{':
		return p.braces()
	}
	return 0, 0, false, nil
}

// braces parses {n}, {n,} and {n,m}; other text is literal (PCRE2 10.42 and
// before: also {,m}).
func (p *perl) braces() (lo, hi int, ok bool, err error) {
	end := strings.IndexByte(p.text[p.i:], '}')
	if end < 0 {
		return 0, 0, false, nil
	}
	first, second, comma := strings.Cut(p.text[p.i+1:p.i+end], ",")
	if !digits(first) || comma && second != "" && !digits(second) {
		return 0, 0, false, nil
	}
	lo, err1 := strconv.Atoi(first)
	hi = lo
	var err2 error
	if comma {
		if hi = unlimited; second != "" {
			hi, err2 = strconv.Atoi(second)
		}
	}
	if err1 != nil || err2 != nil || lo > maxRepeat || hi > maxRepeat {
		return 0, 0, false, errors.New("number too big in {} quantifier")
	}
	if hi != unlimited && hi < lo {
		p.i += end
		return 0, 0, false, errors.New("numbers out of order in {} quantifier")
	}
	p.i += end + 1
	return lo, hi, true, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// literal is one octet, or its two cases.
func (p *perl) literal(c byte) *node {
	n := &node{kind: kSet}
	n.set.add(c)
	p.crOrLF = p.crOrLF || c == '\r' || c == '\n'
	if p.has(IgnoreCase) {
		n.set.fold()
	}
	return n
}

func (p *perl) atom() (*node, error) {
	if p.quoted {
		if p.accept(`\E`) {
			p.quoted = false
			return nil, nil
		}
		p.i++
		return p.literal(p.text[p.i-1]), nil
	}
	c := p.text[p.i]
	p.i++
	switch c {
	case '(':
		return p.group()
	case '[':
		return p.class()
	case '.':
		if p.has(DotAll) {
			return anyOctet(), nil
		}
		return p.notNewline(), nil
	case '^':
		if p.has(Multiline) {
			return p.beginLine(), nil
		}
		return &node{kind: kBegin}, nil
	case '$':
		switch {
		case p.has(Multiline):
			return p.endML(), nil
		case p.has(DollarEnd):
			return &node{kind: kEnd}, nil
		}
		return p.endLine(), nil
	case '\\':
		return p.escape()
	}
	return p.literal(c), nil
}

// group parses after an opening parenthesis.
func (p *perl) group() (*node, error) {
	if p.accept("*") {
		return p.verb()
	}
	if !p.accept("?") {
		return p.capture("")
	}
	switch {
	case p.accept("#"):
		end := strings.IndexByte(p.text[p.i:], ')')
		if end < 0 {
			return nil, errors.New("missing ) after (?# comment")
		}
		p.i += end + 1
		return nil, nil
	case p.accept(":"):
		return p.inside(grouped)
	case p.accept(">"):
		return p.inside(func(n *node) *node { return &node{kind: kAtomic, sub: []*node{n}} })
	case p.accept("="):
		return p.lookAround(false, false)
	case p.accept("!"):
		return p.lookAround(true, false)
	case p.accept("<="):
		return p.lookAround(false, true)
	case p.accept("<!"):
		return p.lookAround(true, true)
	case p.accept("<*"):
		return nil, unsupported("(?<*: an assertion that is gone back into")
	case p.accept("P<"), p.accept("<"):
		return p.named('>')
	case p.accept("'"):
		return p.named('\'')
	case p.accept("P="):
		name, err := p.until(')')
		if err != nil {
			return nil, err
		}
		return p.backrefTo(name)
	case p.accept("("):
		return p.conditional()
	case p.accept("|"):
		return p.branchReset()
	case p.accept("R)"):
		return p.call("0")
	case p.accept("&"), p.accept("P>"), p.callsNumber():
		what, err := p.until(')')
		if err != nil {
			return nil, err
		}
		return p.call(what)
	case p.accept("C"):
		return nil, unsupported("callout")
	case p.accept("*"):
		return nil, unsupported("(?*: an assertion that is gone back into")
	}
	return p.options()
}

// inside parses the rest of a group and gives its flags back.
func (p *perl) inside(wrap func(*node) *node) (*node, error) {
	flags := p.flags
	n, err := p.alternatives()
	p.flags = flags
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, errors.New("missing closing parenthesis")
	}
	if !n.canRepeat() {
		n = &node{kind: kConcat, sub: []*node{n}} // in a group it can be repeated
	}
	return wrap(n), nil
}

// grouped keeps the alternatives of a group apart from those around it.
func grouped(n *node) *node {
	if n.kind == kAlt {
		return &node{kind: kConcat, sub: []*node{n}}
	}
	return n
}

// branchReset parses the rest of (?|a|b): groups have the same numbers in each
// alternative.
func (p *perl) branchReset() (*node, error) {
	p.reset = true
	return p.inside(grouped)
}

func (p *perl) capture(name string) (*node, error) {
	if p.groups >= maxGroups {
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	}
	p.groups++
	number := p.groups
	if name != "" {
		if _, twice := p.names[name]; twice {
			return nil, errors.New("two named subpatterns have the same name")
		}
		p.names[name] = number
	}
	open := p.open
	p.open = append(slices.Clip(open), number)
	defer func() { p.open = open }()
	return p.inside(func(n *node) *node {
		g := &node{kind: kGroup, n: number, sub: []*node{n}}
		if p.defs[number] == nil {
			p.defs[number] = g
		}
		return g
	})
}

func (p *perl) lookAround(negate, behind bool) (*node, error) {
	p.looks++
	open := p.open
	p.open = nil
	defer func() { p.looks--; p.open = open }()
	return p.inside(func(n *node) *node {
		look := &node{kind: kLook, negate: negate, behind: behind, sub: []*node{n}}
		if behind {
			p.behinds = append(p.behinds, look)
		}
		return look
	})
}

// options parses (?flags) and (?flags:…).
func (p *perl) options() (*node, error) {
	flags, on := p.flags, true
	for p.more() {
		c := p.text[p.i]
		p.i++
		var f Flags
		switch c {
		case 'i':
			f = IgnoreCase
		case 'm':
			f = Multiline
		case 's':
			f = DotAll
		case 'x':
			f = Extended
		case 'U':
			f = Ungreedy
		case '-':
			on = false
			continue
		case ')':
			p.flags = flags
			return &node{kind: kEmpty}, nil
		case ':':
			old := p.flags
			p.flags = flags
			n, err := p.inside(grouped)
			p.flags = old
			return n, err
		case 'J', 'n', '^':
			return nil, unsupported("option " + string(c))
		default:
			return nil, errors.New("unrecognized character after (? or (?-")
		}
		if on {
			flags |= f
		} else {
			flags &^= f
		}
	}
	return nil, errors.New("missing closing parenthesis")
}
