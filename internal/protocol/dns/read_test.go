package dns

import (
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// FuzzReply reads arbitrary replies as answers to each kind of question.
func FuzzReply(f *testing.F) {
	m := new(wire.Msg)
	m.SetQuestion("a.example.", wire.TypeMX)
	m.Response = true
	for _, s := range []string{"a.example. CNAME b.example.", "b.example. MX 1 c.example.", "a.example. TXT \"x\"", "b.example. MX 0 ."} {
		rr, err := wire.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	c := NewClient(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(wire.Msg)
		if m.Unpack(b) != nil {
			return
		}
		for _, typ := range []Type{A, AAAA, MX, PTR, TXT, CNAME, TLSA, SRV} {
			a, alias := c.read(m, "a.example", typ)
			if alias == "" && a.Class == OK && len(a.Records) == 0 {
				t.Fatalf("%s: success without records", typ)
			}
			if a.Class != OK && a.Reason == "" {
				t.Fatalf("%s: failure without reason", typ)
			}
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\noptions timeout:1 attempts:0\n")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseConfig(strings.NewReader(s))
		if err == nil && (len(c.Servers) == 0 || len(c.Servers) > maxServers || c.Attempts < 1 || c.Timeout <= 0) {
			t.Fatalf("unusable configuration %+v", c)
		}
	})
}

func TestParamsOpen(t *testing.T) {
	tests := []struct {
		text, want string
		trust      bool
	}{
		{"127.0.0.1:5353", "127.0.0.1:5353", true},
		{"127.0.0.1, [::1]:54", "127.0.0.1:53 [::1]:54", true},
		{"[2001:db8::1]", "[2001:db8::1]:53", false},
		{"localhost:53", "", false},
		{"127.0.0.1:x", "", false},
	}
	for _, tt := range tests {
		p := Params{Addresses: tt.text}
		c, err := p.Open()
		if (err != nil) != (tt.want == "") {
			t.Errorf("%q: error %v", tt.text, err)
			continue
		}
		if err == nil && (strings.Join(c.conf.Servers, " ") != tt.want || c.conf.TrustAD != tt.trust) {
			t.Errorf("%q: got %v, want %s", tt.text, c.conf, tt.want)
		}
	}
}
