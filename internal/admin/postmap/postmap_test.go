package postmap

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/lmdb"
	"postern/internal/table/static"
	"postern/internal/table/texthash"
)

func types() []table.Type {
	return append(bdb.Types(), cdb.Type(), lmdb.Type(), static.Type(), texthash.Type())
}

// The expected outputs are those of Postfix's postmap.
func TestPostmap(t *testing.T) {
	for _, kind := range []string{"hash", "btree", "cdb", "lmdb"} {
		dir := t.TempDir()
		conf := "myhostname = host.example\nmaillog_file = /nowhere\ncompatibility_level = 3.6\nsmtputf8_enable = yes\n"
		os.WriteFile(filepath.Join(dir, "main.cf"), []byte(conf), 0o600)
		src := filepath.Join(dir, "src")
		os.WriteFile(src, []byte("a b\n c\nFoo bar\nfoo baz\nalone\nk: v\n"), 0o640)
		m := kind + ":" + src
		suffix := map[string]string{"hash": ".db", "btree": ".db", "cdb": ".cdb", "lmdb": ".lmdb"}[kind]
		for i, c := range []struct {
			args   string
			in     string
			status int
			out    string
			err    string
		}{
			{m, "", 0, "", "postmap: warning: " + src + ", line 5: expected format: key whitespace value\n" +
				"postmap: warning: " + src + ", line 6: record is in \"key: value\" format; is this an alias file?\n" +
				"duplicate entry: \"foo\"\n"},
			{"-q a " + m, "", 0, "b c\n", ""},
			{"-q FOO " + m, "", 0, "bar\n", ""},
			{"-q none " + m, "", 1, "", ""},
			{"-q none " + m + " static:x", "", 0, "x\n", ""},
			{"-q - " + m, "FOO\nnone\na\n", 0, "FOO\tbar\na\tb c\n", ""},
			{"-d foo " + m, "", 0, "", ""},
			{"-d foo " + m, "", 1, "", ""},
			{"-i " + m, "new entry\n", 0, "", ""},
			{"-i " + m, "new other\n", 0, "", "duplicate entry: \"new\"\n"},
			{"-i -r " + m, "new third\n", 0, "", ""},
			{"-i -w " + m, "new fourth\n", 0, "", ""},
			{"-q new " + m, "", 0, "third\n", ""},
			{"-d - " + m, "a\nnew\n", 0, "", ""},
			{"-s " + m, "", 0, "k:\tv\n", ""},
			{"-s -q a " + m, "", 1, "", "postmap: fatal: specify only one of -s -q or -d\n"},
			{"-h " + m, "", 1, "", "postmap: fatal: specify -b -h or -m only with \"-q -\"\n"},
			{"texthash:" + src, "", 1, "", "texthash does not support bulk-mode creation.\n"},
			{"-hq - static:X", "A: b\n c\n\nbody\n", 0, "A: b\n c\tX\n", ""},
			{"-q a foo:bar", "", 1, "", "postmap: fatal: unsupported dictionary type: foo\n"},
		} {
			args := append([]string{"postmap", "-c", dir}, strings.Fields(c.args)...)
			var out, errs bytes.Buffer
			status := Main(args, strings.NewReader(c.in), &out, &errs, types())
			if status != c.status || out.String() != c.out {
				t.Errorf("%s %d: %s: status %d, output %q, want %d, %q\n%s", kind, i, c.args, status, out.String(), c.status, c.out, errs.String())
			}
			for _, line := range strings.SplitAfter(c.err, "\n") {
				if !strings.Contains(errs.String(), line) {
					t.Errorf("%s: errors\n%s\nlack %q", c.args, errs.String(), line)
				}
			}
			if c.err == "" && errs.Len() > 0 {
				t.Errorf("%s: errors\n%s", c.args, errs.String())
			}
		}
		if st, err := os.Stat(src + suffix); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v %v", kind, st, err)
		}
	}
}
