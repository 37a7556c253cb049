package restrict

import (
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/protocol/dns"
)

// resolve asks how mail for addr is delivered. An answer that cannot be had now
// is a verdict.
func (v *eval) resolve(sender, addr string) (rewrite.Resolved, Verdict) {
	r, err := v.env.Resolver.Resolve(v.ctx, sender, addr)
	if err != nil {
		v.env.Log.Warningf("resolve %s: %v", addr, err)
		return r, v.tryAgain(addr)
	}
	if r.Flags&rewrite.Fail != 0 {
		return r, v.tryAgain(addr)
	}
	return r, Verdict{}
}

// tryAgain refuses for now, because a table or a service does not answer.
func (v *eval) tryAgain(addr string) Verdict {
	w := reject(451, "4.3.0", "<"+addr+">: Temporary lookup failure")
	w.fault = true
	return w
}

// destinations are the classes of mail that this system has agreed to take.
const destinations = rewrite.ClassLocal | rewrite.ClassAlias | rewrite.ClassVirtual | rewrite.ClassRelay

// authorised says whether this system takes mail for the recipient.
func (v *eval) authorised() (bool, Verdict) {
	r, trouble := v.resolve(v.s.Sender, v.s.Recipient)
	if trouble.Kind != Dunno {
		return false, trouble
	}
	// An address without domain is local; one with routing operators is
	// too suspicious to be taken, unless the administrator says otherwise.
	if !strings.Contains(r.Recipient, "@") {
		return true, Verdict{}
	}
	if r.Flags&rewrite.Routed != 0 && !v.AllowUntrustedRouting {
		return false, Verdict{}
	}
	return r.Flags&destinations != 0, Verdict{}
}

func permitAuthDestination(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	ok, trouble := v.authorised()
	if ok {
		return permit()
	}
	return trouble
}

func rejectUnauthDestination(v *eval, _ *item) Verdict { return v.relayDenied(v.RelayCode) }

func deferUnauthDestination(v *eval, _ *item) Verdict { return v.relayDenied(v.RelayCode - 100) }

func (v *eval) relayDenied(code int) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	ok, trouble := v.authorised()
	if ok || trouble.Kind != Dunno {
		return trouble
	}
	return reject(code, "5.7.1", "<"+v.s.Recipient+">: Relay access denied")
}

func rejectNonFQDNSender(v *eval, _ *item) Verdict {
	if !v.s.HasSender || v.s.Sender == "" {
		return Verdict{}
	}
	return v.nonFQDN(v.s.Sender, aboutSender)
}

func rejectNonFQDNRecipient(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient || v.s.Recipient == "" {
		return Verdict{}
	}
	return v.nonFQDN(v.s.Recipient, aboutRecipient)
}

// nonFQDN refuses an address whose domain is missing, or has no dot.
func (v *eval) nonFQDN(addr, about string) Verdict {
	_, domain := address.Split(addr)
	if strings.HasPrefix(domain, "[") || fullName(domain) {
		return Verdict{}
	}
	return reject(v.NonFQDN, "5.5.2", rejected(addr, about, "need fully-qualified address"))
}

func fullName(domain string) bool {
	name := bareHost(domain)
	return netaddr.ValidUTF8Hostname(name) && strings.Contains(name, ".")
}

func rejectUnknownSenderDomain(v *eval, _ *item) Verdict {
	if !v.s.HasSender || v.s.Sender == "" {
		return Verdict{}
	}
	return v.unknownDomain(v.s.Sender, aboutSender, "5.1.8")
}

func rejectUnknownRecipientDomain(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient || v.s.Recipient == "" {
		return Verdict{}
	}
	return v.unknownDomain(v.s.Recipient, aboutRecipient, "5.1.2")
}

// unknownDomain refuses an address for which no mail server can be found. What
// this system delivers itself is known.
func (v *eval) unknownDomain(addr, about, status string) Verdict {
	r, trouble := v.resolve(v.s.Sender, addr)
	if trouble.Kind != Dunno {
		return trouble
	}
	at := strings.LastIndexByte(r.Recipient, '@')
	if at < 0 || r.Flags&(rewrite.ClassLocal|rewrite.ClassAlias|rewrite.ClassVirtual) != 0 {
		return Verdict{}
	}
	domain := r.Recipient[at+1:]
	if domain == "" || domain[0] == '[' || domain[0] == '#' {
		return Verdict{}
	}
	a := v.mailServer(bareHost(domain))
	switch a.Class {
	case dns.OK:
		return Verdict{}
	case dns.NullMX:
		code, status := 556, "5.1.10"
		if about == aboutSender {
			code, status = 550, "5.7.27"
		}
		return reject(code, statusFor(status), rejected(addr, about, "Domain "+domain+" does not accept mail (nullMX)"))
	case dns.Retry:
		return later(v.UnknownAddressTempfail, reply(450, statusFor(status), rejected(addr, about, "Domain not found")))
	case dns.Policy:
		v.env.Log.Warningf("%s: MX or address lookup error: %s", domain, lastPart(a.Reason))
		return Verdict{}
	case dns.Invalid:
		return reject(v.UnknownAddress, statusFor(status), rejected(addr, about, "Malformed DNS server reply"))
	}
	return reject(v.UnknownAddress, statusFor(status), rejected(addr, about, "Domain not found"))
}

// mailServer looks for the mail exchangers of a domain, or else its addresses.
func (v *eval) mailServer(domain string) dns.Answer {
	if !isASCII(domain) {
		ascii, err := toASCII(domain)
		if err != nil {
			return dns.Answer{Class: dns.NotFound}
		}
		domain = ascii
	}
	a := v.env.DNS.Lookup(v.ctx, domain, dns.MX)
	if a.Class != dns.NotFound {
		return a
	}
	return dns.Addresses(v.ctx, v.env.DNS, domain, dns.A, dns.AAAA)
}
