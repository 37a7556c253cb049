package bdb

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

// samples are tables of sizes at which the files change their shape.
func samples() map[string]map[string]string {
	long := map[string]string{}
	for i := range 40 {
		long[fmt.Sprintf("%s%03d", strings.Repeat("k", 10+80*i), i)] = strings.Repeat("v", 1+230*i)
	}
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("user%d@example%d.com", i, i%7)] = fmt.Sprintf("box/%d", i)
		}
		return m
	}
	edge := map[string]string{}
	for n := 980; n < 1060; n++ {
		edge[strings.Repeat("x", n)] = strings.Repeat("y", n)
	}
	return map[string]map[string]string{
		"empty": {}, "one": {"a": "b"}, "hundred": many(100), "many": many(60000), "long": long, "edge": edge,
	}
}

func opener() *table.Opener { return table.NewOpener(Types()) }

func build(t *testing.T, kind, path string, entries map[string]string) {
	t.Helper()
	o := opener()
	typ, _ := o.Lookup(kind)
	b, err := typ.Create(path, o)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range entries {
		if err := b.Put(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	for _, kind := range []string{"hash", "btree"} {
		for name, want := range samples() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "map")
				build(t, kind, path, want)
				tab, err := opener().Open(kind + ":" + path)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, tab, want)
				verify(t, path+".db")
			})
		}
	}
}

func compare(t *testing.T, tab table.Table, want map[string]string) {
	t.Helper()
	ctx := context.Background()
	for k, v := range want {
		got, found, err := tab.Lookup(ctx, strings.ToUpper(k))
		if err != nil || !found || got != v {
			t.Fatalf("lookup of %.40q: %.40q %v %v, want %.40q", k, got, found, err, v)
		}
	}
	for _, k := range []string{"", "nobody", "zzzz", "user0@example1.comm"} {
		if got, found, err := tab.Lookup(ctx, k); found || err != nil {
			t.Fatalf("lookup of %q: %q %v", k, got, err)
		}
	}
	got := map[string]string{}
	err := table.Base(tab).(table.Walker).Walk(ctx, func(k, v string) error { got[k] = v; return nil })
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("walk: %d entries, %v; want %d", len(got), err, len(want))
	}
}

// verify lets Berkeley DB's own tools look at a file.
func verify(t *testing.T, path string) {
	t.Helper()
	tool, err := exec.LookPath("db5.3_verify")
	if err != nil {
		t.Skip("db5.3_verify (package db5.3-util) is not installed")
	}
	if out, err := exec.Command(tool, "-o", path).CombinedOutput(); err != nil {
		t.Errorf("db5.3_verify: %v\n%s", err, out)
	}
	if out, err := exec.Command(tool, path).CombinedOutput(); err != nil {
		t.Errorf("db5.3_verify: %v\n%s", err, out)
	}
}

// load writes a file with Berkeley DB's own tool.
func loadTool(t *testing.T, kind, path string, entries map[string]string) {
	t.Helper()
	tool, err := exec.LookPath("db5.3_load")
	if err != nil {
		t.Skip("db5.3_load (package db5.3-util) is not installed")
	}
	var in strings.Builder
	for k, v := range entries {
		in.WriteString(k + "\n" + v + "\n")
	}
	cmd := exec.Command(tool, "-T", "-t", kind, path)
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("db5.3_load: %v\n%s", err, out)
	}
}

func TestReadForeign(t *testing.T) {
	for _, kind := range []string{"hash", "btree"} {
		for name, want := range samples() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "map")
				loadTool(t, kind, path+".db", want)
				tab, err := opener().Open(kind + ":" + path)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, tab, want)
			})
		}
	}
}

func TestDumpIsComplete(t *testing.T) {
	tool, err := exec.LookPath("db5.3_dump")
	if err != nil {
		t.Skip("db5.3_dump (package db5.3-util) is not installed")
	}
	for _, kind := range []string{"hash", "btree"} {
		path := filepath.Join(t.TempDir(), "map")
		build(t, kind, path, map[string]string{"a": "b", "long": strings.Repeat("x", 10000)})
		out, err := exec.Command(tool, "-p", path+".db").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{" a\\00\n b\\00\n", strings.Repeat("x", 10000) + "\\00\n", "DATA=END"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: dump lacks %.40q", kind, want)
			}
		}
	}
}

func TestChange(t *testing.T) {
	ctx := context.Background()
	for _, kind := range []string{"hash", "btree"} {
		path := filepath.Join(t.TempDir(), "map")
		build(t, kind, path, map[string]string{"a": "1", "b": "2", "c": "3"})
		os.Chmod(path+".db", 0o604)
		tab, err := opener().Open(kind + ":" + path)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, tab, map[string]string{"a": "1", "b": "2", "c": "3"})

		o := opener().With(table.DupReplace)
		typ, _ := o.Lookup(kind)
		c, err := typ.Change(path, o)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := c.Delete(ctx, "A"); !found || err != nil {
			t.Errorf("delete a: %v %v", found, err)
		}
		if found, err := c.Delete(ctx, "x"); found || err != nil {
			t.Errorf("delete x: %v %v", found, err)
		}
		c.Store(ctx, "B", "two")
		c.Store(ctx, "d", "4")
		if err := c.Commit(); err != nil {
			t.Fatal(err)
		}
		c.Close()
		// The open table sees the new file.
		compare(t, tab, map[string]string{"b": "two", "c": "3", "d": "4"})
		if st, _ := os.Stat(path + ".db"); st.Mode().Perm() != 0o604 {
			t.Errorf("mode is %v now", st.Mode())
		}
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "short": "abc", "text": strings.Repeat("hello\n", 1000),
	} {
		path := filepath.Join(dir, name)
		os.WriteFile(path+".db", []byte(content), 0o600)
		tab, err := opener().Open("hash:" + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, found, err := tab.Lookup(context.Background(), "x"); err == nil || found {
			t.Errorf("%s: found %v, err %v", name, found, err)
		}
	}
}

func FuzzDatabase(f *testing.F) {
	dir := f.TempDir()
	t := &testing.T{}
	for i, kind := range []string{"hash", "btree"} {
		path := filepath.Join(dir, fmt.Sprint(i))
		build(t, kind, path, map[string]string{"a": "b", "long": strings.Repeat("x", 3000)})
		b, err := os.ReadFile(path + ".db")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(0), byte(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16, c byte) {
		b = append([]byte{}, b...)
		if int(at) < len(b) {
			b[at] = c
		}
		read(t, b)
	})
}

// read reads whatever b is.
func read(t *testing.T, b []byte) {
	if len(b) < metaSize {
		return
	}
	m, err := parseMeta(b)
	if err != nil {
		return
	}
	d := &database{file: pagefile.Memory(b), meta: m}
	d.Lookup(context.Background(), "a")
	d.Lookup(context.Background(), "long")
	n := 0
	d.Walk(context.Background(), func(k, v string) error {
		if n++; n > 100000 {
			t.Fatal("the walk does not end")
		}
		return nil
	})
}

// Every octet of the parts that steer the reader takes every kind of value.
func TestCorrupt(t *testing.T) {
	for _, kind := range []string{"hash", "btree"} {
		path := filepath.Join(t.TempDir(), "map")
		build(t, kind, path, map[string]string{"a": "b", "long": strings.Repeat("x", 3000), "b": "c"})
		good, err := os.ReadFile(path + ".db")
		if err != nil {
			t.Fatal(err)
		}
		for at := range good {
			if at%pageSize >= 256 && at%pageSize < pageSize-64 {
				continue
			}
			for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff, good[at] + 1, good[at] - 1, good[at] ^ 0x10} {
				b := append([]byte{}, good...)
				b[at] = c
				read(t, b)
			}
		}
	}
}
