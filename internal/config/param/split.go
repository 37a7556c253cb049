package param

import (
	"fmt"
	"strings"
)

// Separators are the octets between the items of a list (Postfix: CHARS_COMMA_SP).
const Separators = ", \t\r\n"

// Split takes a list apart at commas and blanks. Text in { } is one item; it
// keeps its braces. An item whose braces are not balanced goes on to the end.
func Split(list string) []string { return split(list, Separators) }

// Fields takes a text apart at blanks only, otherwise as Split.
func Fields(text string) []string { return split(text, Separators[1:]) }

func split(list, separators string) []string {
	var items []string
	for {
		list = strings.TrimLeft(list, separators)
		if list == "" {
			return items
		}
		n, level := 0, 0
		for n < len(list) && (level > 0 || strings.IndexByte(separators, list[n]) < 0) {
			switch list[n] {
			case '{':
				level++
			case '}':
				if level > 0 {
					level--
				}
			}
			n++
		}
		items = append(items, list[:n])
		list = list[n:]
	}
}

// Unbrace takes the braces and the blanks inside them off "{ text }". Other
// text is returned unchanged; braces that do not match are an error.
func Unbrace(item string) (text string, braced bool, err error) {
	if !strings.HasPrefix(item, "{") {
		return item, false, nil
	}
	level := 0
	for i := 0; i < len(item); i++ {
		switch item[i] {
		case '{':
			level++
		case '}':
			level--
		}
		if level == 0 {
			if rest := item[i+1:]; rest != "" {
				return "", true, fmt.Errorf("syntax error after '}' in %.100q", item)
			}
			return strings.Trim(item[1:i], " \t\r\n\v\f"), true, nil
		}
	}
	return "", true, fmt.Errorf("missing '}' in %.100q", item)
}
