package table

import "strings"

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
