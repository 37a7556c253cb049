package regex

import (
	"errors"
	"slices"
)

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
	kAccept         // the match, or the assertion (behind), ends here; groups are the open ones
	kVerb           // verb: how to go on when what follows fails
	kNotEmpty       // the match is not empty, or (negate) not at the start of the text
	kInCall         // as a condition: group n is being called; n -1: any is
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
	anchor   bool // kLook: ^ or $, which cannot be repeated
	negProp  bool // kSet: a negated property
	negate   bool
	behind   bool
	verb     verb
	bar      int   // of (*THEN), and of the alternatives that it goes on with; of a name that (*SKIP) goes to; 0: none
	groups   []int // kAccept
	cond     *node // kCond: a look-around or kInCall; nil: group n took part
	oneArm   bool  // kCond: sub[1] was not written
}

// subs are all nodes that n is made of.
func (n *node) subs() []*node {
	if n.cond == nil {
		return n.sub
	}
	return append([]*node{n.cond}, n.sub...)
}

// holds says whether n, or something in it, is what f says.
func (n *node) holds(f func(*node) bool) bool {
	return f(n) || slices.ContainsFunc(n.subs(), func(s *node) bool { return s.holds(f) })
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
			if s.kind == kFail || s.kind == kAccept {
				break // PCRE2: what follows does not count
			}
			w, ok := s.width()
			if !ok {
				return 0, false
			}
			total += w
		}
		return total, true
	case kAlt, kCond:
		first, ok := n.sub[0].width()
		if n.oneArm { // PCRE2: the other does not count
			return first, ok
		}
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

// branches are the alternatives of a group.
func (n *node) branches() []*node {
	if n.sub[0].kind == kAlt {
		return n.sub[0].sub
	}
	return n.sub[:1]
}

// checkWidth refuses a look behind whose alternatives have no fixed length.
func (n *node) checkWidth() error {
	for _, s := range n.branches() {
		switch _, ok := s.width(); {
		case s.calls():
			return unsupported("recursion in a lookbehind assertion")
		case !ok && s.holds(func(n *node) bool { return n.kind == kBackref }):
			return unsupported("a back-reference in a lookbehind assertion")
		case !ok:
			return errors.New("lookbehind assertion is not fixed length")
		}
	}
	return nil
}

// calls says whether there is a call in n.
func (n *node) calls() bool {
	return n.holds(func(n *node) bool { return n.kind == kCall })
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
	case kBackref, kCond, kCall, kAccept:
		return false
	}
	return true // matches no octet itself
}

// atStart says that a match of n begins at the start of the text only.
func (n *node) atStart() bool {
	return n.leading(func(n *node) bool { return n.kind == kBegin })
}

// leading says that each match of n begins with a node that f holds for.
func (n *node) leading(f func(*node) bool) bool {
	switch {
	case f(n):
		return true
	case n.kind == kAlt:
		return !slices.ContainsFunc(n.sub, func(s *node) bool { return !s.leading(f) })
	case n.kind == kConcat || n.kind == kGroup || n.kind == kAtomic:
		return len(n.sub) > 0 && n.sub[0].leading(f)
	}
	return false
}

// ends says whether a match of n can end with a node that f holds for.
func (n *node) ends(f func(*node) bool) bool {
	switch {
	case f(n):
		return true
	case n.kind == kAlt || n.kind == kCond:
		return slices.ContainsFunc(n.sub, func(s *node) bool { return s.ends(f) })
	case n.kind == kConcat || n.kind == kGroup || n.kind == kRepeat:
		return len(n.sub) > 0 && n.sub[len(n.sub)-1].ends(f)
	}
	return false
}
