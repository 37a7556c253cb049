package regex

import (
	"errors"
	"slices"
	"strings"
)

// Bounds of one match (PCRE2: match limit, heap limit).
const (
	maxSteps = 10_000_000
	fewSteps = 100_000 // where another engine can take over
	maxStack = 500_000 // ways to go back to
)

// A matcher is the state of one match.
type matcher struct {
	text  string
	slots []int
	keep  int // where \K says that the match begins; -1: nowhere
	steps int
	limit int // of steps
	stack []back
	best  []int // the longest match so far, POSIX only

	frames []frame // of calls, also of those that have returned: they may be gone back into
	frame  int     // the call that is under way; -1: none

	at       int     // where the match is tried
	verdict  verdict // why it goes back
	accepted bool    // (*ACCEPT) was reached
	skips    int     // how often (*SKIP:name) was passed
	ignored  int     // so often it is not there, because the name was not found
}

// A frame is a call of a group.
type frame struct {
	group, at int
	saved     []int // slots before the call
	ret       int   // where to go on
	up        int   // the call around it
}

// maxFrames bounds calls that are under way or may be gone back into.
const maxFrames = 20_000

// A back is where to go on when the current way fails: undo a slot, try
// another instruction, or take one octet less (or more) in a repetition.
type back struct {
	kind backKind
	pc   int32
	x    int // slot, or the position to go back to
	y    int // old value, or how far a repetition may still give back or take
}

type backKind byte

const (
	backUndo backKind = iota
	backTry
	backShorter
	backLonger
	backKeep
	backCall  // the call has not begun: x is the one around it, y how many there were
	backFrame // call x is under way again
	backVerb  // pc is a verb
	backBar   // an alternative of bar x
)

func (p *program) match(text string, limit int) ([]int, error) {
	m := &matcher{text: text, limit: limit, slots: make([]int, p.slots)}
	for at := 0; at <= len(text); at = p.next(m, at) {
		if p.first != nil {
			if at = m.scan(p.first, at); at < 0 {
				return nil, nil
			}
		}
		for i := range m.slots {
			m.slots[i] = -1
		}
		m.keep, m.stack, m.best = -1, m.stack[:0], nil
		m.frames, m.frame = m.frames[:0], -1
		m.at, m.verdict, m.accepted, m.skips = at, verdict{}, false, 0
		end, err := m.run(p, at)
		if err != nil {
			return nil, err
		}
		if m.best != nil {
			return m.best, nil
		}
		if end >= 0 {
			return m.result(p, at, end), nil
		}
		if p.start {
			break
		}
	}
	return nil, nil
}

func (m *matcher) result(p *program, at, end int) []int {
	if m.keep >= 0 {
		at = m.keep
	}
	out := append([]int{}, m.slots[:2*(p.groups+1)]...)
	out[0], out[1] = at, end
	return out
}

// scan returns the next position where a match can begin, or -1.
func (m *matcher) scan(first *set, at int) int {
	if c, ok := first.single(); ok {
		n := strings.IndexByte(m.text[at:], c)
		if n < 0 {
			return -1
		}
		return at + n
	}
	for ; at < len(m.text); at++ {
		if first.has(m.text[at]) {
			return at
		}
	}
	return -1
}

func (m *matcher) push(b back) error {
	if len(m.stack) >= maxStack {
		return ErrLimit
	}
	m.stack = append(m.stack, b)
	return nil
}

func (m *matcher) set(slot, value int) error {
	err := m.push(back{kind: backUndo, x: slot, y: m.slots[slot]})
	m.slots[slot] = value
	return err
}

// run executes p from position at and returns where the match ends, or -1.
// What it leaves on the stack above its start belongs to its caller.
func (m *matcher) run(p *program, at int) (end int, err error) {
	base := len(m.stack)
	pc, pos := 0, at
	for {
		if m.steps++; m.steps > m.limit {
			return -1, ErrLimit
		}
		ok := true
		switch i := &p.code[pc]; i.op {
		case opByte:
			ok = pos < len(m.text) && m.text[pos] == i.c
			pos++
			pc++
		case opSet:
			ok = pos < len(m.text) && i.set.has(m.text[pos])
			pos++
			pc++
		case opJump:
			pc = i.x
		case opSplit:
			err = m.push(back{kind: backTry, pc: int32(i.y), x: pos})
			pc = i.x
		case opMark:
			err = m.set(i.x, pos)
			pc++
		case opClose:
			if err = m.set(2*i.x, m.slots[i.y]); err == nil {
				err = m.set(2*i.x+1, pos)
			}
			pc++
		case opProgress:
			if pc++; m.slots[i.x] == pos {
				pc = i.y
			}
		case opKeep:
			err = m.push(back{kind: backKeep, x: m.keep})
			m.keep = pos
			pc++
		case opMatch:
			if !p.longest {
				return pos, nil
			}
			if m.best == nil || pos > m.best[1] {
				m.best = m.result(p, at, pos)
			}
			ok = false
		case opCond:
			if pc++; m.slots[2*i.x+1] < 0 {
				pc = i.y
			}
		case opRep:
			pos, ok, err = m.repeat(i, pc, pos)
			pc++
		case opCall:
			err = m.call(i, pc, pos)
			pc = i.x
		case opReturn:
			pc, err = m.leave()
		case opVerb:
			if verb(i.c) == verbSkipTo {
				if m.skips++; m.skips <= m.ignored {
					pc++
					continue
				}
			}
			err = m.push(back{kind: backVerb, pc: int32(i.c), x: pos, y: i.x})
			pc++
		case opBar:
			err = m.push(back{kind: backBar, x: i.x})
			pc++
		case opAccept:
			m.accepted = true
			return pos, nil
		case opCondCall, opCondLook:
			pc, ok, err = m.condition(i, pc, pos)
		default:
			pos, ok, err = m.complex(p, i, pos)
			if m.accepted && ok {
				return pos, err
			}
			pc++
		}
		if err != nil {
			return -1, err
		}
		if !ok {
			if pc, pos, ok = m.retreat(p, base); !ok {
				return -1, nil
			}
		}
	}
}

// repeat matches a repetition of single octets.
func (m *matcher) repeat(i *inst, pc, pos int) (int, bool, error) {
	limit := len(m.text)
	if i.y != unlimited && i.y < limit-pos {
		limit = pos + i.y
	}
	n := pos
	stop := limit
	if i.mode == lazy {
		stop = min(limit, pos+i.x)
	}
	for n < stop && i.set.has(m.text[n]) {
		n++
	}
	m.steps += (n - pos) / 16
	if n-pos < i.x {
		return pos, false, nil
	}
	var err error
	switch {
	case i.mode == greedy && n > pos+i.x:
		err = m.push(back{kind: backShorter, pc: int32(pc + 1), x: n - 1, y: pos + i.x})
	case i.mode == lazy && n < limit:
		err = m.push(back{kind: backLonger, pc: int32(pc), x: n, y: limit})
	}
	return n, true, err
}

// goBack undoes and returns the newest other way; ok is false if there is none.
func (m *matcher) goBack(p *program, base int) (pc, pos int, ok bool) {
	for len(m.stack) > base {
		top := &m.stack[len(m.stack)-1]
		switch top.kind {
		case backUndo:
			m.slots[top.x] = top.y
		case backKeep, backCall, backFrame:
			m.takeBack(top)
		case backVerb:
			m.judge(top)
			if m.verdict.verb != noVerb {
				m.stack = m.stack[:len(m.stack)-1]
				return 0, 0, false
			}
		case backTry:
			pc, pos = int(top.pc), top.x
			m.stack = m.stack[:len(m.stack)-1]
			return pc, pos, true
		case backShorter:
			pc, pos = int(top.pc), top.x
			if top.x--; top.x < top.y {
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, pos, true
		case backLonger:
			if pos = top.x; pos < top.y && p.code[top.pc].set.has(m.text[pos]) {
				pc = int(top.pc) + 1
				top.x++
				return pc, pos + 1, true
			}
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
	return 0, 0, false
}

// takeBack undoes what is rarer than a change of a slot.
func (m *matcher) takeBack(b *back) {
	switch b.kind {
	case backKeep:
		m.keep = b.x
	case backCall:
		m.frame, m.frames = b.x, m.frames[:b.y]
	case backFrame:
		m.frame = b.x
	}
}

// call begins a call of a group. One that calls itself at the same place would
// never end.
func (m *matcher) call(i *inst, pc, pos int) error {
	if len(m.frames) >= maxFrames {
		return ErrLimit
	}
	for f := m.frame; f >= 0; f = m.frames[f].up {
		m.steps++
		if m.frames[f].group == i.y && m.frames[f].at == pos {
			return ErrLimit
		}
	}
	m.steps += len(m.slots) / 8
	err := m.push(back{kind: backCall, x: m.frame, y: len(m.frames)})
	m.frames = append(m.frames, frame{group: i.y, at: pos, saved: slices.Clone(m.slots), ret: pc + 1, up: m.frame})
	m.frame = len(m.frames) - 1
	return err
}

// leave ends a call. What its groups matched is forgotten, as in PCRE2.
func (m *matcher) leave() (pc int, err error) {
	f := &m.frames[m.frame]
	for slot, value := range f.saved {
		if m.slots[slot] != value {
			err = errors.Join(err, m.set(slot, value))
		}
	}
	err = errors.Join(err, m.push(back{kind: backFrame, x: m.frame}))
	m.frame = f.up
	return f.ret, err
}

// complex executes the rarer instructions.
func (m *matcher) complex(p *program, i *inst, pos int) (int, bool, error) {
	switch i.op {
	case opAssert:
		return pos, m.assert(i.kind, pos), nil
	case opBackref:
		end, ok := m.backref(i, pos)
		return end, ok, nil
	case opAtomic:
		base := len(m.stack)
		end, err := m.run(i.sub, pos)
		if err != nil || end < 0 {
			return pos, false, err
		}
		m.commit(base)
		return end, true, nil
	case opLook:
		return m.look(i, pos)
	case opNotEmpty:
		start := m.at
		if m.keep >= 0 {
			start = m.keep
		}
		return pos, pos != start || i.negate && start != 0, nil
	}
	panic("regex: unknown instruction")
}

// commit forgets the other ways above base, but not what is to be undone when
// a way below it is taken.
func (m *matcher) commit(base int) {
	kept := m.stack[:base]
	for _, b := range m.stack[base:] {
		switch b.kind {
		case backUndo, backKeep, backCall, backFrame:
			kept = append(kept, b)
		}
	}
	m.stack = kept
}

func (m *matcher) look(i *inst, pos int) (int, bool, error) {
	from := pos
	if i.y >= 0 {
		from = pos - i.y
	}
	if from < 0 {
		return pos, i.negate, nil
	}
	base := len(m.stack)
	end, err := m.run(i.sub, from)
	if err != nil {
		return pos, false, err
	}
	m.accepted = false // it ends the assertion only
	switch v := m.verdict.verb; {
	case v == verbSkipTo:
		return pos, false, nil
	case v != noVerb && (i.negate || v == verbThen):
		m.verdict = verdict{}
	}
	if end >= 0 && !i.negate {
		m.commit(base)
		return pos, true, nil
	}
	if end >= 0 {
		m.undo(base)
	}
	return pos, (end >= 0) != i.negate, nil
}

// undo takes back everything above base.
func (m *matcher) undo(base int) {
	for len(m.stack) > base {
		switch top := &m.stack[len(m.stack)-1]; top.kind {
		case backUndo:
			m.slots[top.x] = top.y
		case backKeep, backCall, backFrame:
			m.takeBack(top)
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
}

func (m *matcher) backref(i *inst, pos int) (int, bool) {
	from, to := m.slots[2*i.x], m.slots[2*i.x+1]
	if from < 0 || to < 0 {
		return pos, false // PCRE: a group that took no part matches nothing
	}
	n := to - from
	m.steps += n / 8
	if n > len(m.text)-pos {
		return pos, false
	}
	a, b := m.text[from:to], m.text[pos:pos+n]
	if i.icase {
		for k := range n {
			if lower(a[k]) != lower(b[k]) {
				return pos, false
			}
		}
		return pos + n, true
	}
	return pos + n, a == b
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 32
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 32
	}
	return c
}

func (m *matcher) assert(k kind, pos int) bool {
	switch k {
	case kBegin:
		return pos == 0
	case kEnd:
		return pos == len(m.text)
	case kEndLine:
		return pos == len(m.text) || pos == len(m.text)-1 && m.text[pos] == '\n'
	case kBeginML:
		return pos == 0 || m.text[pos-1] == '\n'
	case kBeginLine:
		return pos == 0 || pos < len(m.text) && m.text[pos-1] == '\n'
	case kEndML:
		return pos == len(m.text) || m.text[pos] == '\n'
	}
	before := pos > 0 && isWord(m.text[pos-1])
	after := pos < len(m.text) && isWord(m.text[pos])
	switch k {
	case kWord:
		return before != after
	case kNotWord:
		return before == after
	case kWordBegin:
		return !before && after
	case kWordEnd:
		return before && !after
	}
	return false
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
