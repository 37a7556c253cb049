package restrict

import (
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/mail/address"
	"postern/internal/protocol/dns"
)

// A hostKind says which hosts of a domain a check_*_access looks at.
type hostKind uint8

const (
	hostA  hostKind = iota // its own addresses
	hostMX                 // its mail exchangers
	hostNS                 // its name servers
)

func (k hostKind) String() string { return [...]string{"address", "MX", "NS"}[k] }

type checkFunc = func(v *eval, it *item) Verdict

func checkClientServer(k hostKind) checkFunc {
	return func(v *eval, it *item) Verdict {
		if v.s.ClientName == "unknown" {
			return Verdict{}
		}
		return v.serverAccess(it, k, v.s.ClientName, v.subject(aboutClient), aboutClient)
	}
}

func checkReverseServer(k hostKind) checkFunc {
	return func(v *eval, it *item) Verdict {
		if v.s.ReverseName == "unknown" {
			return Verdict{}
		}
		return v.serverAccess(it, k, v.s.ReverseName, v.s.ReverseName, aboutReverse)
	}
}

func checkHeloServer(k hostKind) checkFunc {
	return func(v *eval, it *item) Verdict {
		if !v.s.HasHelo {
			return Verdict{}
		}
		return v.serverAccess(it, k, v.s.Helo, v.s.Helo, aboutHelo)
	}
}

func checkSenderServer(k hostKind) checkFunc {
	return func(v *eval, it *item) Verdict {
		if !v.s.HasSender || v.s.Sender == "" {
			return Verdict{}
		}
		return v.serverAccess(it, k, domainOf(v.s.Sender), v.s.Sender, aboutSender)
	}
}

func checkRecipientServer(k hostKind) checkFunc {
	return func(v *eval, it *item) Verdict {
		if !v.s.HasRecipient || v.s.Recipient == "" {
			return Verdict{}
		}
		return v.serverAccess(it, k, domainOf(v.s.Recipient), v.s.Recipient, aboutRecipient)
	}
}

// domainOf is the domain of an address. Postfix: one without is a domain itself.
func domainOf(addr string) string {
	if _, domain := address.Split(addr); domain != "" {
		return domain
	}
	return addr
}

// Bounds of what one check looks up.
const (
	maxServers = 20
	maxAddrs   = 100
)

// serverAccess looks for the names and addresses of hosts that a domain names:
// the first one in the table decides. Hosts that cannot be found now are passed
// over with a warning (Postfix: the same).
func (v *eval) serverAccess(it *item, k hostKind, domain, what, about string) Verdict {
	domain = bareHost(domain)
	if strings.HasPrefix(domain, "[") {
		addr, ok := netaddr.Literal(domain)
		if !ok {
			return Verdict{}
		}
		w, _ := v.addrAccess(it, addr.String(), what, about)
		return w
	}
	if domain == "" || !isASCII(domain) {
		return Verdict{}
	}
	addrs := 0
	asked := what // Postfix: in warnings the whole address, but of a client its name alone
	if about == aboutClient {
		asked = domain
	}
	for _, host := range v.hosts(k, domain, asked) {
		if k != hostA {
			if w, found := v.nameAccess(it, host, what, about); found {
				return w
			}
		}
		a := v.host.Host(v.ctx, host, dns.A, dns.AAAA)
		if a.Class != dns.OK {
			if k != hostA { // Postfix: the same
				v.env.Log.Warningf("Unable to look up %s host %s for %s %s: %s", k, host, about, what, dns.LookupText(&a))
			}
			continue
		}
		for _, addr := range a.Addrs() {
			if addrs++; addrs > maxAddrs {
				return Verdict{}
			}
			if w, found := v.addrAccess(it, addr.Unmap().String(), what, about); found {
				return w
			}
		}
	}
	return Verdict{}
}

// hosts lists the hosts of a domain.
func (v *eval) hosts(k hostKind, domain, asked string) []string {
	if k == hostA {
		return []string{domain}
	}
	t := dns.MX
	if k == hostNS {
		t = dns.NS
	}
	a := v.env.DNS.Lookup(v.ctx, domain, t)
	// The name servers of a name are those of the zone that it is in.
	for k == hostNS && a.Class == dns.NotFound {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || parent == "" {
			break
		}
		domain = parent
		a = v.env.DNS.Lookup(v.ctx, domain, t)
	}
	switch a.Class {
	case dns.OK:
	case dns.NotFound:
		if k == hostMX {
			return []string{domain}
		}
		v.env.Log.Warningf("Unable to look up %s host for %s: %s", k, asked, lastPart(a.Reason)) // Postfix: not the domain
		return nil
	case dns.NullMX:
		return nil
	default:
		v.env.Log.Warningf("Unable to look up %s host for %s: %s", k, domain, lastPart(a.Reason))
		return nil
	}
	var hosts []string
	for i := range a.Records {
		if len(hosts) < maxServers {
			hosts = append(hosts, a.Records[i].Host)
		}
	}
	return hosts
}
