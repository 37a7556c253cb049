package cache

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/table"
)

func opener(t *testing.T) (*table.Opener, func() []string) {
	t.Helper()
	o := table.NewOpener(Cached([]table.Type{{Name: "btree"}, {Name: "lmdb"}}, "btree"))
	log, lines := maillog.Record()
	o.Log = log
	return o, lines
}

func open1(t *testing.T, o *table.Opener, spec string) table.Cache {
	t.Helper()
	c, err := o.OpenCache(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func list(t *testing.T, c table.Cache) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := c.Walk(context.Background(), func(k, v string) error { got[k] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestChangesAreSeenAndKept(t *testing.T) {
	ctx := context.Background()
	o, _ := opener(t)
	name := filepath.Join(t.TempDir(), "verify_cache")
	if err := os.WriteFile(name+".db", []byte("of another program"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open1(t, o, "btree:"+name)
	for i := range 1200 {
		if err := c.Store(ctx, fmt.Sprintf("k%04d", i), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Store(ctx, "k0007", "new")
	if v, found, err := c.Lookup(ctx, "k0007"); v != "new" || !found || err != nil {
		t.Errorf("got %q %v %v", v, found, err)
	}
	if got := list(t, c); len(got) != 1200 || got["k0007"] != "new" || got["k1199"] != "1199" {
		t.Errorf("%d entries", len(got))
	}
	// What the clean-up of a caller does.
	err := c.Walk(ctx, func(k, v string) error {
		if k > "k0002" {
			if found, err := c.Delete(ctx, k); !found || err != nil {
				t.Errorf("delete %s: %v %v", k, found, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Delete(ctx, "k0500"); found || err != nil {
		t.Errorf("deleted twice: %v %v", found, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(ctx, "late", "x"); err == nil {
		t.Error("a closed cache takes changes")
	}
	want := map[string]string{"k0000": "0", "k0001": "1", "k0002": "2"}
	again := open1(t, o, "btree:"+name)
	if got := list(t, again); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	key, value, found, err := again.(table.Sequencer).Next(ctx, "k0001")
	if key != "k0002" || value != "2" || !found || err != nil {
		t.Errorf("next: %q %q %v %v", key, value, found, err)
	}
	if _, _, found, _ := again.(table.Sequencer).Next(ctx, "k0002"); found {
		t.Error("there is one after the last")
	}
	if b, _ := os.ReadFile(name + ".db"); string(b) != "of another program" {
		t.Errorf("the other program's file has %q", b)
	}
	for _, key := range []string{"", strings.Repeat("k", maxKeyLength+1)} {
		if again.Store(ctx, key, "v") == nil {
			t.Errorf("a key of %d octets is taken", len(key))
		}
	}
}

func TestDamagedFileIsPutAside(t *testing.T) {
	o, lines := opener(t)
	name := filepath.Join(t.TempDir(), "c")
	if err := os.WriteFile(name+Suffix, []byte(strings.Repeat("not a database ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open1(t, o, "btree:"+name)
	if got := list(t, c); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if log := strings.Join(lines(), "\n"); !strings.Contains(log, "is damaged") {
		t.Errorf("log: %s", log)
	}
	if _, err := os.Stat(name + Suffix + ".damaged"); err != nil {
		t.Error(err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	o, _ := opener(t)
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "soft"+Suffix)); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(target, filepath.Join(dir, "hard"+Suffix)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"soft", "hard"} {
		if c, err := o.OpenCache("btree:" + filepath.Join(dir, name)); err == nil {
			c.Close()
			t.Errorf("%s is opened", name)
		}
	}
	if st, _ := os.Stat(target); st.Size() != 0 {
		t.Error("the target was written")
	}
}

func TestTypes(t *testing.T) {
	o, _ := opener(t)
	for _, spec := range []string{"lmdb:/x", "nonesuch:/x", "proxy:btree:/x", "x"} {
		if _, err := o.OpenCache(spec); err == nil {
			t.Errorf("%s is opened", spec)
		}
	}
}
