package smtpd

import (
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
)

// A pathKind says which command a path belongs to.
type pathKind uint8

const (
	pathReverse pathKind = iota // MAIL FROM: the null path is allowed
	pathForward                 // RCPT TO
	pathVerify                  // VRFY: brackets are optional
)

// cutPath takes the address off the start of the argument of MAIL FROM: or
// RCPT TO:. It ends at a blank outside of angle brackets and quotes; what is not
// closed is an error.
func cutPath(arg string) (path, rest string, valid bool) {
	arg = strings.TrimLeft(arg, blanks)
	var quoted, angle bool
	for i := 0; i < len(arg); i++ {
		switch c := arg[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case strings.IndexByte(blanks, c) >= 0 && !angle:
			return arg[:i], strings.Trim(arg[i:], blanks), true
		}
	}
	return arg, "", !quoted && !angle
}

// path reads an address and returns its internal form. What is no address is
// logged, as Postfix does. unicode says that the client has asked for SMTPUTF8,
// without which a domain is ASCII.
func (s *session) path(text, verb string, kind pathKind, unicode bool) (addr string, valid bool) {
	addr, valid = parsePath(text, kind, s.conf.StrictEnvelopes && kind != pathVerify)
	if valid && addr != "" && !s.standAlone {
		_, domain := address.Split(addr)
		valid = (unicode || ascii(domain)) && s.acceptable(addr)
	}
	if !valid {
		s.log.Warningf("Illegal address syntax from %s in %s command: %s", s.subject.LogClient, verb, text)
	}
	return addr, valid
}

// parsePath is the syntax alone (RFC 5321 4.1.2). Unless strict, text around
// the brackets, missing brackets and a source route are taken and dropped.
func parsePath(text string, kind pathKind, strict bool) (addr string, valid bool) {
	b := findBrackets(text)
	inner, around, valid := b.address(text)
	if !valid || strict && (around || b.opened == 0) {
		return "", false
	}
	inner = stripRoute(strings.Trim(inner, " \t"))
	if strict && strings.HasPrefix(inner, "@") {
		return "", false
	}
	var store [32]address.Token
	tokens := address.Scan(store[:0], inner, maxPathTokens)
	if !oneAddress(tokens) {
		return "", false
	}
	var internal [128]byte
	addr = string(address.AppendInternal(internal[:0], withoutComments(tokens)))
	return addr, addr != "" || kind == pathReverse
}

// maxPathTokens bounds what one path costs.
const maxPathTokens = 1000

// brackets are the < and > of a path that stand outside of quotes and comments.
type brackets struct {
	opened, closed int
	first, last    int  // the octets of the innermost pair
	lead           bool // nothing but < and blanks stands before the address
}

func findBrackets(text string) brackets {
	b := brackets{lead: true}
	quoted, comment := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
			b.lead = b.lead && b.opened > 0
		case c == '"' && comment == 0:
			quoted = !quoted
			b.lead = b.lead && b.opened > 0
		case quoted:
		case c == '(':
			comment++
		case c == ')' && comment > 0:
			comment--
		case comment > 0:
		case c == '<':
			b.lead = b.lead && (b.opened == 0 || strings.Trim(text[b.first+1:i], " \t") == "")
			b.opened++
			b.first = i
		case c == '>':
			if b.closed++; b.closed == 1 {
				b.last = i
			}
		case b.opened == 0 && c != ' ' && c != '\t' && c != ',':
			b.lead = false
		}
	}
	return b
}

// address returns what stands between the brackets, and whether there is
// anything around them. Postfix: one pair more around the address is taken, and
// so is a > too many or one alone.
func (b brackets) address(text string) (inner string, around, valid bool) {
	switch {
	case b.opened == 0 && b.closed == 0:
		return strings.Trim(text, ",;: \t"), false, true
	case b.opened == 0:
		before, after := strings.Trim(text[:b.last], " \t"), strings.Trim(text[b.last+1:], " \t")
		return before + after, true, b.closed == 1 && (before == "" || after == "")
	case b.closed == 0 || b.last < b.first || b.closed > 2:
		return "", false, false
	case b.opened > 2 || b.opened == 2 && (b.closed != 2 || !b.lead):
		return "", false, false
	}
	before, after := text[:b.first], text[b.last+1:]
	if b.opened == 1 && strings.Contains(before, ":") || hasWords(after) {
		return "", false, false
	}
	return text[b.first+1 : b.last], strings.Trim(before, "< \t") != "" || strings.Trim(after, "> \t") != "", true
}

// hasWords says whether text holds more than comments and separators.
func hasWords(text string) bool {
	var store [8]address.Token
	for _, t := range address.Scan(store[:0], text, maxPathTokens) {
		switch t.Kind {
		case address.Comment, '>', ',', ';':
		default:
			return true
		}
	}
	return false
}

// stripRoute drops a source route, "@a,@b:user@domain" (RFC 5321 appendix C).
func stripRoute(path string) string {
	if path == "" || path[0] != '@' {
		return path
	}
	if i := strings.IndexByte(path, ':'); i >= 0 {
		return strings.TrimLeft(path[i+1:], " \t")
	}
	return path
}

// oneAddress says whether the tokens can be one address: no list, no brackets,
// and no two words side by side.
func oneAddress(tokens []address.Token) bool {
	word := false
	for i := range tokens {
		switch k := tokens[i].Kind; k {
		case ',', ';', '<', '>':
			return false
		case ':', address.Group:
			word = false
		case address.Atom, address.Quoted, address.Literal:
			if word {
				return false
			}
			word = true
		case address.Comment:
		default:
			word = false
		}
	}
	return true
}

func withoutComments(tokens []address.Token) []address.Token {
	out := tokens[:0]
	for _, t := range tokens {
		if t.Kind != address.Comment {
			out = append(out, t)
		}
	}
	return out
}

// acceptable says whether trivial-rewrite can make sense of an address. Plain
// ones need not be asked about.
func (s *session) acceptable(addr string) bool {
	if plain(addr) {
		return true
	}
	r, err := s.resolver.Resolve(s.ctx, s.subject.Sender, addr)
	return err != nil || r.Flags&rewrite.Error == 0
}

// plain says that an address is atoms and dots at a host name.
func plain(addr string) bool {
	local, domain := address.Split(addr)
	if local == "" || local[0] == '.' || local[0] == '-' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return false
	}
	for i := 0; i < len(local); i++ {
		c := local[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-_+=", c) >= 0) {
			return false
		}
	}
	return netaddr.ValidHostname(domain)
}

// validDomain says whether ETRN may name it: a host name or an address literal.
func validDomain(name string) bool {
	if strings.HasPrefix(name, "[") {
		_, ok := netaddr.Literal(name)
		return ok
	}
	return netaddr.ValidHostname(name)
}
