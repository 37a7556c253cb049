// Package regex is the regular expressions of pcre and regexp tables: Perl's
// and POSIX's, on octets, with a bound on the work of a match.
//
// A pattern is parsed into a tree. Perl patterns are compiled into a small
// program for a matcher that backtracks. When it takes too many steps, Go's
// package regexp, which needs linear time, answers where it knows all that is
// in the pattern; else the matcher gives up with an error after ten million
// steps. POSIX patterns are translated for Go's package
// regexp, which finds the leftmost longest match in linear time; those with
// back-references go to the matcher. What the parsers do not know is an error,
// never a different meaning.
package regex

import (
	"errors"
	"math/bits"
	"regexp"
)

// Flags of a pattern.
type Flags int

const (
	IgnoreCase Flags = 1 << iota
	DotAll           // PCRE: . matches a newline
	Multiline        // PCRE: ^ and $ match at lines; POSIX: REG_NEWLINE
	Extended         // PCRE: white space and comments in the pattern; POSIX: extended syntax
	Anchored         // PCRE: match at the start only
	DollarEnd        // PCRE: $ does not match before a newline at the end
	Ungreedy         // PCRE: quantifiers are lazy unless ? follows
)

// ErrLimit says that a match was given up.
var ErrLimit = errors.New("match limit exceeded")

// A Regexp is a compiled pattern. It may be used by several goroutines.
type Regexp struct {
	groups   int // capturing groups
	literals literals
	prog     *program
	posix    *regexp.Regexp // nil: use prog
	linear   *linear        // when prog takes too long; may be nil
}

// Literals returns texts of which every match contains one, in lower case; none
// if there are no such texts, or too many.
func (r *Regexp) Literals() []string { return r.literals }

// Groups returns the number of capturing groups.
func (r *Regexp) Groups() int { return r.groups }

// Match returns where text matches: start and end of the match and of each
// group, -1 for a group that took no part; nil if there is no match.
func (r *Regexp) Match(text string) ([]int, error) {
	if r.posix != nil {
		return findOctets(r.posix, text), nil
	}
	if r.linear == nil {
		return r.prog.match(text, maxSteps)
	}
	m, err := r.prog.match(text, fewSteps)
	if err == nil {
		return m, nil
	}
	if m, done := r.linear.match(text); done {
		return m, nil
	}
	return r.prog.match(text, maxSteps)
}

// A set is a set of octets.
type set [4]uint64

func (s *set) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *set) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

// addRange adds lo to hi, both included.
func (s *set) addRange(lo, hi byte) {
	for c := int(lo); c <= int(hi); c++ {
		s.add(byte(c))
	}
}

func (s *set) union(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s set) inverse() set {
	for i := range s {
		s[i] = ^s[i]
	}
	return s
}

// fold adds the other case of each ASCII letter.
func (s *set) fold() {
	for c := byte('a'); c <= 'z'; c++ {
		if s.has(c) || s.has(c-32) {
			s.add(c)
			s.add(c - 32)
		}
	}
}

// size is the number of members.
func (s *set) size() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// single returns the only member.
func (s *set) single() (byte, bool) {
	found, at := false, byte(0)
	for c := range 256 {
		if s.has(byte(c)) {
			if found {
				return 0, false
			}
			found, at = true, byte(c)
		}
	}
	return at, found
}

func setOf(text string) set {
	var s set
	for i := range len(text) {
		s.add(text[i])
	}
	return s
}

func ranges(pairs string) set {
	var s set
	for i := 0; i+1 < len(pairs); i += 2 {
		s.addRange(pairs[i], pairs[i+1])
	}
	return s
}

// classes are those of the C locale, as pairs of first and last octet.
var classes = map[string]string{
	"alnum": "09AZaz", "alpha": "AZaz", "ascii": "\x00\x7f", "blank": "\t\t  ", "cntrl": "\x00\x1f\x7f\x7f",
	"digit": "09", "graph": "!~", "lower": "az", "print": " ~", "punct": "!/:@[`{~", "space": "\t\r  ",
	"upper": "AZ", "word": "09AZaz__", "xdigit": "09AFaf",
}

func class(name string) (set, bool) {
	pairs, ok := classes[name]
	return ranges(pairs), ok
}
