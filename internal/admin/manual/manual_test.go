package manual

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func knowledge() Knowledge {
	return Knowledge{
		FS: fstest.MapFS{"man/frob.8.md": {Data: []byte("# frob(8)\n\ndo what `frob` does\n\n## Description\n\nIt does\nthat's all.\n\n.begins with a dot\n\n- one\n- two `three`\n\n" +
			"## Options\n\n- `-c directory`: where.\n- `-v`: more.\n\n    code -x\n      deeper\n    .dot\n\n## Files\n\n- `a`: b\n")}},
		Parameters: func(program string) []Entry {
			if program != "frob" {
				return nil
			}
			return []Entry{{"frob_timeout", "30s", "How long."}, {"frob_maps", "", "Tables."}}
		},
		Reference: func() []Entry { return []Entry{{"frob_timeout", "30s", "How long.\n\n    frob_timeout = 1m"}} },
		Overview:  func(w io.Writer) { io.WriteString(w, "all\n") },
	}
}

func run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	status := Main(append([]string{"help"}, args...), &out, &errs, knowledge())
	return status, out.String(), errs.String()
}

func TestText(t *testing.T) {
	want := `frob(8)

    frob - do what frob does

DESCRIPTION

    It does that's all.

    .begins with a dot

    - one
    - two three

OPTIONS

    -c directory
        where.
    -v
        more.

        code -x
          deeper
        .dot

PARAMETERS

    Parameters of main.cf that this program reads, besides those that every
    program reads. postern explain says more of each.

    frob_timeout (30s)
        How long.
    frob_maps (empty)
        Tables.

FILES

    a
        b
`
	if status, got, errs := run(t, "frob"); got != want || status != 0 || errs != "" {
		t.Errorf("status %d, %q, got\n%s\nwant\n%s", status, errs, got, want)
	}
}

func TestRoff(t *testing.T) {
	_, got, _ := run(t, "--roff", "frob.8")
	for _, want := range []string{
		".TH FROB 8 \"\" Postern\n.SH NAME\nfrob \\- do what \\fBfrob\\fR does\n",
		".PP\nIt does that\\(aqs all.\n.PP\n\\&.begins with a dot\n",
		".IP \\(bu 3\none\n.IP \\(bu 3\ntwo \\fBthree\\fR\n",
		".TP\n\\fB\\-c directory\\fR\nwhere.\n",
		".nf\n.RS 4\ncode \\-x\n  deeper\n\\&.dot\n.RE\n.fi\n",
		".SH PARAMETERS\n",
		".TP\n\\fBfrob_timeout (30s)\\fR\nHow long.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReferencePage(t *testing.T) {
	want := `postconf(5)

    postconf - the parameters of main.cf

frob_timeout (30s)

    How long.

        frob_timeout = 1m
`
	if _, got, _ := run(t, "postconf.5"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLists(t *testing.T) {
	if _, got, _ := run(t, "--pages"); got != "frob.8\npostconf.5\n" {
		t.Errorf("pages: %q", got)
	}
	if _, got, _ := run(t); got != "all\n" {
		t.Errorf("overview: %q", got)
	}
	for _, tt := range []struct {
		arg    string
		status int
		want   string
	}{
		{"nosuch", 1, "postern help: no page \"nosuch\"\n"},
		{"--frob", 64, "postern help: " + usage + "\n"},
	} {
		if status, _, errs := run(t, tt.arg); status != tt.status || errs != tt.want {
			t.Errorf("%s: status %d, %q; want %d, %q", tt.arg, status, errs, tt.status, tt.want)
		}
	}
}

func TestBadPages(t *testing.T) {
	for _, text := range []string{"", "# frob\n\nx\n", "# frob(8)\n\n## A\n", "# other(8)\n\nx\n"} {
		if _, err := Find(fstest.MapFS{"man/frob.8.md": {Data: []byte(text)}}, "frob"); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
