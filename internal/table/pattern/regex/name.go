package regex

import (
	"errors"
	"strings"
)

// until takes the text up to the octet end.
func (p *perl) until(end byte) (string, error) {
	n := strings.IndexByte(p.text[p.i:], end)
	if n < 0 {
		return "", errors.New("syntax error in subpattern name (missing terminator?)")
	}
	name := p.text[p.i : p.i+n]
	p.i += n + 1
	return name, nil
}

func (p *perl) named(end byte) (*node, error) {
	name, err := p.until(end)
	if err != nil {
		return nil, err
	}
	if name == "" || digits(name[:1]) || len(name) > 32 {
		return nil, errors.New("subpattern name expected")
	}
	for i := range len(name) {
		if !isWord(name[i]) {
			return nil, errors.New("syntax error in subpattern name")
		}
	}
	return p.capture(name)
}

func (p *perl) backrefTo(name string) (*node, error) {
	n := &node{kind: kBackref, n: p.names[name], icase: p.has(IgnoreCase)}
	if n.n == 0 {
		p.later = append(p.later, namedRef{n, name})
	}
	return n, nil
}

// A namedRef refers to a group that comes later.
type namedRef struct {
	node *node
	name string
}

func (p *perl) checkGroups() error {
	if err := p.resolveCalled(); err != nil {
		return err
	}
	for _, r := range p.later {
		if r.node.n = p.names[r.name]; r.node.n == 0 {
			return errNoGroup
		}
	}
	if p.refused != nil {
		return p.refused
	}
	for _, n := range p.refs {
		if n < 1 || n > p.groups {
			return errNoGroup
		}
	}
	return nil
}
