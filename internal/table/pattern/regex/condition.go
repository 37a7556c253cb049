package regex

import (
	"errors"
	"strconv"
	"strings"
)

// conditional parses after "(?(": a condition, what holds if it is true and,
// after a bar, what holds if it is not.
func (p *perl) conditional() (*node, error) {
	c := &node{kind: kCond}
	if strings.HasPrefix(p.text[p.i:], "?") || strings.HasPrefix(p.text[p.i:], "*") {
		look, err := p.group()
		if err != nil {
			return nil, err
		}
		if look == nil || look.kind != kLook {
			return nil, errors.New("assertion expected after (?( or (?(?C)")
		}
		c.cond = look
	} else {
		what, err := p.until(')')
		if err != nil {
			return nil, err
		}
		if what == "DEFINE" {
			return p.define()
		}
		if err := p.condition(c, what); err != nil {
			return nil, err
		}
	}
	n, err := p.inside(func(n *node) *node { return n })
	if err != nil {
		return nil, err
	}
	yes, no := n, &node{kind: kEmpty}
	if n.kind == kAlt {
		if len(n.sub) > 2 {
			return nil, errors.New("conditional subpattern contains more than two branches")
		}
		yes, no = n.sub[0], n.sub[1]
	}
	c.sub, c.oneArm = []*node{yes, no}, n.kind != kAlt
	return c, nil
}

// condition reads a condition that is not a look-around: a group by number,
// relative number or name, or that a group is being called (R, R1, R&name).
func (p *perl) condition(c *node, what string) error {
	if name, ok := strings.CutPrefix(what, "R&"); ok {
		c.cond = &node{kind: kInCall}
		return p.conditionOn(c.cond, name)
	}
	if number, ok := strings.CutPrefix(what, "R"); ok && (number == "" || digits(number)) {
		p.calledGroups = append(p.calledGroups, calledGroup{c, what})
		return nil
	}
	number, err := strconv.Atoi(what)
	if err != nil {
		if len(what) > 2 && (what[0] == '<' && what[len(what)-1] == '>' || what[0] == '\'' && what[len(what)-1] == '\'') {
			what = what[1 : len(what)-1]
		}
		return p.conditionOn(c, what)
	}
	switch what[0] {
	case '-':
		number += p.groups + 1
	case '+':
		number += p.groups
	}
	if number < 1 || what == "+0" {
		return errNoGroup
	}
	c.n = number
	p.refs = append(p.refs, number)
	return nil
}

var errNoGroup = errors.New("reference to non-existent subpattern")

// conditionOn has n mean the group called name, which may come later.
func (p *perl) conditionOn(n *node, name string) error {
	if name == "" || !isWord(name[0]) || digits(name[:1]) {
		return unsupported("condition (" + name + ")")
	}
	for i := range len(name) {
		if !isWord(name[i]) {
			return unsupported("condition (" + name + ")")
		}
	}
	if n.n = p.names[name]; n.n == 0 {
		p.later = append(p.later, namedRef{n, name})
	}
	return nil
}

// A calledGroup is the condition R, or R and a number, which may also be the name
// of a group.
type calledGroup struct {
	cond *node
	name string
}

// resolveCalled settles what such conditions mean, when all groups are known.
func (p *perl) resolveCalled() error {
	for _, c := range p.calledGroups {
		if n := p.names[c.name]; n != 0 {
			c.cond.n = n
			continue
		}
		number := -1
		if c.name != "R" {
			var err error
			if number, err = strconv.Atoi(c.name[1:]); err != nil || number > p.groups {
				return errNoGroup
			}
		}
		c.cond.cond = &node{kind: kInCall, n: number}
	}
	return nil
}

// condition executes the test of a condition that is not a group's.
func (m *matcher) condition(i *inst, pc, pos int) (next int, ok bool, err error) {
	holds := false
	if i.op == opCondCall {
		holds = m.frame >= 0 && (i.x < 0 || m.frames[m.frame].group == i.x)
	} else if holds, err = m.condLook(i, pos); err != nil {
		return pc, false, err
	}
	if m.verdict.verb != noVerb {
		return pc, false, nil
	}
	if !holds {
		return i.y, true, nil
	}
	return pc + 1, true, nil
}

// condLook says whether a look-around holds. PCRE2: a verb in it makes it one
// that found nothing, and has no further effect; (*SKIP:name) goes on to where the name is.
func (m *matcher) condLook(i *inst, pos int) (bool, error) {
	from := pos
	if i.x >= 0 {
		from -= i.x
	}
	if from < 0 {
		return i.negate, nil
	}
	base := len(m.stack)
	end, err := m.run(i.sub, from)
	if err != nil {
		return false, err
	}
	m.accepted = false
	if m.verdict.verb != verbSkipTo {
		m.verdict = verdict{}
	}
	if end >= 0 && !i.negate {
		m.commit(base)
	} else {
		m.undo(base)
	}
	return (end >= 0) != i.negate, nil
}
