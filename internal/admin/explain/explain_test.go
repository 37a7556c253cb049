package explain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/docs"
	"postern/internal/config/param"
)

func knowledge() Knowledge {
	return Knowledge{
		Programs: []Program{
			{Name: "smtp", Params: func(s *param.Set) {
				var d time.Duration
				s.Time(&d, "smtp_a_timeout", "30s")
			}},
			{Name: "lmtp", Params: func(s *param.Set) {
				var d time.Duration
				s.Time(&d, "lmtp_a_timeout", "5m")
			}},
		},
		Parameters:   map[string]string{"smtp_a_timeout": "30s", "lmtp_a_timeout": "5m", "later": "yes", "sizes": "17"},
		Refused:      []string{"smtp_a_timeout"},
		Restrictions: []Other{{"check_it", "a table", true}, {"reject_it", "", false}},
		Reference: fstest.MapFS{"restrictions.md": {Data: []byte("## check_it\nLooks it up.\n## reject_it\nRefuses it.\n")}, "parameters/x.md": {Data: []byte(`# Times

What they are.

## smtp_a_timeout, lmtp_a_timeout
*Since Postfix 2.2 (lmtp_a_timeout 2.3).*

How long ` + "`a`" + ` may take.

- one
- two

    smtp_a_timeout = 1m

## later
Not yet.
`)}},
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte("# x\nlmtp_a_timeout = 7m\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "master.cf"), []byte("slow unix - - n - - lmtp\n  -o lmtp_a_timeout=9m\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	status := Main([]string{"explain", "-c", dir, "lmtp_a_timeout", "later"}, &out, &errs, knowledge())
	want := `lmtp_a_timeout
  Kind      time; a number alone counts minutes
  Default   5m
  Set to    7m  (` + dir + `/main.cf, line 2)
  For       slow/unix: 9m  (master.cf, line 1)
  Read by   lmtp
  Since     Postfix 2.3

  How long a may take.

  - one
  - two

      smtp_a_timeout = 1m

later
  Kind      yes or no
  Default   yes
  Status    no program reads it yet: setting it has no effect, and the log says so at start

  Not yet.
`
	if got := out.String(); got != want || status != 0 || errs.Len() != 0 {
		t.Errorf("status %d, errors %q, got\n%s\nwant\n%s", status, errs.String(), got, want)
	}
}

func TestExplainRestrictions(t *testing.T) {
	var out, errs bytes.Buffer
	Main([]string{"explain", "-c", t.TempDir(), "check_it", "reject_it"}, &out, &errs, knowledge())
	want := `check_it
  Kind      restriction
  Argument  a table

  Looks it up.

reject_it
  Kind      restriction
  Status    not built yet: a configuration that names it is refused

  Refuses it.
`
	if got := out.String(); got != want || errs.Len() > 0 {
		t.Errorf("%q, got\n%s\nwant\n%s", errs.String(), got, want)
	}
}

func TestParameterOfATransport(t *testing.T) {
	k := knowledge()
	k.Parameters["default_rate_delay"] = "0s"
	k.Parameters["command_time_limit"] = "1000s"
	index := k.index(Book{"default_rate_delay": {Text: "A pause."}})
	for name, want := range map[string]string{
		"slow_rate_delay": "$default_rate_delay", "my_pipe_time_limit": "$command_time_limit", "slow_rate": "", "_rate_delay": "",
	} {
		if p, ok := ofTransport(name, index); p.Default != want || ok != (want != "") {
			t.Errorf("%s: %+v, %v", name, p, ok)
		}
	}
	if p, _ := ofTransport("slow_rate_delay", index); p.Text != "`default_rate_delay` for the transport `slow` alone.\n\nA pause." {
		t.Errorf("text %q", p.Text)
	}
}

func TestExplainJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if status := Main([]string{"explain", "-c", t.TempDir(), "--json", "smtp_a_timeout"}, &out, &errs, knowledge()); status != 0 {
		t.Fatal(status, errs.String())
	}
	var got []Parameter
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	p := got[0]
	if len(got) != 1 || p.Name != "smtp_a_timeout" || p.Unit != "seconds" || p.Since != "2.2" || p.Implemented || !p.Refused ||
		!slices.Equal(p.Programs, []string{"smtp"}) || p.Example != "smtp_a_timeout = 1m" {
		t.Errorf("got %+v", got)
	}
}

func TestNearNames(t *testing.T) {
	var out, errs bytes.Buffer
	if status := Main([]string{"explain", "-c", t.TempDir(), "smtp_a_timout"}, &out, &errs, knowledge()); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	want := "postern explain: no parameter, restriction or table type \"smtp_a_timout\"; did you mean smtp_a_timeout or lmtp_a_timeout?\n"
	if got := errs.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, args := range [][]string{{"explain"}, {"explain", "--frob", "x"}} {
		if status := Main(args, &out, &errs, knowledge()); status != 64 {
			t.Errorf("%q: status %d, want 64", args, status)
		}
	}
}

func TestTwoEntriesForOneName(t *testing.T) {
	fsys := fstest.MapFS{"parameters/x.md": {Data: []byte("## a\nx\n## b, a\ny\n")}}
	if _, err := Read(fsys, "parameters/*.md"); err == nil || !strings.Contains(err.Error(), "a is explained in parameters/x.md, too") {
		t.Errorf("error %v", err)
	}
}

// The reference that is built in can be read, and every entry says something.
func TestReference(t *testing.T) {
	book, err := Read(docs.Pages, "parameters/*.md", "restrictions.md", "tables.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range book {
		if len(e.Text) < 20 || !strings.HasSuffix(e.Text, ".") && !strings.Contains(e.Text, "\n- ") && !strings.HasSuffix(e.Text, ":") {
			t.Errorf("%s: %s: the text is too short or unfinished: %q", e.File, name, e.Text)
		}
	}
}
