package sql

import (
	"strings"
	"testing"

	"postern/internal/table/database"
)

var (
	mysql    = Dialect{Backtick: true, Hash: true, DashBlank: true}
	postgres = Dialect{Dollar: true, EscapeMarks: true}
	sqlite   = Dialect{Backtick: true, Bracket: true}
)

func make1(t testing.TB, text string, d Dialect, backslash bool) (*statement, error) {
	t.Helper()
	p, err := database.ParseTemplate("query", text)
	if err != nil {
		t.Fatal(err)
	}
	return newStatement(p, d, backslash)
}

func TestQuoting(t *testing.T) {
	const key = `a'b\c"d` + "`e"
	tests := []struct {
		dialect   Dialect
		backslash bool
		query     string
		want      string // "": refused when opened; "!": refused for this key
	}{
		{mysql, true, `x = '%s'`, `x = 'a''b\\c"d` + "`e'"},
		{mysql, false, `x = '%s'`, `x = 'a''b\c"d` + "`e'"},
		{mysql, true, `x = "%s"`, `x = "a'b\\c""d` + "`e\""},
		{mysql, true, "x = `%s`", "x = `a'b\\c\"d``e`"},
		{mysql, true, `x = '\'%s'`, `x = '\'a''b\\c"d` + "`e'"},
		{mysql, false, `x = '\'%s`, `!`},
		{mysql, true, `x = '\%s'`, ``},
		{mysql, true, `x = %s`, `!`},
		{mysql, true, `x = '' %s`, `!`},
		{mysql, true, "# it's\n x = '%s'", "# it's\n x = 'a''b\\\\c\"d`e'"},
		{mysql, true, "-- it's %s", ""},
		{mysql, true, "/* ' */ %s", "!"},
		{mysql, true, "/* %s */", ""},
		{mysql, true, "/*! '%s' */", ""},
		{postgres, false, `x = '%s'`, `x = 'a''b\c"d` + "`e'"},
		{postgres, true, `x = '%s'`, `x = 'a''b\\c"d` + "`e'"},
		{postgres, false, `x = E'%s'`, `x = E'a''b\\c"d` + "`e'"},
		{postgres, false, `x = e'%s'`, `x = e'a''b\\c"d` + "`e'"},
		{postgres, false, `x = U&'%s'`, `x = U&'a''b\\c"d` + "`e'"},
		{postgres, false, `LIKE'%s'`, `LIKE'a''b\c"d` + "`e'"},
		{postgres, true, `x = "%s"`, `x = "a'b\c""d` + "`e\""},
		{postgres, false, `$$ '%s' $$`, ``},
		{postgres, false, `$f$ ' $$ $f$ '%s'`, `$f$ ' $$ $f$ 'a''b\c"d` + "`e'"},
		{postgres, false, `$1 '%s' $2`, `$1 'a''b\c"d` + "`e' $2"},
		{postgres, false, `/* /* */ %s */`, ``},
		{sqlite, false, `x = '%s'`, `x = 'a''b\c"d` + "`e'"},
		{sqlite, false, `[%s]`, ``},
		{sqlite, false, `['] = '%s'`, `['] = 'a''b\c"d` + "`e'"},
		{sqlite, false, `x = '%%' '%s'`, `x = '%' 'a''b\c"d` + "`e'"},
	}
	for _, tt := range tests {
		got := ""
		if s, err := make1(t, tt.query, tt.dialect, tt.backslash); err == nil {
			if got, err = s.text(database.SplitAddress(key)); err != nil {
				got = "!"
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.query, got, tt.want)
		}
	}
}

func TestNumbersOutsideQuotes(t *testing.T) {
	s, err := make1(t, "SELECT 1 WHERE x = %s", mysql, true)
	if err != nil {
		t.Fatal(err)
	}
	for key, ok := range map[string]bool{"1": true, "007": true, "2.5": true, "1 OR 1": false, "x": false, "-1": false, "1.": false, ".5": false, "1e3": false, "0x1": false, "": false, "1;": false} {
		if _, err := s.text(database.SplitAddress(key)); (err == nil) != ok {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// FuzzQuoting: however hostile the key, a reader of the statement that knows
// only the rules of literals finds the key, and nothing else, between the quotes.
func FuzzQuoting(f *testing.F) {
	for _, key := range []string{"a", "'", `\'`, `\\''\`, `"`, "日'", "\xbf'", "' OR 1=1 -- ", "a@b'c", "@", "\x00'"} {
		f.Add(key, true)
		f.Add(key, false)
	}
	f.Fuzz(func(t *testing.T, key string, backslash bool) {
		s, err := make1(t, "A '%s' B", mysql, backslash)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.text(database.SplitAddress(key))
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := strings.CutPrefix(text, "A '")
		if !ok {
			t.Fatalf("%q", text)
		}
		var got strings.Builder
		for i := 0; ; i++ {
			if i >= len(rest) {
				t.Fatalf("%q: the literal does not end: %q", key, text)
			}
			switch {
			case rest[i] == '\\' && backslash:
				i++
				got.WriteByte(rest[i])
			case rest[i] == '\'' && strings.HasPrefix(rest[i:], "''"):
				i++
				got.WriteByte('\'')
			case rest[i] == '\'':
				if got.String() != key || rest[i:] != "' B" {
					t.Fatalf("%q: read as %q, then %q", key, got.String(), rest[i:])
				}
				return
			default:
				got.WriteByte(rest[i])
			}
		}
	})
}

// FuzzScanner: any template is taken or refused.
func FuzzScanner(f *testing.F) {
	f.Add("SELECT '%s' -- %u", true)
	f.Add("$a$ %s $a$ E'%s' U&\"%d\" /* /* */", false)
	f.Fuzz(func(t *testing.T, text string, backslash bool) {
		p, err := database.ParseTemplate("query", text)
		if err != nil {
			return
		}
		for _, d := range []Dialect{mysql, postgres, sqlite} {
			if s, err := newStatement(p, d, backslash); err == nil && p.FitsKey(database.SplitAddress("u@a.b.c.d.e.f.g.h.i")) {
				s.text(database.SplitAddress("u@a.b.c.d.e.f.g.h.i"))
			}
		}
	})
}
