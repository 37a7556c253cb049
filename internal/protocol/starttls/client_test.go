package starttls

import "testing"

func TestParseClientLevel(t *testing.T) {
	for text, want := range map[string]Level{
		"none": None, "MAY": May, "encrypt": Encrypt, "fingerprint": Fingerprint,
		"dane": Dane, "dane-only": DaneOnly, "verify": Verify, "secure": Secure,
	} {
		if got, ok := ParseClientLevel(text); !ok || got != want {
			t.Errorf("ParseClientLevel(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	if _, ok := ParseClientLevel("half-dane"); ok {
		t.Error("an unknown level is known")
	}
	if May.Required() || !Encrypt.Required() {
		t.Error("only levels above may are required")
	}
}

func TestNameMatches(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		match      bool
	}{
		{"mx.example.com", "mx.example.com", true},
		{"MX.example.com.", "mx.example.com", true},
		{"mx.example.com", "example.com", false},
		{"mx.example.com", ".example.com", true},
		{"a.mx.example.com", ".example.com", true},
		{"example.com", ".example.com", false},
		{"badexample.com", ".example.com", false},
		{"*.example.com", "mx.example.com", true},
		{"*.example.com", "a.mx.example.com", false},
		{"*.example.com", "example.com", false},
		{"*.com", "example.com", false},
		{"m*.example.com", "mx.example.com", false},
		{"mx.example.com\x00.evil", "mx.example.com", false},
		{"mx.example.com", "", false},
		{"", "mx.example.com", false},
		{"x", ".", false},
	} {
		if got := nameMatches(tt.name, tt.want); got != tt.match {
			t.Errorf("nameMatches(%q, %q) = %v, want %v", tt.name, tt.want, got, tt.match)
		}
	}
}

func TestMatches(t *testing.T) {
	p := ClientPolicy{Host: "mx.example.com", Nexthop: "example.org", Match: []string{"hostname", "dot-nexthop"}}
	for name, want := range map[string]bool{"mx.example.com": true, "a.example.org": true, "example.org": false, "other.example.com": false} {
		if got := p.matches(name); got != want {
			t.Errorf("matches(%q) = %v, want %v", name, got, want)
		}
	}
}
