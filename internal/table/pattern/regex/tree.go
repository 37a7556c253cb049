package regex

import "slices"

// A kind says what a node is.
type kind int

const (
	kEmpty     kind = iota
	kSet            // one octet of set
	kConcat         // sub, one after the other
	kAlt            // sub, the first that matches
	kRepeat         // sub[0], min to max times
	kGroup          // sub[0] captured as n
	kBackref        // what group n (or one of refs) matched
	kLook           // look ahead or behind: negate, behind
	kAtomic         // sub[0] without going back into it
	kCond           // if group n took part sub[0] else sub[1]
	kCall           // what group n, or for 0 the whole pattern, is made of
	kFail           // nothing matches
	kKeep           // \K: the match begins here
	kBegin          // start of the text
	kEnd            // end of the text
	kEndLine        // end of the text, or before a newline that ends it
	kBeginML        // start of a line
	kBeginLine      // PCRE: but not after a newline that ends the text
	kEndML          // end of a line
	kWord           // at the edge of a word
	kNotWord        // not there
	kWordBegin      // at the start of a word
	kWordEnd        // at the end of a word
)

const unlimited = -1

type node struct {
	kind     kind
	set      set
	sub      []*node
	min, max int // kRepeat; max may be unlimited
	lazy     bool
	possess  bool
	n        int // group
	icase    bool
	negate   bool
	behind   bool
}

func concat(list []*node) *node {
	switch len(list) {
	case 0:
		return &node{kind: kEmpty}
	case 1:
		return list[0]
	}
	return &node{kind: kConcat, sub: list}
}

func alternate(list []*node) *node {
	if len(list) == 1 {
		return list[0]
	}
	return &node{kind: kAlt, sub: list}
}

// width returns the fixed number of octets that n matches.
func (n *node) width() (int, bool) {
	switch n.kind {
	case kSet:
		return 1, true
	case kConcat:
		total := 0
		for _, s := range n.sub {
			w, ok := s.width()
			if !ok {
				return 0, false
			}
			total += w
		}
		return total, true
	case kAlt, kCond:
		first, ok := n.sub[0].width()
		for _, s := range n.sub[1:] {
			w, ok2 := s.width()
			ok = ok && ok2 && w == first
		}
		return first, ok
	case kRepeat:
		w, ok := n.sub[0].width()
		return w * n.min, ok && n.min == n.max
	case kGroup, kAtomic:
		return n.sub[0].width()
	case kBackref, kCall:
		return 0, false
	}
	return 0, true
}

// calls says whether there is a call in n.
func (n *node) calls() bool {
	return n.kind == kCall || slices.ContainsFunc(n.sub, (*node).calls)
}

// nullable says whether n can match nothing; when in doubt it can.
func (n *node) nullable() bool {
	switch n.kind {
	case kSet:
		return false
	case kConcat:
		for _, s := range n.sub {
			if !s.nullable() {
				return false
			}
		}
		return true
	case kAlt, kCond:
		for _, s := range n.sub {
			if s.nullable() {
				return true
			}
		}
		return false
	case kRepeat:
		return n.min == 0 || n.sub[0].nullable()
	case kGroup, kAtomic:
		return n.sub[0].nullable()
	}
	return true
}

// first adds the octets that a match of n can begin with; the result is false
// where any octet can.
func (n *node) first(s *set) bool {
	switch n.kind {
	case kSet:
		s.union(n.set)
		return true
	case kConcat:
		for _, sub := range n.sub {
			if !sub.first(s) {
				return false
			}
			if !sub.nullable() {
				return true
			}
		}
		return true
	case kAlt:
		for _, sub := range n.sub {
			if !sub.first(s) {
				return false
			}
		}
		return true
	case kRepeat, kGroup, kAtomic:
		return n.sub[0].first(s)
	case kBackref, kCond, kCall:
		return false
	}
	return true // matches no octet itself
}

// atStart says that a match of n begins at the start of the text only.
func (n *node) atStart() bool {
	switch n.kind {
	case kBegin:
		return true
	case kConcat, kGroup, kAtomic:
		return len(n.sub) > 0 && n.sub[0].atStart()
	case kAlt:
		for _, s := range n.sub {
			if !s.atStart() {
				return false
			}
		}
		return true
	}
	return false
}
