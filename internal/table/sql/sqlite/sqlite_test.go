package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	sqlite3 "github.com/ncruces/go-sqlite3"

	"postern/internal/table"
)

// database makes a file with one row.
func database1(t *testing.T, path, value string) {
	t.Helper()
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(fmt.Sprintf("CREATE TABLE t (k TEXT, v TEXT); INSERT INTO t VALUES ('key', '%s'), ('null', NULL)", value)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.sqlite")
	o := table.NewOpener([]table.Type{Type()})
	o.ErrorIsFatal = true
	conf := filepath.Join(dir, "x.cf")
	if err := os.WriteFile(conf, []byte("dbpath = "+path+"\nquery = SELECT v FROM t WHERE k = '%s'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open("sqlite:" + conf); err == nil {
		t.Error("a file that is not there is opened")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was created")
	}
	database1(t, path, "old")
	tab, err := o.Open("sqlite:" + conf)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	check := func(key, want string) {
		t.Helper()
		if got, found, err := tab.Lookup(context.Background(), key); got != want || found != (want != "") || err != nil {
			t.Errorf("%s: got %q %v %v, want %q", key, got, found, err, want)
		}
	}
	check("KEY", "old")
	check("null", "")
	check("' OR 1=1 --", "")
	// A file in its place is seen at once.
	database1(t, path+".new", "new")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	check("key", "new")
	var w sync.WaitGroup
	for range 20 {
		w.Add(1)
		go func() {
			defer w.Done()
			for range 20 {
				check("key", "new")
			}
		}()
	}
	w.Wait()
	if err := os.WriteFile(path+".bad", []byte("this is not a database, though it is long enough to look like one, almost"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".bad", path); err != nil {
		t.Fatal(err)
	}
	if _, found, err := tab.Lookup(context.Background(), "key"); err == nil {
		t.Errorf("a file that is no database: %v", found)
	}
}
