package macro

import (
	"fmt"
	"strconv"
	"strings"
)

// operators, the longer before those that they start with.
var operators = [...]string{"==", "!=", "<=", ">=", "<", ">"}

// relation evaluates "{a} op {b}" at the start of s.
func (x *expansion) relation(s string, depth int) (yes bool, rest string, err error) {
	left, t, _, err := operand(s)
	if err != nil {
		return false, "", err
	}
	op := ""
	for _, o := range operators {
		if strings.HasPrefix(t, o) {
			op = o
			break
		}
	}
	if op == "" {
		return false, "", syntaxAt("\""+strings.Join(operators[:], "\" or \"")+"\" expected", left+"}", t)
	}
	t = t[len(op):]
	suffix := t[:nameLen(t)]
	if suffix != "" && suffix != "level" {
		return false, "", syntaxAt("bad operator suffix", op, t)
	}
	t = strings.TrimLeft(t[len(suffix):], blanks)
	if !strings.HasPrefix(t, "{") {
		return false, "", syntaxAt(`"{expression}" expected`, "{"+left+"} "+op, t)
	}
	right, rest, _, err := operand(t)
	if err != nil {
		return false, "", err
	}
	var a, b strings.Builder
	if err := x.expand(&a, left, depth+1); err != nil {
		return false, "", err
	}
	if err := x.expand(&b, right, depth+1); err != nil {
		return false, "", err
	}
	if x.all {
		return true, rest, nil
	}
	compare := compare
	if suffix == "level" {
		compare = compareLevels
	}
	c, err := compare(a.String(), b.String())
	if err != nil {
		return false, "", err
	}
	return holds(op, c), rest, nil
}

func holds(op string, c int) bool {
	switch op {
	case "==":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">=":
		return c >= 0
	}
	return c > 0
}

// compare orders two texts: as numbers if both are, else octet by octet.
func compare(a, b string) (int, error) {
	if !allDigits(a) || !allDigits(b) {
		return strings.Compare(a, b), nil
	}
	n, errA := strconv.ParseInt(a, 10, 64)
	m, errB := strconv.ParseInt(b, 10, 64)
	if errA != nil || errB != nil {
		return 0, fmt.Errorf("comparison of numbers that are too large: %.100q and %.100q", a, b)
	}
	return order(n, m), nil
}

func order(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// A Level is a compatibility level, major.minor.patch (compatibility_level).
type Level [3]int

// ParseLevel reads "3", "3.6" or "3.6.1".
func ParseLevel(s string) (Level, error) {
	var l Level
	parts := strings.Split(s, ".")
	if len(parts) > len(l) {
		return Level{}, fmt.Errorf("bad compatibility level: %.100q", s)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return Level{}, fmt.Errorf("bad compatibility level: %.100q", s)
		}
		l[i] = int(n)
	}
	return l, nil
}

// Compare returns -1, 0 or 1 as l is below, equal to or above m.
func (l Level) Compare(m Level) int {
	for i := range l {
		if c := order(int64(l[i]), int64(m[i])); c != 0 {
			return c
		}
	}
	return 0
}

func compareLevels(a, b string) (int, error) {
	l, err := ParseLevel(a)
	if err != nil {
		return 0, err
	}
	m, err := ParseLevel(b)
	if err != nil {
		return 0, err
	}
	return l.Compare(m), nil
}
