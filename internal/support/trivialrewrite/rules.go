package trivialrewrite

import (
	"strings"

	"postern/internal/mail/address"
)

// rules complete an address.
type rules struct {
	swapBangpath, percentHack  bool
	appendOrigin, appendDomain bool
	origin                     string // what user becomes user@origin with; "": nothing
	domain                     string // what user@host becomes user@host.domain with; "": nothing
}

// Rewrite completes an address in external form.
func (r *rules) Rewrite(addr string) string {
	if addr == "" {
		return addr
	}
	out := internal(r.tokens(address.Scan(nil, addr, 0)))
	if out == "" {
		return `""`
	}
	return quote(out)
}

// quote is address.Quote822 that leaves a source route before the address alone.
func quote(addr string) string {
	colon := strings.IndexByte(addr, ':')
	if colon < 0 || addr[0] != '@' {
		return address.Quote822(addr)
	}
	if colon == len(addr)-1 {
		return addr + `""`
	}
	return addr[:colon+1] + address.Quote822(addr[colon+1:])
}

// internal is the internal form of tokens, with a space between words and
// after commas.
func internal(t []address.Token) string {
	var b []byte
	for i := range t {
		b = address.AppendInternal(b, t[i:i+1])
		if i+1 < len(t) && (t[i].Kind == ',' || t[i+1].Kind == '<' || word(t[i]) && word(t[i+1]) && !piped(t[i], t[i+1])) {
			b = append(b, ' ')
		}
	}
	return string(b)
}

func word(t address.Token) bool {
	return t.Kind == address.Atom || t.Kind == address.Quoted || t.Kind == address.Comment || t.Kind == address.Literal
}

// tokens applies the rules in Postfix's order: source route, !, %, origin,
// domain, dot at the end.
func (r *rules) tokens(t []address.Token) []address.Token {
	switch {
	case len(t) == 0 || len(t) == 1 && t[0].Kind == address.Quoted && t[0].Text == "":
		return t // the null address
	case len(t) == 1 && t[0].Kind == '@':
		return []address.Token{{Kind: address.Quoted}}
	}
	if t[0].Kind == '@' {
		if colon := first(t, ':'); colon >= 0 && colon != len(t)-1 {
			t = t[colon+1:]
		}
	}
	if last(t, '@') < 0 {
		t = r.withDomain(t)
	}
	if at := last(t, '@'); r.appendDomain && r.domain != "" && at >= 0 && at != len(t)-1 &&
		first(t[at:], address.Literal) < 0 && first(t[at:], '.') < 0 {
		t = append(clone(t), address.Token{Kind: '.'})
		t = address.Scan(t, r.domain, 0)
	}
	return stripDot(t)
}

// withDomain gives an address without '@' a domain.
func (r *rules) withDomain(t []address.Token) []address.Token {
	if bang := first(t, '!'); r.swapBangpath && bang >= 0 {
		out := append(clone(t[bang+1:]), address.Token{Kind: '@'})
		return append(out, t[:bang]...)
	}
	if percent := last(t, '%'); r.percentHack && percent >= 0 {
		t = clone(t)
		t[percent].Kind = '@'
		return t
	}
	if r.appendOrigin && r.origin != "" {
		t = append(clone(t), address.Token{Kind: '@'})
		t = address.Scan(t, r.origin, 0)
	}
	return t
}

// stripDot takes the dot off the end of a domain. "..", "@." are left for a
// clearer complaint later.
func stripDot(t []address.Token) []address.Token {
	if n := len(t); n >= 2 && t[n-1].Kind == '.' && t[n-2].Kind != '.' && t[n-2].Kind != '@' {
		return t[:n-1]
	}
	return t
}

func clone(t []address.Token) []address.Token { return append([]address.Token{}, t...) }

func first(t []address.Token, k address.Kind) int {
	for i := range t {
		if t[i].Kind == k {
			return i
		}
	}
	return -1
}

func last(t []address.Token, k address.Kind) int {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i].Kind == k {
			return i
		}
	}
	return -1
}

// piped says whether a bar, which is an operator to Postfix, stands where two
// words meet.
func piped(left, right address.Token) bool {
	return left.Kind == address.Atom && strings.HasSuffix(left.Text, "|") ||
		right.Kind == address.Atom && strings.HasPrefix(right.Text, "|")
}
