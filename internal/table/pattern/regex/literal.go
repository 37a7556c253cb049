package regex

// maxLiterals bounds how many texts stand for one pattern.
const maxLiterals = 16

// literals is what a match must contain: one of several texts, in lower case.
// None means that nothing is known.
type literals []string

// better says that a tells more texts apart than b: its shortest is longer, or
// there are fewer.
func (a literals) better(b literals) bool {
	switch {
	case len(a) == 0 || len(b) == 0:
		return len(a) > 0
	case a.shortest() != b.shortest():
		return a.shortest() > b.shortest()
	}
	return len(a) < len(b)
}

func (a literals) shortest() int {
	n := len(a[0])
	for _, s := range a[1:] {
		n = min(n, len(s))
	}
	return n
}

// exact returns the texts that n matches, if they are few.
func (n *node) exact() (literals, bool) {
	switch n.kind {
	case kSet:
		return n.set.letters()
	case kConcat:
		all := literals{""}
		for _, s := range n.sub {
			next, ok := s.exact()
			if !ok {
				return nil, false
			}
			if all, ok = all.times(next); !ok {
				return nil, false
			}
		}
		return all, true
	case kAlt:
		var all literals
		for _, s := range n.sub {
			next, ok := s.exact()
			if !ok || len(all)+len(next) > maxLiterals {
				return nil, false
			}
			all = append(all, next...)
		}
		return all, true
	case kGroup, kAtomic:
		return n.sub[0].exact()
	case kRepeat:
		return n.exactRepeat()
	case kBackref, kCond, kCall, kFail, kAccept:
		return nil, false
	}
	return literals{""}, true // matches no octet itself
}

func (n *node) exactRepeat() (literals, bool) {
	const few = 8
	if n.min != n.max || n.max > few {
		return nil, false
	}
	one, ok := n.sub[0].exact()
	all := literals{""}
	for i := 0; ok && i < n.min; i++ {
		all, ok = all.times(one)
	}
	return all, ok
}

// letters returns the members of a small set.
func (s *set) letters() (literals, bool) {
	var all literals
	for c := range 256 {
		if !s.has(byte(c)) || 'A' <= c && c <= 'Z' && s.has(byte(c+32)) {
			continue
		}
		if len(all) == maxLiterals/4 {
			return nil, false
		}
		all = append(all, string([]byte{lower(byte(c))}))
	}
	return all, len(all) > 0
}

// times returns each text of a followed by each of b.
func (a literals) times(b literals) (literals, bool) {
	if len(a)*len(b) > maxLiterals {
		return nil, false
	}
	var all literals
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+y)
		}
	}
	return all, true
}

// required returns the best texts of which a match of n contains one.
func (n *node) required() literals {
	if all, ok := n.exact(); ok && all.shortest() > 0 {
		return all
	}
	switch n.kind {
	case kConcat:
		return n.requiredConcat()
	case kGroup, kAtomic:
		return n.sub[0].required()
	case kRepeat:
		if n.min > 0 {
			return n.sub[0].required()
		}
	case kAlt:
		var all literals
		for _, s := range n.sub {
			one := s.required()
			if len(one) == 0 || len(all)+len(one) > maxLiterals {
				return nil
			}
			all = append(all, one...)
		}
		return all
	}
	return nil
}

// requiredConcat looks at runs of neighbours that match few texts.
func (n *node) requiredConcat() literals {
	var best literals
	consider := func(l literals) {
		if len(l) > 0 && l.shortest() > 0 && l.better(best) {
			best = l
		}
	}
	run := literals{""}
	for _, s := range n.sub {
		next, ok := s.exact()
		if ok {
			longer, fits := run.times(next)
			if fits {
				run = longer
				continue
			}
			consider(run)
			run = next
			continue
		}
		consider(run)
		consider(s.required())
		run = literals{""}
	}
	consider(run)
	return best
}
