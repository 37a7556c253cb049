package regex

import "strings"

// A newline is what ends a line: one of the octets, or CR LF.
type newline struct {
	one  set
	crlf bool
}

func newlines() map[string]newline {
	return map[string]newline{
		"LF": {one: setOf("\n")}, "CR": {one: setOf("\r")}, "NUL": {one: setOf("\x00")}, "CRLF": {crlf: true},
		"ANYCRLF": {one: setOf("\r\n"), crlf: true}, "ANY": {one: ranges("\n\r\x85\x85"), crlf: true},
	}
}

// settings parses what may stand before a pattern, "(*NAME)". What is none is
// left to verb.
func (p *perl) settings() error {
	p.newline = newline{one: setOf("\n")}
	for strings.HasPrefix(p.text[p.i:], "(*") {
		end := strings.IndexByte(p.text[p.i:], ')')
		if end < 0 {
			return nil
		}
		switch name := p.text[p.i+2 : p.i+end]; name {
		case "NO_AUTO_POSSESS", "NO_DOTSTAR_ANCHOR", "NO_JIT", "BSR_UNICODE": // no other matches
		case "NO_START_OPT":
			p.noStart = true
		case "NOTEMPTY":
			p.notEmpty = true
		case "NOTEMPTY_ATSTART":
			p.notEmptyAtStart = true
		case "BSR_ANYCRLF":
			p.narrowR = true
		case "UTF", "UCP":
			return unsupported("(*" + name + ")")
		default:
			if strings.HasPrefix(name, "LIMIT_") {
				return unsupported("(*" + name + ")")
			}
			nl, ok := newlines()[name]
			if !ok {
				return nil
			}
			p.newline, p.newlineSet = nl, name != "LF"
		}
		p.i += end + 1
	}
	return nil
}

// notNewline is one octet where no newline begins.
func (p *perl) notNewline() *node {
	if p.newline.one == (set{}) {
		return concat([]*node{{kind: kLook, negate: true, sub: []*node{crlf()}}, anyOctet()})
	}
	return &node{kind: kSet, set: p.newline.one.inverse()}
}

// endLine is the end of the text, or before a newline that ends it.
func (p *perl) endLine() *node {
	if !p.newlineSet {
		return &node{kind: kEndLine}
	}
	end := &node{kind: kEnd}
	list := []*node{end}
	for _, n := range p.newline.nodes() {
		list = append(list, concat([]*node{n, end}))
	}
	return &node{kind: kLook, anchor: true, sub: []*node{alternate(list)}}
}

// endML is the end of a line.
func (p *perl) endML() *node {
	if !p.newlineSet {
		return &node{kind: kEndML}
	}
	return &node{kind: kLook, anchor: true, sub: []*node{alternate(append(p.newline.nodes(), &node{kind: kEnd}))}}
}

// beginLine is the start of a line, but not after a newline that ends the text.
func (p *perl) beginLine() *node {
	if !p.newlineSet {
		return &node{kind: kBeginLine}
	}
	after := &node{kind: kLook, behind: true, sub: []*node{alternate(p.newline.nodes())}}
	more := &node{kind: kLook, sub: []*node{anyOctet()}}
	begin := alternate([]*node{{kind: kBegin}, concat([]*node{after, more})})
	return &node{kind: kLook, anchor: true, sub: []*node{begin}}
}

func (nl newline) nodes() (list []*node) {
	if nl.crlf {
		list = append(list, crlf())
	}
	if nl.one != (set{}) {
		list = append(list, &node{kind: kSet, set: nl.one})
	}
	return list
}

// after is the position in text behind the first newline from position i on.
func (nl newline) after(text string, i int) int {
	for ; i < len(text); i++ {
		if nl.one.has(text[i]) {
			return i + 1
		}
		if nl.crlf && strings.HasPrefix(text[i:], "\r\n") {
			return i + 2
		}
	}
	return len(text)
}

func crlf() *node {
	return concat([]*node{{kind: kSet, set: setOf("\r")}, {kind: kSet, set: setOf("\n")}})
}

// anyOctet is \C.
func anyOctet() *node { return &node{kind: kSet, set: set{}.inverse()} }

// anySequence is \R: CR LF, or an octet that ends a line.
func (p *perl) anySequence() *node {
	one := ranges("\n\r\x85\x85")
	if p.narrowR {
		one = setOf("\r\n")
	}
	return &node{kind: kAtomic, sub: []*node{alternate([]*node{crlf(), {kind: kSet, set: one}})}}
}

// grapheme is \X, what looks like one character. In octets only CR LF is two.
func grapheme() *node {
	return &node{kind: kAtomic, sub: []*node{alternate([]*node{crlf(), anyOctet()})}}
}

// setLines says how a match is looked for where CR LF may end a line: not
// between the two.
func (p *perl) setLines(prog *program, tree *node) error {
	prog.crlf = p.newline.crlf && !p.crOrLF
	if !p.newline.crlf || p.newline.one == (set{}) {
		return nil
	}
	if tree.holds(func(n *node) bool {
		return n.kind == kRepeat && n.sub[0].kind == kSet && n.sub[0].set == p.newline.one.inverse()
	}) {
		return unsupported("a repeated . where several newlines are known")
	}
	if tree.leading(func(n *node) bool { return n.kind == kLook && n.anchor }) {
		prog.crlf, prog.first = true, nil
	}
	return nil
}

// demand adds to a pattern that it must not match nothing.
func (p *perl) demand(tree *node) *node {
	if !p.notEmpty && !p.notEmptyAtStart {
		return tree
	}
	return concat([]*node{grouped(tree), {kind: kNotEmpty, negate: !p.notEmpty}})
}
