package dns_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/protocol/dns"
	"postern/internal/protocol/dns/dnstest"
)

const zone = `
a.example.        600 MX 10 mx1.a.example.
a.example.        60  MX 20 mx2.a.example.
mx1.a.example.    A  192.0.2.1
mx1.a.example.    AAAA 2001:db8::1
mx2.a.example.    A  192.0.2.2
txt.example.      TXT "v=1 " "a\"b\\c" "\001"
null.example.     MX 0 .
alias.example.    CNAME a.example.
loop1.example.    CNAME loop2.example.
loop2.example.    CNAME loop1.example.
dangling.example. CNAME nothing.example.
badmx.example.    MX 10 -x.example.
nummx.example.    MX 10 192.0.2.3.
1.2.0.192.in-addr.arpa. PTR mx1.a.example.
_25._tcp.mx1.a.example. TLSA 3 1 1 0102
!servfail bad.example.
!refused no.example.
!timeout slow.example.
!truncate big.example.
big.example.      A 192.0.2.9
`

// show puts an answer into one line.
func show(a dns.Answer) string {
	if !a.Found() {
		return a.Reason
	}
	var parts []string
	for _, r := range a.Records {
		s := r.Type.String() + " "
		switch r.Type {
		case dns.A, dns.AAAA:
			s += r.Addr.String()
		case dns.MX:
			s += fmt.Sprintf("%d %s", r.Pref, r.Host)
		case dns.TXT:
			s += fmt.Sprintf("%q", r.Text)
		case dns.TLSA:
			s += fmt.Sprintf("%x", r.Data)
		default:
			s += r.Host
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func TestLookup(t *testing.T) {
	const notFound = "Host or domain name not found. Name service error for name="
	s := dnstest.Start(t, zone)
	tests := []struct {
		name  string
		typ   dns.Type
		class dns.Class
		want  string
	}{
		{"a.example", dns.MX, dns.OK, "MX 10 mx1.a.example; MX 20 mx2.a.example"},
		{"A.Example.", dns.MX, dns.OK, "MX 10 mx1.a.example; MX 20 mx2.a.example"},
		{"alias.example", dns.MX, dns.OK, "MX 10 mx1.a.example; MX 20 mx2.a.example"},
		{"alias.example", dns.CNAME, dns.OK, "CNAME a.example"},
		{"mx1.a.example", dns.AAAA, dns.OK, "AAAA 2001:db8::1"},
		{"txt.example", dns.TXT, dns.OK, `TXT "v=1 a\"b\\c\x01"`},
		{"_25._tcp.mx1.a.example", dns.TLSA, dns.OK, "TLSA 0301010102"},
		{"big.example", dns.A, dns.OK, "A 192.0.2.9"},
		{"nummx.example", dns.MX, dns.OK, "MX 10 192.0.2.3"},
		{"null.example", dns.MX, dns.NullMX, "Domain null.example does not accept mail (nullMX)"},
		{"mx2.a.example", dns.AAAA, dns.NotFound, notFound + "mx2.a.example type=AAAA: Host found but no data record of requested type"},
		{"nothing.example", dns.A, dns.NotFound, notFound + "nothing.example type=A: Host not found"},
		{"dangling.example", dns.A, dns.NotFound, notFound + "nothing.example type=A: Host not found"},
		{"loop1.example", dns.A, dns.NotFound, "dns_lookup: Name server loop for loop1.example"},
		{"badmx.example", dns.MX, dns.Invalid, "Name service error for name=badmx.example type=MX: Malformed or unexpected name server reply"},
		{"bad.example", dns.MX, dns.Retry, notFound + "bad.example type=MX: Host not found, try again"},
		{"no.example", dns.MX, dns.Retry, notFound + "no.example type=MX: Host not found, try again"},
		{"slow.example", dns.MX, dns.Retry, notFound + "slow.example type=MX: Host not found, try again"},
		{"-a.example", dns.MX, dns.NotFound, "Name service error for -a.example: invalid host or domain name"},
	}
	for _, tt := range tests {
		a := s.Resolver().Lookup(context.Background(), tt.name, tt.typ)
		if got := show(a); a.Class != tt.class || got != tt.want {
			t.Errorf("Lookup(%s, %s) = class %d, %s; want class %d, %s", tt.name, tt.typ, a.Class, got, tt.class, tt.want)
		}
	}
}

func TestLookupTTL(t *testing.T) {
	s := dnstest.Start(t, zone)
	if a := s.Resolver().Lookup(context.Background(), "a.example", dns.MX); a.TTL != time.Minute {
		t.Errorf("TTL of records: got %s, want %s", a.TTL, time.Minute)
	}
	if a := s.Resolver().Lookup(context.Background(), "x.example", dns.MX); a.TTL != time.Minute {
		t.Errorf("TTL of a negative answer: got %s, want %s", a.TTL, time.Minute)
	}
}

func TestLookupServers(t *testing.T) {
	s := dnstest.Start(t, zone)
	bad := dnstest.Start(t, "!servfail a.example.")
	conf := s.Config()
	conf.Servers = []string{bad.Addr(), s.Addr()}
	for _, rotate := range []bool{false, true, true} {
		conf.Rotate = rotate
		if a := dns.NewClient(conf).Lookup(context.Background(), "a.example", dns.MX); !a.Found() {
			t.Errorf("a failing server hides a good one: %s", a.Reason)
		}
	}
	conf.UseTCP = true
	if a := dns.NewClient(conf).Lookup(context.Background(), "a.example", dns.MX); !a.Found() {
		t.Errorf("over TCP: %s", a.Reason)
	}
}

func TestLookupWithoutEDNS(t *testing.T) {
	s := dnstest.Start(t, "!noedns\na.example. A 192.0.2.1")
	if a := s.Resolver().Lookup(context.Background(), "a.example", dns.A); !a.Found() {
		t.Errorf("a server without EDNS: %s", a.Reason)
	}
}

func TestLookupAD(t *testing.T) {
	s := dnstest.Start(t, "!ad\na.example. A 192.0.2.1")
	conf := s.Config()
	for _, trust := range []bool{false, true} {
		conf.TrustAD = trust
		if a := dns.NewClient(conf).Lookup(context.Background(), "a.example", dns.A); a.AD != trust {
			t.Errorf("trust-ad %v: AD is %v", trust, a.AD)
		}
	}
}

func TestLookupCancelled(t *testing.T) {
	s := dnstest.Start(t, zone)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a := s.Resolver().Lookup(ctx, "a.example", dns.MX); a.Class != dns.Retry {
		t.Errorf("class %d, want Retry", a.Class)
	}
}

func TestAddresses(t *testing.T) {
	s := dnstest.Start(t, zone)
	tests := []struct {
		name, want string
	}{
		{"mx1.a.example", "A 192.0.2.1; AAAA 2001:db8::1"},
		{"mx2.a.example", "A 192.0.2.2"},
		{"bad.example", "Host or domain name not found. Name service error for name=bad.example type=AAAA: Host not found, try again"},
	}
	for _, tt := range tests {
		if got := show(dns.Addresses(context.Background(), s.Resolver(), tt.name, dns.A, dns.AAAA)); got != tt.want {
			t.Errorf("Addresses(%s) = %s; want %s", tt.name, got, tt.want)
		}
	}
}

func TestReverse(t *testing.T) {
	s := dnstest.Start(t, zone)
	if got, want := show(dns.Reverse(context.Background(), s.Resolver(), netip.MustParseAddr("192.0.2.1"))), "PTR mx1.a.example"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	if got := dns.ReverseName(netip.MustParseAddr("2001:db8::1")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNative(t *testing.T) {
	s := dnstest.Start(t, zone)
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("# comment\n192.0.2.77 here.example here # x\n::7 here.example\nbad line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &dns.Native{Hosts: hosts, DNS: s.Resolver()}
	ctx := context.Background()
	for _, tt := range []struct{ name, want string }{
		{"HERE", "A 192.0.2.77"},
		{"here.example", "A 192.0.2.77; AAAA ::7"},
		{"mx2.a.example", "A 192.0.2.2"},
	} {
		if got := show(n.Host(ctx, tt.name, dns.A, dns.AAAA)); got != tt.want {
			t.Errorf("Host(%s) = %s; want %s", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.77", "PTR here.example"},
		{"::ffff:192.0.2.1", "PTR mx1.a.example"},
	} {
		if got := show(n.Addr(ctx, netip.MustParseAddr(tt.addr))); got != tt.want {
			t.Errorf("Addr(%s) = %s; want %s", tt.addr, got, tt.want)
		}
	}
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := `; comment
nameserver 192.0.2.1
nameserver 2001:db8::1 # second
nameserver nonsense
search example
options timeout:99 attempts:3 rotate trust-ad use-vc unknown
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := dns.ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c)
	want := "{[192.0.2.1:53 [2001:db8::1]:53] 30s 3 true true true}"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if c, err := dns.ReadConfig(path + ".none"); err != nil || len(c.Servers) != 1 {
		t.Errorf("missing file: %v, %v", c, err)
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]bool{
		"a.example": true, "_x._y.a": true, "*.a": true, "a": true, "3com.example": true,
		"": false, "1.2.3": false, "a..b": false, ".a": false, "-a.b": false, "a-.b": false, "a b": false,
		"bücher.example": false, strings.Repeat("a", 64): false, strings.Repeat("a.", 128) + "a": false,
	} {
		if got := dns.CheckName(name) == nil; got != want {
			t.Errorf("CheckName(%q) passes: %v, want %v", name, got, want)
		}
	}
}
