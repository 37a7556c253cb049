package table

import (
	"errors"
	"fmt"
	"strings"
)

// Tokens cuts a list at commas and white space; what stands in braces stays
// whole, braces included: "hash:/a, inline:{ a=b, c=d }" has two.
func Tokens(list string) []string {
	var out []string
	for list = strings.TrimLeft(list, separators); list != ""; list = strings.TrimLeft(list, separators) {
		n := tokenEnd(list)
		out = append(out, list[:n])
		list = list[n:]
	}
	return out
}

const separators = ", \t\r\n"

func tokenEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case depth == 0 && strings.IndexByte(separators, c) >= 0:
			return i
		}
	}
	return len(s)
}

// Braced returns what stands between the braces of "{ … }", without white
// space at both ends.
func Braced(s string) (string, error) {
	s = strings.Trim(s, blanks)
	if s == "" || s[0] != '{' {
		return "", errors.New("expected '{'")
	}
	n := closing(s)
	if n < 0 {
		return "", errors.New("missing '}'")
	}
	if rest := strings.Trim(s[n+1:], blanks); rest != "" {
		return "", fmt.Errorf("syntax error after '}' in %q", s)
	}
	return strings.Trim(s[1:n], blanks), nil
}

const blanks = " \t\r\n"

// closing returns where the brace that opens s ends, or -1.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// nameEnd returns where a name ends that may be in quotes.
func nameEnd(s string) (end int, balanced bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '=' || strings.IndexByte(blanks, c) >= 0):
			return i, true
		}
	}
	return len(s), !quoted
}

// Pair cuts "name = value" and "{ name = value }".
func Pair(s string) (name, value string, err error) {
	if strings.HasPrefix(s, "{") {
		if s, err = Braced(s); err != nil {
			return "", "", err
		}
	}
	s = strings.TrimLeft(s, blanks)
	end, balanced := nameEnd(s)
	if !balanced {
		return "", "", errors.New("unbalanced '\"'")
	}
	value, ok := strings.CutPrefix(strings.TrimLeft(s[end:], blanks), "=")
	if !ok {
		return "", "", errors.New("missing '=' after attribute name")
	}
	return s[:end], strings.Trim(value, blanks), nil
}
