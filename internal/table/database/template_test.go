package database

import (
	"strings"
	"testing"
)

func TestTemplates(t *testing.T) {
	tests := []struct {
		template, key, want string
		fits                bool
	}{
		{"<%s>", "user@mail.example.com", "<user@mail.example.com>", true},
		{"%u at %d", "user@mail.example.com", "user at mail.example.com", true},
		{"%U at %D, %S", "user@example.com", "user at example.com, user@example.com", true},
		{"%1 %2 %3", "user@mail.example.com", "com example mail", true},
		{"%4", "user@mail.example.com", "", false},
		{"%u", "user", "user", true},
		{"%d", "user", "", false},
		{"%d", "user@", "", false},
		{"%u", "@example.com", "", false},
		{"%s", "@example.com", "@example.com", true},
		{"%1", "user", "", false},
		{"%1-%2", "user@.a..b.", "b-a", true},
		{"100%% of %u", "a@b@c.example", "100% of a@b", true},
		{"fixed", "", "fixed", true},
	}
	for _, tt := range tests {
		p, err := ParseTemplate("query", tt.template)
		if err != nil {
			t.Fatal(err)
		}
		key := SplitAddress(tt.key)
		if fits := p.FitsKey(key); fits != tt.fits {
			t.Errorf("%q fits %q: %v, want %v", tt.template, tt.key, fits, tt.fits)
		} else if fits {
			if got := p.Expand(key, nil); got != tt.want {
				t.Errorf("%q of %q: got %q, want %q", tt.template, tt.key, got, tt.want)
			}
		}
	}
	for _, text := range []string{"%", "a%", "%x", "%0", "% s"} {
		if _, err := ParseTemplate("query", text); err == nil || !strings.Contains(err.Error(), "invalid query template") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

// FuzzTemplate: what replaces an expansion passes through quote, and nothing
// else of the key reaches the text.
func FuzzTemplate(f *testing.F) {
	f.Add("SELECT %s %u %d %1 %%", "user@mail.example.com")
	f.Add("%9%S%U%D", "@")
	f.Fuzz(func(t *testing.T, text, key string) {
		p, err := ParseTemplate("query", text)
		if err != nil {
			return
		}
		a := SplitAddress(key)
		if !p.FitsKey(a) {
			return
		}
		got := p.Expand(a, func(string) string { return "" })
		want := ""
		for _, piece := range p.Pieces {
			want += piece.Literal
		}
		if got != want {
			t.Errorf("%q of %q: %q beside the quoted parts, want %q", text, key, got, want)
		}
		p.Expand(a, nil)
	})
}
