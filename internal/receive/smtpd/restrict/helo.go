package restrict

import (
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/protocol/dns"
)

func rejectInvalidHelo(v *eval, _ *item) Verdict {
	if !v.s.HasHelo {
		return Verdict{}
	}
	if v.s.Helo == "" || v.s.Helo[0] == '[' {
		return v.heloLiteral()
	}
	if name := bareHost(v.s.Helo); !netaddr.ValidHostname(name) && !netaddr.ValidAddress(name) {
		return v.heloRefused(v.InvalidHostname, "Invalid name")
	}
	return Verdict{}
}

func (v *eval) heloRefused(code int, why string) Verdict {
	return reject(code, "5.5.2", rejected(v.s.Helo, aboutHelo, why))
}

// heloLiteral refuses what begins like an address literal and is none.
func (v *eval) heloLiteral() Verdict {
	if _, ok := netaddr.Literal(v.s.Helo); ok {
		return Verdict{}
	}
	return v.heloRefused(v.InvalidHostname, "invalid ip address")
}

func rejectNonFQDNHelo(v *eval, _ *item) Verdict {
	if !v.s.HasHelo {
		return Verdict{}
	}
	if strings.HasPrefix(v.s.Helo, "[") {
		return v.heloLiteral()
	}
	name := bareHost(v.s.Helo)
	if !netaddr.ValidHostname(name) || !strings.Contains(name, ".") {
		return v.heloRefused(v.NonFQDN, "need fully-qualified hostname")
	}
	return Verdict{}
}

// rejectUnknownHelo refuses a name without address and mail exchanger.
func rejectUnknownHelo(v *eval, _ *item) Verdict {
	if !v.s.HasHelo {
		return Verdict{}
	}
	if strings.HasPrefix(v.s.Helo, "[") {
		return v.heloLiteral()
	}
	if v.s.SMTPUTF8 && !isASCII(v.s.Helo) {
		return Verdict{}
	}
	text := rejected(v.s.Helo, aboutHelo, "Host not found")
	if strings.HasSuffix(v.s.Helo, ".") { // Postfix: the same
		return reject(v.UnknownHelo, "4.7.1", text)
	}
	a := dns.Addresses(v.ctx, v.env.DNS, v.s.Helo, dns.A, dns.AAAA, dns.MX)
	switch a.Class {
	case dns.OK, dns.NullMX:
		return Verdict{}
	case dns.Retry:
		return later(v.UnknownHeloTempfail, reply(450, "4.7.1", text))
	}
	return reject(v.UnknownHelo, "4.7.1", text)
}

// bareHost takes the last dot off a name.
func bareHost(s string) string { return strings.TrimSuffix(s, ".") }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
