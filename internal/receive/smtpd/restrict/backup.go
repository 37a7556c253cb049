package restrict

import (
	"strings"

	"postern/internal/ipc/rewrite"
	"postern/internal/protocol/dns"
)

// permitMXBackup permits a recipient whose domain names this system as one of
// its mail exchangers, and whose primary ones are in permit_mx_backup_networks
// where that is set.
func permitMXBackup(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	r, trouble := v.resolve(v.s.Sender, v.s.Recipient)
	if trouble.Kind != Dunno {
		return trouble
	}
	at := strings.LastIndexByte(r.Recipient, '@')
	switch {
	case at < 0:
		return permit()
	case r.Flags&rewrite.Routed != 0:
		return Verdict{}
	case strings.HasPrefix(r.Recipient[at+1:], "["):
		return Verdict{} // an address literal has no mail exchanger
	case r.Flags&destinations != 0:
		return permit()
	}
	domain := bareHost(r.Recipient[at+1:])
	a := v.env.DNS.Lookup(v.ctx, domain, dns.MX)
	switch a.Class {
	case dns.OK:
	case dns.NotFound, dns.NullMX:
		return Verdict{}
	default:
		return v.noExchangers("Unable to look up mail exchanger information: " + lastPart(a.Reason))
	}
	here, trouble := v.exchangerHere(a.Records)
	if !here || v.mxBackup.Empty() {
		if here {
			return permit()
		}
		return trouble
	}
	return v.primariesListed(a.Records)
}

// noExchangers puts a refusal off, because it is not known whether this system
// is a backup.
func (v *eval) noExchangers(why string) Verdict {
	return Verdict{Kind: DeferIfReject, Reply: reply(450, "4.4.4", rejected(v.s.Recipient, aboutRecipient, why)), fault: true}
}

// lastPart is what the resolver said, without the question.
func lastPart(reason string) string {
	if i := strings.LastIndex(reason, ": "); i >= 0 {
		return reason[i+2:]
	}
	return reason
}

// exchangerHere says whether one of the hosts is this system: a backup, not
// one of the most preferred.
func (v *eval) exchangerHere(hosts []dns.Record) (bool, Verdict) {
	trouble, best := Verdict{}, bestPref(hosts)
	for i := range hosts {
		if i == maxServers {
			break
		}
		a := dns.Addresses(v.ctx, v.env.DNS, bareHost(hosts[i].Host), dns.A, dns.AAAA)
		if a.Class == dns.Retry {
			trouble = v.noExchangers("Unable to look up mail exchanger host " + hosts[i].Host + ": " + dns.LookupText(&a))
		}
		for _, addr := range a.Addrs() {
			if v.env.Own != nil && v.env.Own(addr.Unmap()) || v.env.Proxy != nil && v.env.Proxy(addr.Unmap()) {
				return hosts[i].Pref != best, Verdict{}
			}
		}
	}
	return false, trouble
}

// primariesListed permits when all most preferred exchangers are in
// permit_mx_backup_networks.
func (v *eval) primariesListed(hosts []dns.Record) Verdict {
	best := bestPref(hosts)
	for i := range hosts {
		if hosts[i].Pref != best {
			continue
		}
		host := bareHost(hosts[i].Host)
		a := dns.Addresses(v.ctx, v.env.DNS, host, dns.A, dns.AAAA)
		if a.Class != dns.OK {
			return v.noExchangers("Unable to look up host " + host + " as mail exchanger: " + dns.LookupText(&a))
		}
		for _, addr := range a.Addrs() {
			ok, err := v.mxBackup.Match(v.ctx, host, addr.Unmap().String())
			if err != nil {
				return v.tableTrouble()
			}
			if !ok {
				return Verdict{}
			}
		}
	}
	return permit()
}

func bestPref(hosts []dns.Record) uint16 {
	best := hosts[0].Pref
	for i := range hosts {
		best = min(best, hosts[i].Pref)
	}
	return best
}
