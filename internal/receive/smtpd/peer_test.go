package smtpd

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/protocol/dns"
	"postern/internal/receive/smtpd/restrict"
)

// hosts is a name service: "name TYPE" to data, "retry" for trouble.
type hosts map[string]string

func (h hosts) Lookup(_ context.Context, name string, t dns.Type) dns.Answer {
	data, ok := h[name+" "+t.String()]
	switch {
	case !ok:
		return dns.Answer{Class: dns.NotFound}
	case data == "retry":
		return dns.Answer{Class: dns.Retry}
	case t == dns.A || t == dns.AAAA:
		return dns.Answer{Class: dns.OK, Records: []dns.Record{{Type: t, Addr: netip.MustParseAddr(data)}}}
	}
	return dns.Answer{Class: dns.OK, Records: []dns.Record{{Type: t, Host: data}}}
}

func TestLookupPeer(t *testing.T) {
	world := hosts{
		"1.2.0.192.in-addr.arpa PTR": "good.example", "good.example A": "192.0.2.1",
		"2.2.0.192.in-addr.arpa PTR": "liar.example", "liar.example A": "192.0.2.99",
		"3.2.0.192.in-addr.arpa PTR": "gone.example",
		"4.2.0.192.in-addr.arpa PTR": "retry",
		"5.2.0.192.in-addr.arpa PTR": "slow.example", "slow.example A": "retry",
		"6.2.0.192.in-addr.arpa PTR": "bad name",
	}
	const okay, retry, perm = restrict.NameOK, restrict.NameRetry, restrict.NamePerm
	tests := []struct {
		addr, name, reverse   string
		status, reverseStatus int
		log                   string
	}{
		{"192.0.2.1", "good.example", "good.example", okay, okay, ""},
		{"192.0.2.2", unknown, "liar.example", perm, okay, "warning: hostname liar.example does not resolve to address 192.0.2.2"},
		{"192.0.2.3", unknown, "gone.example", perm, okay, "warning: hostname gone.example does not resolve to address 192.0.2.3: Name or service not known"},
		{"192.0.2.4", unknown, unknown, retry, retry, ""},
		{"192.0.2.5", unknown, "slow.example", retry, okay, "warning: hostname slow.example does not resolve to address 192.0.2.5: Temporary failure in name resolution"},
		{"192.0.2.6", unknown, unknown, perm, perm, "warning: address not listed for hostname bad name: invalid name"},
		{"192.0.2.7", unknown, unknown, perm, perm, ""},
	}
	for _, tt := range tests {
		log, lines := maillog.Record()
		s := &Server{log: log, names: &dns.Native{DNS: world}}
		s.conf.PeernameLookup = true
		p := peer{ip: netip.MustParseAddr(tt.addr), addr: tt.addr, name: unknown, reverse: unknown}
		s.lookupPeer(context.Background(), &p)
		if p.name != tt.name || p.reverse != tt.reverse || p.status != tt.status || p.reverseStatus != tt.reverseStatus {
			t.Errorf("%s: got %s %d, %s %d", tt.addr, p.name, p.status, p.reverse, p.reverseStatus)
		}
		if got := lines(); tt.log != "" && !slices.Contains(got, tt.log) {
			t.Errorf("%s: log %q, want %q", tt.addr, got, tt.log)
		}
	}
}
