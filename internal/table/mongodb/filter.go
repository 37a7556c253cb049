//go:build !nomongodb

package mongodb

import (
	"fmt"
	"strings"

	"postern/internal/table/database"
)

// checkFilter refuses a template in which an expansion stands where its text
// could be more than a value: outside quotes, or as the name of a field, which
// may be an operator.
func checkFilter(t *database.Template) error {
	quoted, escaped, expanded := false, false, false
	after := false // a string with an expansion has just ended
	for _, p := range t.Pieces {
		if p.Verb != 0 {
			if !quoted || escaped {
				return fmt.Errorf("query_filter: %%%c must stand between quotes", p.Verb)
			}
			expanded = true
			continue
		}
		for i := 0; i < len(p.Literal); i++ {
			c := p.Literal[i]
			switch {
			case quoted && escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
				after, expanded = !quoted && expanded, false
			case !quoted && c == ':' && after:
				return fmt.Errorf("query_filter: an expansion must not be the name of a field")
			case !quoted && c > ' ':
				after = false
			}
		}
	}
	return nil
}

// quote makes text safe within a string of JSON (RFC 8259 7).
func quote(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
