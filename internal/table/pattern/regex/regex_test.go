package regex

import (
	"regexp"
	"testing"
)

const perlDefault = IgnoreCase | DotAll

func FuzzPerl(f *testing.F) {
	for _, p := range []string{`^(a+)+$`, `(?<n>x)\k<n>`, `[^[:alpha:]\d-]{2,3}?`, `(?(1)a|b)`, `\Q.*\E`, `(?i)a(?-i:b)`, `a{2}{3}`, `(?<!ab|c)d`} {
		f.Add(p, "aaa", 0)
	}
	f.Fuzz(func(t *testing.T, pattern, text string, flags int) {
		re, err := Perl(pattern, Flags(flags)&(1<<7-1))
		if err != nil || len(text) > 200 {
			return
		}
		m, err := re.Match(text)
		if err != nil || m == nil {
			return
		}
		checkSpans(t, m, re.Groups(), len(text))
	})
}

func FuzzPOSIX(f *testing.F) {
	for _, p := range []string{`^(a|ab)(c|bcd)(d*)$`, `a{,3}b`, `[]a-]`, `[[:alpha:]_]+`, `\<x\>`, `(.)\1`, `^*`} {
		f.Add(p, "abcd")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := POSIX(pattern, IgnoreCase|Extended)
		if err != nil || len(text) > 200 {
			return
		}
		m, err := re.Match(text)
		if err != nil || m == nil {
			return
		}
		checkSpans(t, m, re.Groups(), len(text))
	})
}

func checkSpans(t *testing.T, m []int, groups, length int) {
	if len(m) != 2*(groups+1) {
		t.Fatalf("%d positions for %d groups", len(m), groups)
	}
	for i := 0; i < len(m); i += 2 {
		if m[i] < 0 || m[i+1] < 0 {
			continue
		}
		if m[i] > length || m[i+1] > length || i == 0 && m[0] > m[1] {
			t.Fatalf("span %d: %v in a text of %d", i/2, m[i:i+2], length)
		}
	}
}

// What Go's package regexp understands, too, has the same meaning for it.
func TestPerlAgreesWithGo(t *testing.T) {
	patterns := []string{`a|ab`, `(a*)(b?)c`, `^x.y$`, `[a-f]+?g`, `(?:ab){2,3}`, `\d{2}-\w+`, `(a(b)?)+`, `x*`, `[^abc]+`, `\bfoo\b`, `(|a)+b`}
	texts := []string{"", "a", "ab", "abc", "aabbcc", "x\ny", "xay", "abababab", "12-foo", "foo bar", "afoo", "ggg", "cab fooab"}
	for _, p := range patterns {
		mine, err := Perl(p, DotAll)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		theirs := regexp.MustCompile("(?s)" + p)
		for _, text := range texts {
			got, err := mine.Match(text)
			want := theirs.FindStringSubmatchIndex(text)
			if err != nil || len(got) != len(want) {
				t.Errorf("%s on %q: got %v %v, want %v", p, text, got, err, want)
				continue
			}
			if want != nil && (got[0] != want[0] || got[1] != want[1]) {
				t.Errorf("%s on %q: got %v, want %v", p, text, got, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for _, p := range []string{`(`, `)`, `[a`, `a{2,1}`, `*`, `a**`, `\`, `(?<n>a)(?<n>b)`, `\2(a)`, `(?<=a+)b`, `[z-a]`, `[[:foo:]]`, `(?z)`} {
		if _, err := Perl(p, perlDefault); err == nil {
			t.Errorf("Perl(%s): no error", p)
		}
	}
	for _, p := range []string{`(`, `[a`, `a{2,1}`, `*`, `^*`, `\`, `\1`, `a{1`, `[[:foo:]]`, `{`} {
		if _, err := POSIX(p, Extended); err == nil {
			t.Errorf("POSIX(%s): no error", p)
		}
	}
}

// TestVerbs has what verbs, conditions and settings mean, as PCRE2 says; the
// tests against the library compare more.
func TestVerbs(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          string // what matches; "-": nothing does
	}{
		{`a(*ACCEPT)b`, "xac", "a"}, {`(a(*ACCEPT)b)c`, "xa", "a"}, {`(?=a(*ACCEPT)b)a.`, "ac", "ac"},
		{`a(*COMMIT)b|ac`, "ac ab", "-"}, {`^a(*COMMIT)b|^ac`, "ac", "-"}, {`a(*PRUNE)b|ac`, "ac ab", "ab"},
		{`aa(*SKIP)b|a`, "aaac", "a"}, {`bad(*SKIP)(*F)|a.`, "badax", "ax"},
		{`a(*:m)a(*SKIP:m)b|a.`, "aac", "ac"}, {`a(*SKIP:m)b|ac`, "ac", "ac"},
		{`^.*?(?:a(*THEN)b|ac)$`, "ac", "ac"}, {`^(?:a(*THEN)b)|^ac`, "ac", "ac"},
		{`(a)?(?(1)b|c)`, "c", "c"}, {`(?(?=a)ab|c)`, "xab", "ab"}, {`^(a(?(R)b|(?1)c))$`, "aabc", "aabc"}, {`^(?<n>a(?(R&n)b|(?&n)))$`, "aab", "aab"},
		{`(?(DEFINE)(?<o>\d\d?))^(?&o)\.(?&o)$`, "12.3", "12.3"},
		{`^\X\X$`, "\r\na", "\r\na"}, {`^a\Cb$`, "a\nb", "a\nb"},
		{`(*ANYCRLF)(?m)^b$`, "a\rb\rc", "b"}, {`(*CRLF)(?-s)a.+`, "a\nb\r\n", "a\nb"}, {`(*NOTEMPTY)a*?`, "baa", "a"}, {`(*NO_START_OPT)(*COMMIT)a`, "ba", "-"},
	} {
		re, err := Perl(tt.pattern, DotAll)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		got := "-"
		if m, err := re.Match(tt.text); err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		} else if m != nil {
			got = tt.text[m[0]:m[1]]
		}
		if got != tt.want {
			t.Errorf("%s on %q: got %q, want %q", tt.pattern, tt.text, got, tt.want)
		}
	}
}

// A back-reference to a group that is open means what it matched before.
func TestOpenGroup(t *testing.T) {
	re, err := Perl(`^(?:(a|b\1)+)(c)$`, DotAll)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"ababbac": true, "ababac": false, "abac": true} {
		if m, err := re.Match(text); err != nil || (m != nil) != want {
			t.Errorf("%s: got %v, %v", text, m, err)
		}
	}
}
