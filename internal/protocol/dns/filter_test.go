package dns_test

import (
	"context"
	"net/netip"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/protocol/dns"
	"postern/internal/table"
	"postern/internal/table/pattern"
)

type fixed []dns.Record

func (f fixed) Lookup(context.Context, string, dns.Type) dns.Answer {
	return dns.Answer{Class: dns.OK, Records: f}
}

func TestFilter(t *testing.T) {
	log, _ := maillog.Record()
	maps, err := table.NewOpener(pattern.Types()).Maps("smtpd_dns_reply_filter",
		`regexp:{ {/^x\.example\. 300 IN MX 10 a\.example\.$/ ignore}, {/ IN A 192\.0\.2\.1$/ IGNORE}, {/192\.0\.2\.9/ WHAT} }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	mx := func(pref uint16, host string) dns.Record {
		return dns.Record{Type: dns.MX, Name: "x.example", TTL: 300, Pref: pref, Host: host}
	}
	a := func(s string) dns.Record {
		return dns.Record{Type: dns.A, Name: "x.example", TTL: 300, Addr: netip.MustParseAddr(s)}
	}
	for _, tt := range []struct {
		name  string
		in    fixed
		class dns.Class
		left  int
	}{
		{"one of two", fixed{mx(10, "a.example"), mx(20, "b.example")}, dns.OK, 1},
		{"all", fixed{a("192.0.2.1")}, dns.Policy, 0},
		{"none", fixed{a("192.0.2.2")}, dns.OK, 1},
		{"a result that is no action", fixed{a("192.0.2.9")}, dns.Retry, 0},
	} {
		f := &dns.Filter{Resolver: tt.in, Maps: maps, Log: log}
		got := f.Lookup(t.Context(), "x.example", dns.MX)
		if got.Class != tt.class || len(got.Records) != tt.left {
			t.Errorf("%s: class %v, %d records, want %v, %d (%s)", tt.name, got.Class, len(got.Records), tt.class, tt.left, got.Reason)
		}
	}
}
