package netaddr

import (
	"net/netip"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3.4": "1.2.3.4/32", "10.0.0.0/8": "10.0.0.0/8", "[::1]": "::1/128", "[::]/0": "::/0", "[::/0]": "::/0",
		"0.0.0.0/0": "0.0.0.0/0", "10.0.0.1/8": "", "1.2.3": "", "1.2.3.04": "", "1.2.3.4/33": "", "1.2.3.4/": "",
		"1.2.3.4/+8": "", "[1.2.3.4]x": "", "[::1": "", "": "", "::1%lo": "",
	} {
		p, err := ParsePattern(in)
		got := ""
		if err == nil {
			got = p.String()
		}
		if got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestValidHostname(t *testing.T) {
	for in, want := range map[string]bool{
		"a.b": true, "a_b.c": true, "A-1": true, "": false, "a..b": false, ".a": false, "a.": false, "-a.b": false, "a-.b": false,
		"1.2.3.4": false, "a b": false, "b\xfccher.example": false,
	} {
		if got := ValidHostname(in); got != want {
			t.Errorf("%q: got %v", in, got)
		}
	}
	if !ValidUTF8Hostname("bücher.example") {
		t.Error("bücher.example is refused")
	}
}

func TestLiteral(t *testing.T) {
	for in, want := range map[string]string{
		"[1.2.3.4]": "1.2.3.4", "[IPv6:::1]": "::1", "[ipv6:2001:db8::1]": "2001:db8::1",
		"[::1]": "", "[foo]": "", "[]": "", "1.2.3.4": "", "[IPv6:1.2.3.4]": "",
	} {
		a, ok := Literal(in)
		if ok != (want != "") || ok && a != netip.MustParseAddr(want) {
			t.Errorf("%q: got %v %v", in, a, ok)
		}
	}
}

func TestParseFamilies(t *testing.T) {
	if f, err := ParseFamilies("ipv4"); err != nil || !f.IPv4 || f.IPv6 {
		t.Errorf("%v %v", f, err)
	}
	for _, bad := range []string{"", "ipv5"} {
		if _, err := ParseFamilies(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	f.Add("10.0.0.0/8")
	f.Add("[::1]/128")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePattern(s); err == nil && !p.IsValid() {
			t.Errorf("%q: %v", s, p)
		}
	})
}
