package lmdb

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

func samples() map[string]map[string]string {
	many := map[string]string{}
	for i := range 60000 {
		many[fmt.Sprintf("user%d@example%d.com", i, i%7)] = fmt.Sprintf("box/%d", i)
	}
	long := map[string]string{}
	for i := range 400 {
		long[fmt.Sprintf("%s%03d", strings.Repeat("k", 1+i), i)] = strings.Repeat("v", 1+50*i)
	}
	edge := map[string]string{}
	for n := 1480; n < 1560; n++ {
		edge[strings.Repeat("x", n-1100)] = strings.Repeat("y", n)
	}
	return map[string]map[string]string{"empty": {}, "one": {"a": "b"}, "many": many, "long": long, "edge": edge}
}

func opener() *table.Opener { return table.NewOpener([]table.Type{Type()}) }

func build(t testing.TB, path string, entries map[string]string) {
	t.Helper()
	b, err := create(path, opener())
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

func compare(t *testing.T, tab table.Table, want map[string]string) {
	t.Helper()
	ctx := context.Background()
	for k, v := range want {
		got, found, err := tab.Lookup(ctx, k)
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

func TestWriteAndRead(t *testing.T) {
	for name, want := range samples() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "map")
			build(t, path, want)
			tab, err := opener().Open("lmdb:" + path)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, tab, want)
			dump(t, path+suffix, want)
		})
	}
}

// dump lets LMDB's own tool read a file.
func dump(t *testing.T, path string, want map[string]string) {
	t.Helper()
	tool, err := exec.LookPath("mdb_dump")
	if err != nil {
		t.Skip("mdb_dump (package lmdb-utils) is not installed")
	}
	out, err := exec.Command(tool, "-n", "-p", path).CombinedOutput()
	if err != nil {
		t.Fatalf("mdb_dump: %v\n%s", err, out)
	}
	_, body, _ := strings.Cut(string(out), "HEADER=END\n")
	lines := strings.Split(strings.TrimSuffix(body, "DATA=END\n"), "\n")
	got := map[string]string{}
	for i := 0; i+1 < len(lines); i += 2 {
		got[strings.TrimSuffix(lines[i][1:], "\\00")] = strings.TrimSuffix(lines[i+1][1:], "\\00")
	}
	if !maps.Equal(got, want) {
		t.Errorf("mdb_dump shows %d entries, want %d", len(got), len(want))
	}
}

func TestReadForeign(t *testing.T) {
	tool, err := exec.LookPath("mdb_load")
	if err != nil {
		t.Skip("mdb_load (package lmdb-utils) is not installed")
	}
	for name, want := range samples() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "map")
			var in strings.Builder
			in.WriteString("VERSION=3\nformat=print\ntype=btree\nmapsize=104857600\nmaxreaders=126\ndb_pagesize=4096\nHEADER=END\n")
			for k, v := range want {
				in.WriteString(" " + k + "\n " + v + "\n")
			}
			in.WriteString("DATA=END\n")
			cmd := exec.Command(tool, "-n", path+suffix)
			cmd.Stdin = strings.NewReader(in.String())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("mdb_load: %v\n%s", err, out)
			}
			tab, err := opener().Open("lmdb:" + path)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, tab, want)
		})
	}
}

func TestChange(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "map")
	build(t, path, map[string]string{"a": "1", "b": "2"})
	tab, err := opener().Open("lmdb:" + path)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, tab, map[string]string{"a": "1", "b": "2"})
	c, err := change(path, opener())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Delete(ctx, "A")
	c.Store(ctx, "C", "3")
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
	compare(t, tab, map[string]string{"b": "2", "c": "3"})
}

func TestKeyTooLong(t *testing.T) {
	b, _ := create(filepath.Join(t.TempDir(), "map"), opener())
	b.Put(strings.Repeat("x", 600), "y")
	if err := b.Commit(); err == nil {
		t.Error("a key of 600 octets was written")
	}
}

// read reads whatever b is.
func read(t *testing.T, b []byte) {
	if len(b) < headerSize+metaSize {
		return
	}
	d := &database{file: pagefile.Memory(b)}
	if d.checkHead(b) != nil {
		return
	}
	d.Lookup(context.Background(), "a")
	d.Lookup(context.Background(), "long")
	n := 0
	d.Walk(context.Background(), func(k, v string) error {
		if n++; n > 1_000_000 {
			t.Fatal("the walk does not end")
		}
		return nil
	})
}

func sample(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "map")
	m := map[string]string{"a": "b", "long": strings.Repeat("x", 3000)}
	for i := range 300 {
		m[fmt.Sprintf("key%d", i)] = "v"
	}
	build(t, path, m)
	b, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCorrupt(t *testing.T) {
	good := sample(t)
	for at := range good {
		if at%pageSize >= 200 && at%pageSize < pageSize-64 {
			continue
		}
		for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff, good[at] + 1, good[at] - 1, good[at] ^ 0x10} {
			b := append([]byte{}, good...)
			b[at] = c
			read(t, b)
		}
	}
}

func FuzzDatabase(f *testing.F) {
	f.Add(sample(f), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, c byte) {
		b = append([]byte{}, b...)
		if int(at) < len(b) {
			b[at] = c
		}
		read(t, b)
	})
}

func TestMapSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	o := table.NewOpener([]table.Type{Type()})
	for text, want := range map[string]uint64{"33554432": 32 << 20, "": firstMap, "x": 0, "-1": 0} {
		o.Setting = func(name string) (string, bool) { return text, text != "" && name == "lmdb_map_size" }
		b, err := create(path, o)
		if err == nil {
			err = b.Commit()
		}
		if (err == nil) != (want > 0) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil {
			continue
		}
		file, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if got := le.Uint64(file[32:]); got != want {
			t.Errorf("%q: the map has %d octets, want %d", text, got, want)
		}
	}
}
