package trivialrewrite

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/mail/address"
)

// A destination is an address with all instances of the local domain stripped
// off: the address as mail is delivered to, and whether its domain is local.
type destination struct {
	recipient string // internal form, always with a domain
	domain    string
	local     bool
	bad       bool // the domain is no host name and no address literal
	routed    bool // the local part has routing operators left
}

// destination strips local domains, and makes user%domain and site!user into
// user@domain, until the domain is a foreign one or nothing is left to strip.
// That keeps user@elsewhere@here from being relayed unnoticed.
func (s *Server) destination(ctx context.Context, addr string) (destination, error) {
	st := stripper{s: s, t: address.Scan(nil, s.external(addr), 0)}
	for limit := len(addr) + 100; ; limit-- {
		if limit < 0 {
			return destination{}, fmt.Errorf("resolve_addr: <%s>: giving up", addr)
		}
		again, err := st.step(ctx)
		if err != nil {
			return destination{}, err
		}
		if !again {
			break
		}
	}
	t := st.t
	if st.saved != nil && !st.foreign {
		t = append(clone(t), st.saved...)
	}
	return s.checked(ctx, internal(t), !st.foreign)
}

// external is addr in external form, in which a local part with '@' stays as
// it is where resolve_dequoted_address asks for that.
func (s *Server) external(addr string) string {
	if s.config.ResolveDequoted {
		local, domain := address.Split(addr)
		plain := address.Join(strings.ReplaceAll(local, "@", "x"), domain)
		if quote(plain) == plain {
			return addr
		}
	}
	return quote(addr)
}

// A stripper is the state of the loop.
type stripper struct {
	s       *Server
	t       []address.Token
	saved   []address.Token // the last local "@domain" that was stripped
	foreign bool            // t ends in a domain that is not local
}

func (st *stripper) step(ctx context.Context) (again bool, err error) {
	if last(st.t, '@') >= 0 {
		st.t = stripDot(st.t)
	}
	if n := len(st.t); st.s.config.ResolveNullDomain && n > 0 && st.t[n-1].Kind == '@' {
		st.t = st.t[:n-1]
	}
	if at := last(st.t, '@'); at >= 0 {
		if at+1 < len(st.t) {
			local, err := st.s.classes.Local(ctx, internal(st.t[at+1:]))
			if err != nil {
				return false, err
			}
			if !local {
				st.foreign = true
				return false, nil
			}
		}
		st.saved = clone(st.t[at:])
		st.t = st.t[:at]
	}
	if st.routing() || st.cracked() {
		if len(st.t) != 1 || st.t[0].Kind != '@' { // a lone '@' is the next domain to strip
			st.t = st.s.local.tokens(st.t)
		}
		return true, nil
	}
	return st.complete(), nil
}

// routing says whether there are routing operators left.
func (st *stripper) routing() bool {
	return last(st.t, '@') >= 0 ||
		st.s.config.SwapBangpath && last(st.t, '!') >= 0 ||
		st.s.config.PercentHack && last(st.t, '%') >= 0
}

// cracked opens a quoted local part that hides a routing operator. That is not
// what the standard says; it stops relaying through quotes.
func (st *stripper) cracked() bool {
	if !st.s.config.ResolveDequoted || len(st.t) != 1 || st.t[0].Kind != address.Quoted {
		return false
	}
	text := st.t[0].Text
	op := strings.LastIndexByte(text, '@')
	if op < 0 && st.s.config.PercentHack {
		op = strings.LastIndexByte(text, '%')
	}
	if op < 0 && st.s.config.SwapBangpath {
		op = strings.LastIndexByte(text, '!')
	}
	if op < 0 {
		return false
	}
	if text[op] != '!' {
		text = quote(text[:op] + "@" + text[op+1:])
	}
	st.t = address.Scan(nil, text, 0)
	return true
}

// complete gives the null address and an address without a domain what is
// missing, and says whether it did.
func (st *stripper) complete() bool {
	if len(st.t) == 1 && st.t[0].Kind == address.Quoted && st.t[0].Text == "" {
		st.t = nil
	}
	switch {
	case len(st.t) == 0:
		st.t = address.Scan(nil, st.s.emptyRecipient, 0)
		return true
	case st.saved == nil:
		st.t = append(clone(st.t), address.Token{Kind: '@'})
		st.t = address.Scan(st.t, st.s.myhostname, 0)
		return true
	}
	return false
}

// checked looks at the domain of the finished address.
func (s *Server) checked(ctx context.Context, recipient string, local bool) (destination, error) {
	d := destination{recipient: recipient, local: local}
	_, d.domain = address.Split(recipient)
	switch {
	case strings.HasPrefix(d.domain, "["):
		_, ok := netaddr.Literal(d.domain)
		d.bad = !ok
	case s.validDomain(d.domain):
	case s.config.ResolveNumericDomain && netaddr.ValidAddress(d.domain):
		at := strings.LastIndexByte(recipient, '@')
		d.domain = "[" + d.domain + "]"
		d.recipient = recipient[:at+1] + d.domain
		own, err := s.classes.Local(ctx, d.domain)
		if err != nil {
			return d, err
		}
		d.local = d.local || own
	default:
		d.bad = true
	}
	// Postfix: whatever our own settings, another host may take ! and % for routing.
	op := strings.IndexAny(d.recipient, "@!%")
	d.routed = op >= 0 && d.recipient[op+1:] != d.domain
	return d, nil
}

func (s *Server) validDomain(domain string) bool {
	if s.utf8 {
		return netaddr.ValidUTF8Hostname(domain)
	}
	return netaddr.ValidHostname(domain)
}
