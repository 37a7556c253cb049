package cdb

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/pagefile"
)

func sample() map[string]string {
	m := map[string]string{"long": strings.Repeat("x", 10000)}
	for i := range 5000 {
		m[fmt.Sprintf("user%d@example.com", i)] = fmt.Sprint("box/", i)
	}
	return m
}

func TestWriteAndRead(t *testing.T) {
	ctx := context.Background()
	for name, flags := range map[string]table.Flags{"default": 0, "nul": table.KeyNUL} {
		for _, want := range []map[string]string{{}, {"a": "b"}, sample()} {
			path := filepath.Join(t.TempDir(), "map")
			o := table.NewOpener([]table.Type{Type()}).With(flags)
			b, err := Type().Create(path, o)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				b.Put(k, v)
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			tab, err := o.Open("cdb:" + path)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if got, found, err := tab.Lookup(ctx, k); got != v || !found || err != nil {
					t.Fatalf("%s: %q: %q %v %v", name, k, got, found, err)
				}
			}
			if _, found, err := tab.Lookup(ctx, "nobody"); found || err != nil {
				t.Errorf("nobody: %v %v", found, err)
			}
			got := map[string]string{}
			table.Base(tab).(table.Walker).Walk(ctx, func(k, v string) error { got[k] = v; return nil })
			if !maps.Equal(got, want) {
				t.Errorf("walk: %d entries, want %d", len(got), len(want))
			}
		}
	}
}

func encode(t testing.TB, path string, list []table.Entry) {
	t.Helper()
	o := table.NewOpener([]table.Type{Type()})
	if err := encoder(o)(table.Target{Path: path, Perm: 0o600}, list); err != nil {
		t.Fatal(err)
	}
}

func TestForeignTools(t *testing.T) {
	tool, err := exec.LookPath("cdb")
	if err != nil {
		t.Skip("cdb (package tinycdb) is not installed")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "ours.cdb")
	encode(t, path, []table.Entry{{Key: "a", Value: "b"}, {Key: "c", Value: "d"}})
	out, err := exec.Command(tool, "-d", path).CombinedOutput()
	if err != nil || string(out) != "+1,1:a->b\n+1,1:c->d\n\n" {
		t.Errorf("cdb -d: %v %q", err, out)
	}
	cmd := exec.Command(tool, "-c", filepath.Join(dir, "theirs.cdb"))
	cmd.Stdin = strings.NewReader("+1,1:a->b\n+3,0:key->\n\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cdb -c: %v %s", err, out)
	}
	tab, err := table.NewOpener([]table.Type{Type()}).Open("cdb:" + filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if got, found, err := tab.Lookup(context.Background(), "A"); got != "b" || !found || err != nil {
		t.Errorf("%q %v %v", got, found, err)
	}
}

func FuzzDatabase(f *testing.F) {
	path := filepath.Join(f.TempDir(), "good.cdb")
	encode(f, path, []table.Entry{{Key: "a", Value: "b"}, {Key: "long", Value: "d"}})
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, c byte) {
		b = append([]byte{}, b...)
		if int(at) < len(b) {
			b[at] = c
		}
		if len(b) < headerSize {
			return
		}
		d := &database{file: pagefile.Memory(b)}
		copy(d.head[:], b)
		d.Lookup(context.Background(), "a")
		d.Lookup(context.Background(), "long")
		d.Walk(context.Background(), func(k, v string) error { return nil })
	})
}
