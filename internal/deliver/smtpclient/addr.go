package smtpclient

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/mail/dsn"
	"postern/internal/protocol/dns"
)

// lookup finds the places of one destination. It keeps the reason when there
// are none; a temporary reason is never replaced by a permanent one.
type lookup struct {
	c          *Client
	ctx        context.Context
	detectLoop bool // the port is that of a mail server, which may be this host
	why        dsn.Result
	selfFound  bool // this host is among the mail exchangers
}

// places returns the places of a destination in the order in which to try them.
func (l *lookup) places(d destination) []place {
	l.why = dsn.Result{}
	var list []place
	if d.mx {
		list = l.domain(d.host)
	} else {
		list = l.host(d.host)
	}
	for i := range list {
		list[i].port = d.port
	}
	return list
}

// ascii is the form of a domain that DNS knows. A name that cannot be
// converted is asked for as it is, and not found.
func ascii(name string) string {
	for i := range len(name) {
		if name[i] > 127 {
			p := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
				idna.StrictDomainName(false), idna.CheckHyphens(false))
			if a, err := p.ToASCII(name); err == nil {
				return a
			}
			return name
		}
	}
	return name
}

// domain returns the places of a domain's mail exchangers; a domain without
// any is its own (RFC 5321 5.1).
func (l *lookup) domain(name string) []place {
	asked := ascii(name)
	mx := l.c.resolver.Lookup(l.ctx, asked, dns.MX)
	if mx.Class != dns.OK {
		l.why.Reason = mx.Reason
	}
	switch mx.Class {
	case dns.OK:
		return l.exchangers(name, mx.Records)
	case dns.NotFound:
		return l.host(name)
	case dns.NullMX:
		l.why.Status = "5.1.0"
		return nil
	case dns.Policy:
		l.why.Status = "4.7.0"
		return nil
	case dns.Invalid:
		l.why.Status = "5.4.4"
	case dns.Fail:
		l.why.Status = "5.4.3"
	default:
		l.why.Status = "4.4.3"
	}
	if l.c.config.IgnoreMXError {
		l.why = dsn.Result{}
		return l.host(name)
	}
	return nil
}

func (l *lookup) exchangers(name string, records []dns.Record) []place {
	records = slices.Clone(records)
	sort.SliceStable(records, func(i, j int) bool { return records[i].Pref < records[j].Pref })
	var list []place
	for i := range records {
		list = append(list, l.address(records[i].Host, uint32(records[i].Pref))...)
	}
	if len(list) == 0 {
		if l.c.config.DeferNoMXAddress && hard(&l.why) {
			l.why.Status = l.why.Status.WithClass('4')
		}
		l.c.env.Log.Warningf("no MX host for %s has a valid address record", name)
		return nil
	}
	best := list[0].pref
	if self, found := l.self(list); found {
		l.selfFound = true
		list = list[:slices.IndexFunc(list, func(p place) bool { return p.pref >= self })]
		if len(list) == 0 {
			if best != uint32(records[0].Pref) {
				l.why = dsn.Make("4.4.4", "unable to find primary relay for "+name)
			} else {
				l.why = dsn.Make("5.4.6", "mail for "+name+" loops back to myself")
			}
			return nil
		}
	}
	return l.order(list)
}

// host returns the places of a host name or address.
func (l *lookup) host(name string) []place {
	list := l.address(ascii(name), 0)
	if _, found := l.self(list); found {
		l.why = dsn.Make("5.4.6", "mail for "+name+" loops back to myself")
		return nil
	}
	return l.order(list)
}

// self looks for this host: its own addresses and proxy_interfaces. It returns
// the preference of the first place that is.
func (l *lookup) self(list []place) (pref uint32, found bool) {
	if !l.detectLoop {
		return 0, false
	}
	for i := range list {
		if slices.Contains(l.c.own, list[i].addr.Unmap().WithZone("")) {
			return list[i].pref, true
		}
	}
	return 0, false
}

// address returns the places of one host.
func (l *lookup) address(host string, pref uint32) []place {
	if a, err := netip.ParseAddr(host); err == nil {
		if !l.c.families.Allow(a) {
			l.fail("5.4.4", fmt.Sprintf("unable to look up host %s: protocol not enabled", host))
			return nil
		}
		return []place{{host: host, addr: a.Unmap(), pref: pref}}
	}
	types := l.c.addressTypes()
	if len(types) == 0 {
		l.fail("5.4.4", "all network protocols are disabled")
		return nil
	}
	if l.c.lookupDNS {
		a := dns.Addresses(l.ctx, l.c.resolver, host, types...)
		if a.Class == dns.OK {
			return toPlaces(a.Addrs(), host, pref)
		}
		l.dnsFailure(&a)
		if a.Class != dns.NotFound || !l.c.lookupNative {
			return nil
		}
	}
	a := l.c.native.Host(l.ctx, host, types...)
	if a.Class == dns.OK {
		return toPlaces(a.Addrs(), host, pref)
	}
	status := dsn.Status("5.4.4")
	if a.Class == dns.Retry {
		status = "4.4.3"
	}
	l.fail(status, "unable to look up host "+host+": "+dns.LookupText(&a))
	return nil
}

func toPlaces(addrs []netip.Addr, host string, pref uint32) []place {
	list := make([]place, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, place{host: host, addr: a.Unmap(), pref: pref})
	}
	return list
}

func (l *lookup) dnsFailure(a *dns.Answer) {
	switch a.Class {
	case dns.Fail:
		l.fail("5.4.3", a.Reason)
	case dns.Invalid, dns.NotFound, dns.NullMX:
		l.fail("5.4.4", a.Reason)
	case dns.Policy:
		l.fail("5.7.0", a.Reason)
	default:
		l.fail("4.4.3", a.Reason)
	}
}

// fail keeps the text of the last failure; once there was a temporary one, the
// status stays temporary.
func (l *lookup) fail(status dsn.Status, text string) {
	if soft(&l.why) {
		status = status.WithClass('4')
	}
	l.why = dsn.Make(status, text)
}

// order puts places of equal preference in a random order, or one address
// family first, and keeps one family from crowding out the other.
func (l *lookup) order(list []place) []place {
	conf := &l.c.config
	if len(list) < 2 {
		return list
	}
	if conf.RandomizeAddrs {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	sort.SliceStable(list, func(i, j int) bool {
		a, b := &list[i], &list[j]
		if a.pref != b.pref {
			return a.pref < b.pref
		}
		switch conf.AddressPreference {
		case "ipv4":
			return a.addr.Is4() && !b.addr.Is4()
		case "ipv6":
			return !a.addr.Is4() && b.addr.Is4()
		}
		return false
	})
	if conf.BalanceProtocols && conf.MXAddressLimit > 1 && len(list) > conf.MXAddressLimit {
		list = balance(list, conf.MXAddressLimit, conf.AddressPreference)
	}
	return list
}

// balance keeps limit places and gives each address family half of them, as
// far as there are enough.
func balance(list []place, limit int, preference string) []place {
	var have [2]int // IPv4, IPv6
	family := func(p *place) int {
		if p.addr.Is4() {
			return 0
		}
		return 1
	}
	for i := range list {
		have[family(&list[i])]++
	}
	want := [2]int{limit / 2, limit / 2}
	switch {
	case have[0] <= limit/2:
		want = [2]int{have[0], limit - have[0]}
	case have[1] <= limit/2:
		want = [2]int{limit - have[1], have[1]}
	case limit%2 != 0 && preference == "ipv4":
		want[0]++
	case limit%2 != 0:
		want[1]++
	}
	kept := list[:0:0]
	for i := range list {
		if f := family(&list[i]); want[f] > 0 {
			want[f]--
			kept = append(kept, list[i])
		}
	}
	return kept
}

// addressTypes are the records to ask for.
func (c *Client) addressTypes() []dns.Type {
	var types []dns.Type
	if c.families.IPv4 {
		types = append(types, dns.A)
	}
	if c.families.IPv6 {
		types = append(types, dns.AAAA)
	}
	return types
}

// parseHostLookup reads smtp_host_lookup.
func parseHostLookup(text string) (viaDNS, native bool, err error) {
	for _, w := range splitNexthop(text) {
		switch strings.ToLower(w) {
		case "dns":
			viaDNS = true
		case "native":
			native = true
		default:
			return false, false, fmt.Errorf("unknown host lookup method: %.100q", w)
		}
	}
	return viaDNS, native, nil
}
