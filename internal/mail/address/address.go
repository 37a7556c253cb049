// Package address is the electronic mail address: its internal form and its
// external forms, its parts, and the grammar of the header fields and SMTP
// paths that carry addresses.
//
// Inside Postern an address is a string in internal form: the local part
// without quoting, an at sign, the domain ("john doe@example.com"). What leaves
// for a header, a log line or a report is in external form, with a local part
// that is quoted where the grammar asks for it ("\"john doe\"@example.com").
// The last at sign separates the local part from the domain. The null address
// is the empty string in every form.
//
// RFC 5321 section 4.1.2 and RFC 5322 section 3.4 give the grammar.
package address

import "strings"

// Split cuts an internal address at its last at sign. Without one, domain is empty.
func Split(addr string) (local, domain string) {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return addr[:i], addr[i+1:]
	}
	return addr, ""
}

// Join is the reverse of Split: without a domain there is no at sign.
func Join(local, domain string) string {
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

// Verp puts a recipient into the sender's address, with two delimiters:
// "list@origin" becomes "list+user=host@origin". Postfix: the recipient is the
// one that the message was sent to, before any alias, where that is known.
func Verp(sender, orig, rcpt, delimiters string) string {
	if orig != "" {
		rcpt = orig
	}
	local, origin := Split(sender)
	user, host := Split(rcpt)
	who := local + delimiters[:1] + user
	if host != "" {
		who += delimiters[1:] + host
	}
	return Join(who, origin)
}

// Quote822 returns the external form for header fields, logs and reports (RFC
// 5322: the local part is a dot-atom or a quoted string). Octets above 127 are
// taken as they are. A source route before the address, "@a,@b:", stays.
func Quote822(addr string) string {
	if addr == "" || addr[0] != '@' {
		return quote(addr, specials822)
	}
	colon := strings.IndexByte(addr, ':')
	switch {
	case colon < 0:
		return quote(addr, specials822)
	case colon == len(addr)-1:
		return addr + `""`
	}
	return addr[:colon+1] + quote(addr[colon+1:], specials822)
}

// Quote821 returns the external form for SMTP commands (RFC 5321: Mailbox).
func Quote821(addr string) string { return quote(addr, specials821) }

const (
	specials822 = `()<>@,;:\".[]`
	specials821 = `()<>@,;:\"[]`
)

func quote(addr, specials string) string {
	if addr == "" {
		return addr
	}
	end := strings.LastIndexByte(addr, '@')
	if end < 0 {
		end = len(addr)
	}
	if dotString(addr[:end], specials) {
		return addr
	}
	var b strings.Builder
	b.Grow(len(addr) + 8)
	b.WriteByte('"')
	for i := 0; i < end; i++ {
		switch addr[i] {
		case '"', '\\', '\r', '\n':
			b.WriteByte('\\')
		}
		b.WriteByte(addr[i])
	}
	b.WriteByte('"')
	b.WriteString(addr[end:])
	return b.String()
}

// dotString says whether s is atoms separated by single dots.
func dotString(s, specials string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if s[i-1] == '.' {
				return false
			}
		case c <= ' ' || c == 0x7f:
			return false
		case c < 0x7f && strings.IndexByte(specials, c) >= 0:
			return false
		}
	}
	return true
}

// Unquote822 turns an external form into the internal one: quotes and
// backslashes of the local part go, the domain stays as it is.
func Unquote822(s string) string {
	end := strings.LastIndexByte(s, '@')
	if end < 0 {
		end = len(s)
	}
	if strings.IndexByte(s[:end], '"') < 0 && strings.IndexByte(s[:end], '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < end; i++ {
		switch s[i] {
		case '"':
			continue
		case '\\':
			if i+1 == end {
				continue
			}
			i++
		}
		b.WriteByte(s[i])
	}
	b.WriteString(s[end:])
	return b.String()
}
