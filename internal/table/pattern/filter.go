package pattern

import "math/bits"

// A filter tells, in one pass over a string, which rules can match it: those of
// whose literal texts one occurs. It is the automaton of Aho and Corasick over
// the texts of all rules, in lower case.
type filter struct {
	class  [256]uint8 // octets that no text has are one class
	width  int        // classes
	next   []uint32   // the state after (state, class): state*width
	rules  [][]int32  // by state: the rules one of whose texts ends here
	always []uint64   // rules that must be tried whatever the string is
}

// maxStates bounds the memory of the automaton: rules beyond it are always tried.
const maxStates = 1 << 16

// A trie is the texts, before it becomes an automaton.
type trie struct {
	children []map[byte]int32
	rules    [][]int32
}

func newFilter(rules []rule) *filter {
	f := &filter{always: make([]uint64, (len(rules)+63)/64)}
	t := &trie{children: []map[byte]int32{{}}, rules: [][]int32{nil}}
	for i := range rules {
		texts := rules[i].re.Literals()
		if rules[i].negate || rules[i].skip != 0 || len(texts) == 0 || len(t.children) > maxStates {
			f.always[i/64] |= 1 << (i % 64)
			continue
		}
		for _, text := range texts {
			t.add(text, int32(i))
		}
	}
	f.width = 1
	for _, c := range t.children {
		for b := range c {
			if f.class[b] == 0 {
				f.class[b] = uint8(f.width)
				f.width++
			}
		}
	}
	for b := byte('A'); b <= 'Z'; b++ {
		f.class[b] = f.class[b+32]
	}
	f.build(t)
	return f
}

// maxText is how much of a text is looked for.
const maxText = 16

func (t *trie) add(text string, rule int32) {
	state := int32(0)
	for i := range min(len(text), maxText) {
		next, ok := t.children[state][text[i]]
		if !ok {
			next = int32(len(t.children))
			t.children[state][text[i]] = next
			t.children = append(t.children, map[byte]int32{})
			t.rules = append(t.rules, nil)
		}
		state = next
	}
	t.rules[state] = append(t.rules[state], rule)
}

// build makes the automaton, the shallow states first.
func (f *filter) build(t *trie) {
	n := len(t.children)
	f.next = make([]uint32, n*f.width)
	f.rules = t.rules
	fail := make([]int32, n)
	queue := []int32{0}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		row := f.next[int(state)*f.width:][:f.width]
		if state != 0 {
			copy(row, f.next[int(fail[state])*f.width:][:f.width])
			f.rules[state] = append(f.rules[state], f.rules[fail[state]]...)
		}
		for b, child := range t.children[state] {
			c := f.class[b]
			fail[child] = int32(row[c]) / int32(f.width)
			row[c] = uint32(child) * uint32(f.width)
			queue = append(queue, child)
		}
	}
}

// candidates sets the bits of the rules that can match key.
func (f *filter) candidates(key string, set []uint64) {
	copy(set, f.always)
	if len(f.rules) == 1 {
		return
	}
	state := uint32(0)
	for i := range len(key) {
		state = f.next[state+uint32(f.class[key[i]])]
		if state == 0 {
			continue
		}
		for _, r := range f.rules[state/uint32(f.width)] {
			set[r/64] |= 1 << (r % 64)
		}
	}
}

// following returns the first rule of set from i on, or -1.
func following(set []uint64, i int) int {
	w := i / 64
	if w >= len(set) {
		return -1
	}
	word := set[w] >> (i % 64) << (i % 64)
	for word == 0 {
		if w++; w == len(set) {
			return -1
		}
		word = set[w]
	}
	return w*64 + bits.TrailingZeros64(word)
}
