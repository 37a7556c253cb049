package address

import (
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ internal, ext822 string }{
		{"", ""},
		{"user@example.com", "user@example.com"},
		{"a.b@example.com", "a.b@example.com"},
		{"john doe@example.com", `"john doe"@example.com`},
		{`a"b\c@example.com`, `"a\"b\\c"@example.com`},
		{"a@b@example.com", `"a@b"@example.com`},
		{".a@example.com", `".a"@example.com`},
		{"a.@example.com", `"a."@example.com`},
		{"a..b@example.com", `"a..b"@example.com`},
		{"@example.com", `""@example.com`},
		{"user", "user"},
		{"jürgen@example.com", "jürgen@example.com"},
		{"tab\there@x", "\"tab\there\"@x"},
		{"a+b=c/d@x", "a+b=c/d@x"},
	} {
		if got := Quote822(tt.internal); got != tt.ext822 {
			t.Errorf("Quote822(%q) = %q, want %q", tt.internal, got, tt.ext822)
		}
		if got := Quote821(tt.internal); got != tt.ext822 {
			t.Errorf("Quote821(%q) = %q, want %q", tt.internal, got, tt.ext822)
		}
		if got := Unquote822(tt.ext822); got != tt.internal {
			t.Errorf("Unquote822(%q) = %q, want %q", tt.ext822, got, tt.internal)
		}
	}
}

func TestQuoteRoute(t *testing.T) {
	for in, want := range map[string]string{
		"@a,@b:c@d": "@a,@b:c@d", "@a:c d@e": `@a:"c d"@e`, "@a:": `@a:""`, "@": `""@`, "@a": `""@a`,
	} {
		if got := Quote822(in); got != want {
			t.Errorf("Quote822(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct{ addr, local, domain string }{
		{"a@b", "a", "b"}, {"a@b@c", "a@b", "c"}, {"a", "a", ""}, {"", "", ""}, {"@x", "", "x"},
	} {
		if l, d := Split(tt.addr); l != tt.local || d != tt.domain {
			t.Errorf("Split(%q) = %q, %q, want %q, %q", tt.addr, l, d, tt.local, tt.domain)
		}
	}
}

func TestSplitExt(t *testing.T) {
	for _, tt := range []struct{ local, delimiters, base, ext string }{
		{"user+ext", "+", "user", "ext"},
		{"user+a-b", "+-", "user", "a-b"},
		{"user-a+b", "+-", "user", "a+b"},
		{"user+", "+", "user", ""},
		{"+ext", "+", "+ext", ""},
		{"user", "+", "user", ""},
		{"user+ext", "", "user+ext", ""},
		{"Postmaster", "o", "Postmaster", ""},
		{"MAILER-DAEMON", "-", "MAILER-DAEMON", ""},
		{"double-bounce", "-", "double-bounce", ""},
		{"owner-list", "-", "owner-list", ""},
		{"list-request", "-", "list-request", ""},
		{"-request", "-", "-request", ""},
		{"owner+list", "+", "owner", "list"},
	} {
		if b, e := SplitExt(tt.local, tt.delimiters); b != tt.base || e != tt.ext {
			t.Errorf("SplitExt(%q, %q) = %q, %q, want %q, %q", tt.local, tt.delimiters, b, e, tt.base, tt.ext)
		}
	}
	x := Extensions{Delimiters: "-"}
	if b, e := x.Split("owner-list"); b != "owner" || e != "list" {
		t.Errorf("without owner_request_special: %q %q", b, e)
	}
	if a, e, ok := (Extensions{Delimiters: "+"}).Strip("a+b@c"); a != "a@c" || e != "+b" || !ok {
		t.Errorf("Strip = %q %q %v", a, e, ok)
	}
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a@b", []string{"a@b"}},
		{"a@b, c@d", []string{"a@b", "c@d"}},
		{"Wietse Venema <wietse@porcupine.org>", []string{"wietse@porcupine.org"}},
		{`"a, b" <c@d>, e`, []string{"c@d", "e"}},
		{"wietse (a comment) @ (another) example.com", []string{"wietse@example.com"}},
		{"a b c", []string{"a", "b", "c"}},
		{`|"cat >/x", a |"c d" b|c`, []string{"|cat >/x", "a|c d", "b|c"}}, // commands as aliases name them
		{"undisclosed-recipients:;", nil},
		{"list: a@b, C <c@d>;, e@f", []string{"a@b", "c@d", "e@f"}},
		{"<@relay,@other:user@example.com>", []string{"@relay,@other:user@example.com"}},
		{"<>", nil},
		{`"john doe"@example.com`, []string{"john doe@example.com"}},
		{`john\ doe@example.com`, []string{"john doe@example.com"}},
		{"user@[192.0.2.1]", []string{"user@[192.0.2.1]"}},
		{"a@b c@d", []string{"a@b", "c@d"}},
		{"<a@b> c@d", []string{"a@b", "c@d"}},
		{"a!b%c@d", []string{"a!b%c@d"}},
		{"(only a comment", nil},
		{"a@b (x (nested) \\) y), c", []string{"a@b", "c"}},
	} {
		if got := Addresses(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("Addresses(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	long := "aaaaaaaaaaaaaaaaaaa@example.com"
	for _, tt := range []struct{ text, want string }{
		{" a@b", "To: a@b"},
		{"a@b,c@d", "To: a@b, c@d"},
		{`"Doe, John"   <john@x>  (office)`, `To: "Doe, John" <john@x>(office)`},
		{"wietse (home) @ x", "To: wietse@x (home)"},
		{"Friends:a@b,c@d;", "To: Friends: a@b, c@d;"},
		{"a b", "To: a, b"},
		{strings.Repeat(long+",", 3) + long, "To: " + long + ", " + long + ",\n\t" + long + ", " + long},
		{"a@b (one\n two)", "To: a@b (one  two)"},
	} {
		var l List
		l.Parse(tt.text, 0)
		if got := string(l.AppendHeader(nil, "To")); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestTokenLimit(t *testing.T) {
	var l List
	l.Parse(strings.Repeat("a,", 100_000), 10)
	if n := len(l.Tokens()); n != 10 {
		t.Errorf("%d tokens, want 10", n)
	}
}

func FuzzList(f *testing.F) {
	for _, s := range []string{"a@b", `"x\" y" <a@b>`, "g: a, b;", "(((", "<<>>", "[x\\", "a\tb\\", "\x00\xff@", ";:,;:<"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 {
			return
		}
		var l List
		l.Parse(text, 1000)
		var want []string
		for _, tok := range l.Tokens() {
			if tok.Kind == Address {
				want = append(want, tok.Text)
			}
		}
		out := l.AppendHeader(nil, "To")
		for i, c := range out {
			if c == '\n' && (i+1 == len(out) || !isBlank(out[i+1])) {
				t.Fatalf("%q: a continuation line without white space: %q", text, out)
			}
		}
		for _, a := range want {
			if got := Unquote822(Quote822(a)); got != a && a[0] != '@' && !strings.ContainsAny(a[strings.LastIndexByte(a, '@')+1:], "\\\"") {
				t.Fatalf("Quote822(%q) reads back as %q", a, got)
			}
		}
	})
}

func TestVerp(t *testing.T) {
	tests := []struct{ sender, orig, rcpt, delimiters, want string }{
		{"list@example.com", "", "u@other.example", "+=", "list+u=other.example@example.com"},
		{"list@example.com", "alias@here.example", "u@other.example", "-_", "list-alias_here.example@example.com"},
		{"list", "", "u", "+=", "list+u"},
		{"a@b@c", "", "x@y@z", "+=", "a@b+x@y=z@c"},
	}
	for _, tt := range tests {
		if got := Verp(tt.sender, tt.orig, tt.rcpt, tt.delimiters); got != tt.want {
			t.Errorf("Verp(%q, %q, %q, %q) = %q, want %q", tt.sender, tt.orig, tt.rcpt, tt.delimiters, got, tt.want)
		}
	}
}
