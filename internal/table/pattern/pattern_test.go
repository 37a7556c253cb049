package pattern

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/source"
)

// warnings collects what tables warn of.
type warnings []string

func (w *warnings) Warningf(format string, args ...any) {
	*w = append(*w, fmt.Sprintf(format, args...))
}
func (w *warnings) Errorf(format string, args ...any) { w.Warningf(format, args...) }
func (w *warnings) Infof(string, ...any)              {}

func openRules(t *testing.T, spec, rules string) (table.Table, []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	o := table.NewOpener(Types())
	o.ErrorIsFatal = true
	var w warnings
	o.Log = &w
	tab, err := o.Open(spec + ":" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	for i := range w {
		w[i] = strings.ReplaceAll(w[i], path, "RULES")
	}
	return tab, w
}

type lookup struct{ key, want string } // "" is not found

func check(t *testing.T, tab table.Table, tests []lookup) {
	t.Helper()
	for _, tt := range tests {
		got, found, err := tab.Lookup(t.Context(), tt.key)
		if err != nil || got != tt.want || found != (tt.want != "") {
			t.Errorf("%q: got %q %v %v, want %q", tt.key, got, found, err, tt.want)
		}
	}
}

// The answers and warnings are those of postmap -q of Postfix 3.7.11.
func TestRegexp(t *testing.T) {
	tab, warned := openRules(t, "regexp", `/^a(b+)c$/ one $1 ${1} $(1) $$x
/X$/m two
!/^[a-z]/ neg
!/^[0-9]/ bad $1
/(foo/ broken
/foo/q unknown
if /^if/
/one/ inside
endif
endif
/out$/ $2
/no closing
/\<word\>/ word
/([a-z])\1/ twice $1
/^(.*)@(.*)\.example$/ $1 at $2
/x{2,3}y/ braces
* star
/a**b/ aa
`)
	check(t, tab, []lookup{
		{"abbc", "one bb bb bb $x"}, {"X", "two"}, {"ifone", "inside"}, {"xout", ""}, {"wordx", "two"},
		{"a word b", "word"}, {"zaaz", "twice a"}, {"me@here.example", "me at here"}, {"xxy", "twice x"},
		{"q", ""}, {"empty", ""}, {"aaab", "twice a"}, {"123", "neg"},
	})
	want := []string{
		"regexp map RULES, line 4: $number found in negative match replacement text: skipping this rule",
		"regexp map RULES, line 5: Unmatched ( or \\(",
		"regexp map RULES, line 6: unknown regexp option \"q\": skipping this rule",
		"regexp map RULES, line 10: ignoring ENDIF without matching IF",
		"regexp map RULES, line 11: out of range replacement index \"2\": skipping this rule",
		"regexp map RULES, line 12: no closing regexp delimiter \"/\": skipping this rule",
		"regexp map RULES, line 17: no closing regexp delimiter \"*\": skipping this rule",
	}
	if got := strings.Join(warned, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("warnings:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestPCRE(t *testing.T) {
	tab, _ := openRules(t, "pcre", `/X\z/m two
/\bword\b/ word
/([a-z])\1/ twice $1
/^(.*)@(.*)\.example$/ $1 at $2
/(?=.*look)(?!no)ahead/ la
/(?<=pre)post/ lb
/^(?>a+)ab/ never
/(a|ab)(c|bcd)(d*)$/ $1-$2-$3
/\d+\s\w+/ dsw
/^h\x41/E hex
/q(?i:UP)(?-i)Y/ flags
/^((a)|b)+$/ r$2
/^(\((?:[^()]|(?1))*\))$/ nested
/^(?<n>\p{Lu}x|<(?&n)>)$/ call $1
/^[^\x00-\x7f]+$/ eight
`)
	check(t, tab, []lookup{
		{"a word b", "word"}, {"me@home.example", "me at home"}, {"xx lookahead look", "twice x"},
		{"lokahead look", "twice o"}, {"prepost", "lb"}, {"aoab", ""}, {"abcd", "a-bcd-"}, {"12 ab", "dsw"},
		{"hA", "hex"}, {"HAB", "hex"}, {"qupY", "flags"}, {"aba", "ra"}, {"b", "r"},
		{"(a(b)())", "nested"}, {"(a(b)()", ""}, {"<<Qx>>", "call <<Qx>>"}, {"<<Qx>", ""},
		{"\xc3\xa9", "eight"}, {"x", "two"}, {"", ""},
	})
}

// A pattern that PCRE2 takes and that would be read differently here makes the
// table unusable.
func TestUnsupportedIsRefused(t *testing.T) {
	for _, rule := range []string{`/(*UTF)a/ x`, `/\p{Bidi_Control}/ x`, `/(?C1)a/ x`, `/(a(*THEN)b|c(?1))/ x`,
		`/(a(*ACCEPT)(?1)?b)/ x`, `/[^a](*COMMIT)b/ x`, `/(?:(?:a|b)(*THEN)c)*/ x`, `/(*LIMIT_MATCH=1)a/ x`, `/a(?R)?b*/ x`, `/\P{Lu}*\P{Ll}/ x`} {
		o := table.NewOpener(Types())
		o.ErrorIsFatal = true
		if _, err := o.Open("pcre:{{" + rule + "}}"); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v, want an error that names the line", rule, err)
		}
	}
}

// Where the result is a path, a command or a user, groups have no place in it.
func TestNoSubstitution(t *testing.T) {
	o := table.NewOpener(Types()).With(table.NoRegexpSubst)
	var w warnings
	o.Log = &w
	tab, err := o.Open("regexp:{{/(.*)/ /etc/$1}}")
	if err != nil {
		t.Fatal(err)
	}
	check(t, tab, []lookup{{"passwd", ""}})
	if len(w) != 1 {
		t.Errorf("warnings: %q", []string(w))
	}
}

// A pattern that goes back without end is an error, not an answer and not a
// process that hangs; where Go's engine can take over there is an answer.
func TestMatchLimit(t *testing.T) {
	tab, _ := openRules(t, "pcre", `/^(a+)+$/ found
/^(b+)+(\1)$/ found
`)
	if got, found, err := tab.Lookup(t.Context(), strings.Repeat("a", 60)+"!"); found || err != nil {
		t.Errorf("got %q %v %v, want not found", got, found, err)
	}
	_, _, err := tab.Lookup(t.Context(), strings.Repeat("b", 60)+"!")
	if err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("got %v, want the match limit", err)
	}
}

func FuzzRules(f *testing.F) {
	f.Add("if /a/\n!/b/i x $$\nendif\n/(c)/ ${1}$(1)\n", "abc")
	f.Fuzz(func(t *testing.T, rules, key string) {
		for _, d := range []*dialect{perl, posix} {
			r, err := d.parse(source.NewReader(strings.NewReader(rules)), "rules", table.NewOpener(nil))
			if err == nil {
				r.Lookup(t.Context(), key)
			}
		}
	})
}

// A rule is found whether or not the filter lets it through: what the filter
// rejects does not match.
func TestFilterRejectsNothingThatMatches(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "/%s.*x%d(y|z)$/ %d\n", []string{"foo", "Bar", "[ab]c", "(one|two)"}[i%4], i, i)
	}
	tab, _ := openRules(t, "pcre", b.String())
	rules := table.Base(tab)
	for i := range 2000 {
		key := []string{"FOO", "bar", "BC", "Two"}[i%4] + fmt.Sprintf(" - X%dz", i)
		got, found, err := rules.Lookup(t.Context(), key)
		if err != nil || !found || got != fmt.Sprint(i) {
			t.Fatalf("%s: got %q %v %v, want %d", key, got, found, err, i)
		}
	}
}
