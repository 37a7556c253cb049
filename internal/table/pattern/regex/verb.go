package regex

import (
	"errors"
	"strings"
)

// A verb says how a match goes on when what follows the verb fails.
type verb byte

const (
	noVerb     verb = iota
	verbMark        // as if it were not there
	verbPrune       // (*PRUNE): at the next start
	verbSkip        // (*SKIP): at a start where the verb was passed
	verbCommit      // (*COMMIT): not at all
	verbThen        // (*THEN): at the next alternative of the innermost ones around it
	verbSkipTo      // (*SKIP:name): at a start where (*MARK:name) was passed, if it was
)

var verbs = map[string]verb{"MARK": verbMark, "": verbMark, "PRUNE": verbPrune, "SKIP": verbSkip, "COMMIT": verbCommit, "THEN": verbThen}

// looksLikeVerb says whether what is behind "(*" is a verb, with or without an
// argument.
func (p *perl) looksLikeVerb(name, rest string) bool {
	if _, ok := verbs[name]; !ok && name != "ACCEPT" && name != "FAIL" && name != "F" {
		return false
	}
	return rest != "" && (rest[0] == ')' && name != "" || rest[0] == ':')
}

// control parses a verb, whose name has n octets.
func (p *perl) control(name string, n int) (*node, error) {
	p.i += n
	argument := ""
	if p.accept(":") {
		end := strings.IndexByte(p.text[p.i:], ')')
		if end < 0 {
			return nil, errors.New("missing closing parenthesis")
		}
		if end > 255 {
			return nil, errors.New("name is too long in (*MARK), (*PRUNE), (*SKIP), or (*THEN)")
		}
		argument = p.text[p.i : p.i+end]
		p.i += end
	}
	p.i++ // the parenthesis
	v := verbs[name]
	switch {
	case name == "FAIL", name == "F":
		return &node{kind: kFail}, nil
	case name == "ACCEPT":
		return &node{kind: kAccept, behind: p.looks > 0, groups: p.open}, nil
	case v == verbMark && argument == "":
		return nil, errors.New("(*MARK) must have an argument")
	case v == verbSkip && argument != "":
		return &node{kind: kVerb, verb: verbSkipTo, bar: p.mark(argument)}, nil
	case v == verbMark:
		return &node{kind: kVerb, verb: verbMark, bar: p.mark(argument)}, nil
	}
	return &node{kind: kVerb, verb: v}, nil
}

// mark is the number of a name of (*MARK).
func (p *perl) mark(name string) int {
	if p.marks == nil {
		p.marks = make(map[string]int)
	}
	if p.marks[name] == 0 {
		p.marks[name] = len(p.marks) + 1
	}
	return p.marks[name]
}

func isAccept(n *node) bool { return n.kind == kAccept }

func isVerb(v verb) func(*node) bool {
	return func(n *node) bool { return n.kind == kVerb && n.verb == v }
}

// checkVerbs refuses what PCRE2 decides by the layout of its code, and tells
// each (*THEN) which alternatives it goes on with.
func (p *perl) checkVerbs(tree *node) error {
	if tree.holds(isAccept) && (p.notEmpty || p.notEmptyAtStart) {
		return unsupported("(*ACCEPT) after (*NOTEMPTY)")
	}
	accept, then := tree.holds(isAccept), tree.holds(isVerb(verbThen))
	if (accept || then) && tree.calls() {
		return unsupported("(*ACCEPT) or (*THEN) in a pattern with recursion")
	}
	controls := func(n *node) bool { return n.kind == kVerb && n.verb != verbMark }
	if tree.holds(func(n *node) bool {
		return n.kind == kLook && n.behind && n.sub[0].kind == kAlt && n.sub[0].holds(controls)
	}) {
		return unsupported("a verb in the alternatives of a lookbehind assertion")
	}
	if tree.holds(func(n *node) bool { return n.kind == kCall && n.n == 0 }) && tree.ends((*node).gives) {
		return unsupported("recursion of a pattern that ends with a repetition")
	}
	if !then {
		return nil
	}
	return p.aim(tree, nil, false)
}

// checkBehinds refuses assertions that look back without a fixed length. PCRE2
// does not look at what follows (*ACCEPT) and (*FAIL) in one.
func (p *perl) checkBehinds() (err error) {
	ends := false
	for _, n := range p.behinds {
		err = errors.Join(err, n.checkWidth())
		ends = ends || n.holds(func(n *node) bool { return n.kind == kAccept || n.kind == kFail })
	}
	if err != nil && ends {
		return unsupported("(*ACCEPT) or (*FAIL) in a lookbehind assertion")
	}
	return err
}

// gives says that n is a repetition of one octet that can give octets back.
// PCRE2: at the end of a pattern it does not, not even where the pattern is
// called by itself.
func (n *node) gives() bool {
	return n.kind == kRepeat && n.sub[0].kind == kSet && !n.possess && n.min != n.max
}

// aim gives each (*THEN) in n the alternatives around it, at last around. looped
// says that between them there is a repetition of something with alternatives:
// which of these PCRE2 goes on with depends on how it has laid them out.
func (p *perl) aim(n, around *node, looped bool) error {
	switch n.kind {
	case kVerb:
		if n.verb != verbThen {
			return nil
		}
		if looped {
			return unsupported("(*THEN) in a repetition")
		}
		if around != nil {
			n.bar = around.bar
		}
		return nil
	case kAlt:
		p.bars++
		n.bar = p.bars
		around, looped = n, false
	case kLook:
		around, looped = nil, false // it goes no further
	case kRepeat:
		if n.max != 1 && n.sub[0].holds(func(n *node) bool { return n.kind == kAlt }) {
			looped = true
		}
	}
	if n.cond != nil {
		if err := p.aim(n.cond, around, looped); err != nil {
			return err
		}
	}
	for _, s := range n.sub {
		if err := p.aim(s, around, looped); err != nil {
			return err
		}
	}
	return nil
}

// setStart decides where a match is tried. (*COMMIT) and (*SKIP) make a
// difference between a start that is tried and one that cannot begin a match
// and is passed over, so that it must be known what PCRE2 passes over.
func (p *perl) setStart(prog *program, tree *node) error {
	if p.noStart {
		prog.first = nil
	}
	if prog.start || p.noStart || !tree.holds(func(n *node) bool {
		return n.kind == kVerb && (n.verb == verbCommit || n.verb == verbSkip || n.verb == verbSkipTo)
	}) {
		return nil
	}
	var s set
	if tree.starts(&s) != startsHere {
		return unsupported("(*COMMIT) or (*SKIP) in a pattern that does not begin with a plain character")
	}
	prog.first = &s
	return nil
}

type start int

const (
	startsUnknown start = iota
	startsLater         // nothing that is matched yet
	startsHere
)

// starts adds what a match begins with, where PCRE2 sees it, too.
func (n *node) starts(s *set) start {
	switch n.kind {
	case kSet:
		if n.set.size() > 250 { // . and [^a] are no help to PCRE2
			return startsUnknown
		}
		s.union(n.set)
		return startsHere
	case kEmpty, kWord, kNotWord:
		return startsLater
	case kConcat:
		for _, sub := range n.sub {
			if r := sub.starts(s); r != startsLater {
				return r
			}
		}
		return startsLater
	case kAlt:
		all := startsHere
		for _, sub := range n.sub {
			all = min(all, sub.starts(s))
		}
		return all
	case kGroup, kAtomic:
		return n.sub[0].starts(s)
	case kRepeat:
		r := n.sub[0].starts(s)
		if n.min == 0 {
			r = min(r, startsLater)
		}
		return r
	}
	return startsUnknown
}

// A verdict is a verb that what followed it has failed at.
type verdict struct {
	verb  verb
	pos   int // where it was passed
	bar   int
	group int // the group that was being called there; -1: none
}

// retreat finds where to go on when a way has failed; ok is false if there is
// nowhere, and then m.verdict may say why.
func (m *matcher) retreat(p *program, base int) (pc, pos int, ok bool) {
	for {
		if m.verdict.verb != noVerb && !m.unwind(base) {
			return 0, 0, false
		}
		pc, pos, ok = m.goBack(p, base)
		if ok || m.verdict.verb == noVerb {
			return pc, pos, ok
		}
	}
}

// judge takes a verb from the stack.
func (m *matcher) judge(b *back) {
	if verb(b.pc) == verbMark {
		return
	}
	m.verdict = verdict{verb: verb(b.pc), pos: b.x, bar: b.y, group: -1}
	if m.frame >= 0 {
		m.verdict.group = m.frames[m.frame].group
	}
}

// unwind takes back everything down to where the verdict ends: the alternatives
// of (*THEN), or the call of a group. PCRE2: a call of the same group that has
// returned ends it as well.
func (m *matcher) unwind(base int) bool {
	v := m.verdict
	for len(m.stack) > base {
		top := m.stack[len(m.stack)-1]
		if top.kind == backVerb && verb(top.pc) == verbMark && v.verb == verbSkipTo && top.y == v.bar {
			v.verb, v.pos = verbSkip, top.x
			m.verdict = v
		}
		ends := top.kind == backBar && v.verb == verbThen && top.x == v.bar ||
			top.kind == backCall && m.frames[top.y].group == v.group
		switch top.kind {
		case backUndo:
			m.slots[top.x] = top.y
		case backKeep, backCall, backFrame:
			m.takeBack(&top)
		}
		m.stack = m.stack[:len(m.stack)-1]
		if ends {
			m.verdict = verdict{}
			return true
		}
	}
	return false
}

// next is where the match is tried after it has failed at position at.
func (p *program) next(m *matcher, at int) int {
	switch {
	case m.verdict.verb == verbSkipTo: // once more, as if it were not there
		m.ignored = m.skips
		return at
	case m.verdict.verb == verbCommit:
		return len(m.text) + 1
	case m.verdict.verb == verbSkip && m.verdict.pos > at:
		at = m.verdict.pos
	default:
		m.ignored = 0
		at++
	}
	if p.crlf && at < len(m.text) && m.text[at-1] == '\r' && m.text[at] == '\n' {
		at++
	}
	return at
}
