package smtpd

import (
	"fmt"
	"strings"
)

// maxLogged bounds what the log shows of what a client has sent.
const maxLogged = 100

// escape shows octets as C does, limit of them.
func escape(b []byte, limit int) string {
	var t strings.Builder
	for _, c := range b[:min(len(b), limit)] {
		switch c {
		case '\r':
			t.WriteString(`\r`)
		case '\n':
			t.WriteString(`\n`)
		case '\t':
			t.WriteString(`\t`)
		case '\a':
			t.WriteString(`\a`)
		case '\b':
			t.WriteString(`\b`)
		case '\f':
			t.WriteString(`\f`)
		case '\v':
			t.WriteString(`\v`)
		case '\\':
			t.WriteString(`\\`)
		default:
			if c < ' ' || c >= 0x7f {
				fmt.Fprintf(&t, `\%03o`, c)
			} else {
				t.WriteByte(c)
			}
		}
	}
	return t.String()
}
