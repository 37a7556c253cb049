package regex

import (
	"regexp"
	"strings"
	"sync"
)

// A linear is the same pattern for Go's package regexp, for strings on which
// the matcher would go back too often. Most patterns have one: those without
// look-around, back-references and the like. It is compiled when it is needed.
type linear struct {
	tree    *node
	endLine bool // has $, which cannot be written for a text that ends with a newline
	once    sync.Once
	re      *regexp.Regexp // nil: too large
}

// newLinear returns nil for a tree that the two would read differently.
func newLinear(tree *node) *linear {
	l := &linear{tree: tree}
	if !l.common(tree) {
		return nil
	}
	return l
}

func (l *linear) common(n *node) bool {
	switch n.kind {
	case kEmpty, kSet, kConcat, kAlt, kGroup, kBegin, kEnd, kWord, kNotWord:
	case kEndLine:
		l.endLine = true
	case kRepeat:
		const most = 1000 // of package regexp
		if n.possess || n.min > most || n.max > most || n.max != 1 && n.sub[0].nullable() {
			return false
		}
	default:
		return false
	}
	for _, s := range n.sub {
		if !l.common(s) {
			return false
		}
	}
	return true
}

// match is like Regexp.Match; done is false if it cannot tell.
func (l *linear) match(text string) (m []int, done bool) {
	if l.endLine && strings.HasSuffix(text, "\n") {
		return nil, false
	}
	l.once.Do(func() {
		var b strings.Builder
		writeGo(&b, l.tree)
		l.re, _ = regexp.Compile(b.String()) // an error means that it is too large
	})
	if l.re == nil {
		return nil, false
	}
	return findOctets(l.re, text), true
}
