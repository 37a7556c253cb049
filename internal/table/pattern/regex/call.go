package regex

import (
	"errors"
	"strconv"
	"strings"
)

// callsNumber says whether a number follows, with or without a sign.
func (p *perl) callsNumber() bool {
	rest := p.text[p.i:]
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		rest = rest[1:]
	}
	return rest != "" && digits(rest[:1])
}

// call is a call of the group that what names: a number, one relative to here
// (+1 is the next, -1 the last), or a name.
func (p *perl) call(what string) (*node, error) {
	n := &node{kind: kCall}
	if what == "" {
		return nil, errors.New("subpattern name expected")
	}
	number, err := strconv.Atoi(what)
	if err != nil {
		if !isWord(what[0]) || digits(what[:1]) {
			return nil, errors.New("subpattern name expected")
		}
		if n.n = p.names[what]; n.n == 0 {
			p.later = append(p.later, namedRef{n, what})
		}
		return n, nil
	}
	switch what[0] {
	case '+':
		number += p.groups
	case '-':
		number += p.groups + 1
	}
	if what[0] == '+' && number == p.groups || number < 0 || what[0] == '-' && number < 1 {
		return nil, errNoGroup
	}
	if number > 0 {
		p.refs = append(p.refs, number)
	}
	n.n = number
	return n, nil
}

// define parses the rest of (?(DEFINE)…): groups that are only called.
func (p *perl) define() (*node, error) {
	p.defines = true
	n, err := p.inside(func(n *node) *node { return n })
	if err != nil {
		return nil, err
	}
	if n.kind == kAlt {
		return nil, errors.New("DEFINE subpattern contains more than one branch")
	}
	return &node{kind: kConcat}, nil
}

// verb parses after "(*": verbs, and what is written as one but is none.
func (p *perl) verb() (*node, error) {
	n := 0
	for n < len(p.text)-p.i && isWord(p.text[p.i+n]) {
		n++
	}
	name := p.text[p.i : p.i+n]
	rest := p.text[p.i+n:]
	if p.looksLikeVerb(name, rest) {
		return p.control(name, n)
	}
	if strings.HasPrefix(rest, ":") {
		p.i += n + 1
		switch name {
		case "pla", "positive_lookahead":
			return p.lookAround(false, false)
		case "nla", "negative_lookahead":
			return p.lookAround(true, false)
		case "plb", "positive_lookbehind":
			return p.lookAround(false, true)
		case "nlb", "negative_lookbehind":
			return p.lookAround(true, true)
		case "atomic":
			return p.inside(func(n *node) *node { return &node{kind: kAtomic, sub: []*node{n}} })
		}
	}
	return nil, unsupported("(*VERB)")
}
