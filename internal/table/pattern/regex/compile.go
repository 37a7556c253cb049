package regex

import "errors"

type opcode byte

const (
	opByte     opcode = iota // c
	opSet                    // set
	opRep                    // set, x to y times; mode
	opSplit                  // try x, then y
	opJump                   // to x
	opMark                   // position into slot x: the start of an iteration, or of a group
	opClose                  // group x ends here; it has begun where slot y says
	opProgress               // leave to y if nothing was matched since slot x was set
	opAssert                 // n.kind
	opBackref                // group x; icase
	opLook                   // sub-program x..; negate; width y for behind, else -1
	opAtomic                 // sub-program
	opCond                   // if group x took part go on, else to y
	opKeep                   // the match begins here
	opCall                   // go on at x until opReturn; y: the group
	opReturn                 // to where it was called, with the groups as they were
	opVerb                   // leaves verb c; x: its bar
	opBar                    // an alternative of bar x begins
	opAccept                 // the match, or (negate) the assertion, ends here
	opCondLook               // if the look holds (sub, negate; width x for behind, else -1) go on, else to y
	opCondCall               // if group x (-1: any) is being called go on, else to y
	opNotEmpty               // fails for an empty match; negate: only at the start of the text
	opMatch
)

type mode byte

const (
	greedy mode = iota
	lazy
	possessive
)

type inst struct {
	op     opcode
	c      byte
	mode   mode
	icase  bool
	negate bool
	kind   kind
	x, y   int
	set    *set
	sub    *program
}

// A program is a compiled pattern or part of one.
type program struct {
	code    []inst
	slots   int // positions that are kept: of the groups, of those that are open, of loops
	groups  int
	longest bool // POSIX: look for the longest match
	crlf    bool // no match is tried between CR and LF

	start    bool // matches at the start only
	first    *set // what a match can begin with; nil: anything
	nonEmpty bool
}

// maxCode bounds what nested repetition can grow to.
const maxCode = 50_000

var errTooLarge = errors.New("regular expression is too large")

type compiler struct {
	*program
	top *program // where slots are counted
	err error

	parts  map[part]*program
	defs   map[int]*node // what a call of a group means
	calls  []int         // calls in this program
	starts map[int]int   // where the groups that it calls stand
}

// compile makes the program of tree. defs has the groups, and tree as number 0.
func compile(tree *node, groups int, defs map[int]*node) (*program, error) {
	p := &program{groups: groups, slots: 3 * (groups + 1)}
	c := &compiler{program: p, top: p, parts: make(map[part]*program), defs: defs}
	c.node(tree)
	c.emit(inst{op: opMatch})
	c.called()
	p.start = tree.atStart()
	p.nonEmpty = !tree.nullable()
	var s set
	if p.nonEmpty && tree.first(&s) {
		p.first = &s
	}
	return p, c.err
}

// A part is a node with a program of its own: what is in it, or of a possessive
// repetition, what it is without being so.
type part struct {
	of         *node
	possessive bool
}

// part returns the sub-program of n. One that is being compiled calls itself.
func (c *compiler) part(key part, n *node) *program {
	if p := c.parts[key]; p != nil {
		return p
	}
	sub := &compiler{program: &program{}, top: c.top, parts: c.parts, defs: c.defs}
	c.parts[key] = sub.program
	sub.node(n)
	sub.emit(inst{op: opMatch})
	sub.called()
	if sub.err != nil {
		c.err = sub.err
	}
	return sub.program
}

// called adds the groups that the program calls, so that a call stays in it and
// other ways through the group can be taken after its return.
func (c *compiler) called() {
	c.starts = make(map[int]int)
	for i := 0; i < len(c.calls) && c.err == nil; i++ { // the groups may call more
		group := c.code[c.calls[i]].y
		if _, done := c.starts[group]; !done {
			c.starts[group] = len(c.code)
			c.node(c.defs[group])
			c.emit(inst{op: opReturn})
		}
		c.code[c.calls[i]].x = c.starts[group]
	}
}

// begun is the slot that says where a group begins that is open. Until it is
// closed, a back-reference to it means what it matched before.
func (c *compiler) begun(group int) int { return 2*(c.top.groups+1) + group }

func (c *compiler) emit(i inst) int {
	if len(c.code) >= maxCode {
		c.err = errTooLarge
		return len(c.code) - 1
	}
	c.code = append(c.code, i)
	return len(c.code) - 1
}

func (c *compiler) node(n *node) {
	if c.err != nil {
		return
	}
	switch n.kind {
	case kEmpty:
	case kSet:
		if b, ok := n.set.single(); ok {
			c.emit(inst{op: opByte, c: b})
		} else {
			c.emit(inst{op: opSet, set: &n.set})
		}
	case kConcat:
		for _, s := range n.sub {
			c.node(s)
		}
	case kAlt:
		c.alternatives(n)
	case kRepeat:
		c.repeat(n)
	case kGroup:
		c.emit(inst{op: opMark, x: c.begun(n.n)})
		c.node(n.sub[0])
		c.emit(inst{op: opClose, x: n.n, y: c.begun(n.n)})
	case kBackref:
		c.emit(inst{op: opBackref, x: n.n, icase: n.icase})
	case kLook:
		c.look(n)
	case kAtomic:
		c.emit(inst{op: opAtomic, sub: c.part(part{of: n.sub[0]}, n.sub[0])})
	case kCond:
		at := c.condition(n)
		c.node(n.sub[0])
		end := c.emit(inst{op: opJump})
		c.code[at].y = len(c.code)
		c.node(n.sub[1])
		c.code[end].x = len(c.code)
	case kCall:
		c.calls = append(c.calls, c.emit(inst{op: opCall, y: n.n}))
	case kFail:
		c.emit(inst{op: opSet, set: new(set)}) // no octet is in it
	case kVerb:
		c.emit(inst{op: opVerb, c: byte(n.verb), x: n.bar})
	case kAccept:
		for i := len(n.groups) - 1; i >= 0; i-- {
			c.emit(inst{op: opClose, x: n.groups[i], y: c.begun(n.groups[i])})
		}
		c.emit(inst{op: opAccept, negate: n.behind})
	case kNotEmpty:
		c.emit(inst{op: opNotEmpty, negate: n.negate})
	case kKeep:
		c.emit(inst{op: opKeep})
	default:
		c.emit(inst{op: opAssert, kind: n.kind})
	}
}

func (c *compiler) alternatives(n *node) {
	var ends []int
	branch := func(s *node) {
		if n.bar != 0 {
			c.emit(inst{op: opBar, x: n.bar})
		}
		c.node(s)
	}
	for i, s := range n.sub {
		if i == len(n.sub)-1 {
			branch(s)
			break
		}
		at := c.emit(inst{op: opSplit})
		c.code[at].x = len(c.code)
		branch(s)
		ends = append(ends, c.emit(inst{op: opJump}))
		c.code[at].y = len(c.code)
	}
	for _, e := range ends {
		c.code[e].x = len(c.code)
	}
}

// condition tests the condition of n; the instruction's y is to be set to where
// it goes on if that does not hold.
func (c *compiler) condition(n *node) int {
	switch {
	case n.cond == nil:
		return c.emit(inst{op: opCond, x: n.n})
	case n.cond.kind == kInCall:
		return c.emit(inst{op: opCondCall, x: n.cond.n})
	}
	look := inst{op: opCondLook, negate: n.cond.negate, x: -1, sub: c.part(part{of: n.cond.sub[0]}, n.cond.sub[0])}
	if n.cond.behind {
		w, ok := n.cond.sub[0].width()
		if !ok {
			c.err = unsupported("a lookbehind assertion without fixed length as a condition")
		}
		look.x = w
	}
	return c.emit(look)
}

func (c *compiler) look(n *node) {
	if !n.behind {
		c.emit(inst{op: opLook, negate: n.negate, y: -1, sub: c.part(part{of: n.sub[0]}, n.sub[0])})
		return
	}
	list := n.branches()
	// One look for each alternative: their widths may differ.
	var each []*node
	for _, s := range list {
		w, _ := s.width() // the parser has checked it
		each = append(each, &node{kind: kLook, behind: true, n: w, sub: []*node{s}})
	}
	one := func(n *node, negate bool) {
		c.emit(inst{op: opLook, negate: negate, y: n.n, sub: c.part(part{of: n.sub[0]}, n.sub[0])})
	}
	if n.negate {
		for _, e := range each {
			one(e, true)
		}
		return
	}
	var ends []int
	for i, e := range each {
		if i == len(each)-1 {
			one(e, false)
			break
		}
		at := c.emit(inst{op: opSplit})
		c.code[at].x = len(c.code)
		one(e, false)
		ends = append(ends, c.emit(inst{op: opJump}))
		c.code[at].y = len(c.code)
	}
	for _, e := range ends {
		c.code[e].x = len(c.code)
	}
}

func (c *compiler) repeat(n *node) {
	if n.possess {
		plain := *n
		plain.possess, plain.lazy = false, false
		if n.sub[0].kind == kSet {
			c.emit(inst{op: opRep, set: &n.sub[0].set, x: n.min, y: n.max, mode: possessive})
			return
		}
		c.emit(inst{op: opAtomic, sub: c.part(part{of: n, possessive: true}, &plain)})
		return
	}
	m := greedy
	if n.lazy {
		m = lazy
	}
	if n.sub[0].kind == kSet {
		c.emit(inst{op: opRep, set: &n.sub[0].set, x: n.min, y: n.max, mode: m})
		return
	}
	for range n.min {
		c.node(n.sub[0])
		if c.err != nil {
			return
		}
	}
	if n.max == unlimited {
		c.star(n)
		return
	}
	var exits []int
	for range n.max - n.min {
		exits = append(exits, c.emit(inst{op: opSplit}))
		c.branch(exits[len(exits)-1], n.lazy, len(c.code))
		c.node(n.sub[0])
		if c.err != nil {
			return
		}
	}
	for _, e := range exits {
		c.exit(e, n.lazy, len(c.code))
	}
}

// branch and exit set the two ways of a split: into the loop and out of it.
func (c *compiler) branch(at int, lazy bool, in int) {
	if lazy {
		c.code[at].y = in
	} else {
		c.code[at].x = in
	}
}

func (c *compiler) exit(at int, lazy bool, out int) { c.branch(at, !lazy, out) }

// star repeats without end; an iteration that matches nothing is the last.
func (c *compiler) star(n *node) {
	at := c.emit(inst{op: opSplit})
	c.branch(at, n.lazy, len(c.code))
	check := n.sub[0].nullable()
	slot := 0
	if check {
		slot = c.top.slots
		c.top.slots++
		c.emit(inst{op: opMark, x: slot})
	}
	c.node(n.sub[0])
	progress := -1
	if check {
		progress = c.emit(inst{op: opProgress, x: slot})
	}
	c.emit(inst{op: opJump, x: at})
	if progress >= 0 {
		c.code[progress].y = len(c.code)
	}
	c.exit(at, n.lazy, len(c.code))
}
