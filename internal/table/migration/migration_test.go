package migration_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/inline"
	"postern/internal/table/lmdb"
	"postern/internal/table/migration"
)

func types() []table.Type { return append(bdb.Types(), cdb.Type(), lmdb.Type(), inline.Type()) }

func TestType(t *testing.T) {
	for _, tt := range []struct {
		hash, btree, custom string
		typ, name           string
		want, problem       string
	}{
		{"cdb", "lmdb", "", "hash", "/a", "cdb", ""},
		{"cdb", "lmdb", "", "btree", "/a", "lmdb", ""},
		{"cdb", "lmdb", "inline:{{hash:/a = lmdb}, {btree = cdb}}", "hash", "/a", "lmdb", ""},
		{"cdb", "lmdb", "inline:{{hash:/a = lmdb}, {btree = cdb}}", "hash", "/b", "cdb", ""},
		{"cdb", "lmdb", "inline:{{hash:/a = lmdb}, {btree = cdb}}", "btree", "/b", "cdb", ""},
		{"hash", "lmdb", "", "hash", "/a", "", `default_database_type leads hash:/a to "hash", which is of Berkeley DB, too; set it to lmdb or cdb`},
		{"cdb", "btree", "", "btree", "/a", "", `default_cache_db_type leads btree:/a to "btree", which is of Berkeley DB, too; set it to lmdb or cdb`},
		{"cdb", "lmdb", "inline:{hash=nosuch}", "hash", "/a", "", `non_bdb_custom_mapping leads hash:/a to the unsupported type "nosuch"; set it to lmdb or cdb`},
		{"cdb", "lmdb", "hash:/map", "hash", "/a", "", `parameter non_bdb_custom_mapping: "hash:/map" is a table of Berkeley DB itself; use another type`},
	} {
		got, problem := "", ""
		m, err := migration.New(table.NewOpener(types()), &param.Common{DefaultDatabaseType: tt.hash, DefaultCacheDBType: tt.btree, NonBDBCustomMapping: tt.custom})
		if err == nil {
			got, err = m.Type(tt.typ, tt.name)
		}
		if err != nil {
			problem = err.Error()
		}
		if got != tt.want || problem != tt.problem {
			t.Errorf("%s %s %q, %s:%s: got %q, %q", tt.hash, tt.btree, tt.custom, tt.typ, tt.name, got, problem)
		}
	}
}

// A setting that names hash opens the cdb file; one that is missing is asked
// for, and a refusal makes lookups fail.
func TestApply(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "virtual")
	build := func(typ, path string) error {
		b, err := cdb.Type().Create(path, table.NewOpener(types()))
		if err != nil {
			return err
		}
		defer b.Close()
		return errors.Join(b.Put("key", "value"), b.Commit())
	}
	log, lines := maillog.Record()
	open := func(level string, build func(typ, path string) error) (string, bool, error) {
		t.Helper()
		o := table.NewOpener(types())
		o.Log = log
		defer o.Close()
		c := &param.Common{NonBDBLevel: level, NonBDBLogRedirect: true, DefaultDatabaseType: "cdb", DefaultCacheDBType: "lmdb"}
		if err := migration.Apply(o, c, build); err != nil {
			t.Fatal(err)
		}
		tab, err := o.Open("hash:" + path)
		if err != nil {
			t.Fatal(err)
		}
		return tab.Lookup(context.Background(), "KEY")
	}
	refuse := func(string, string) error { return errors.New("no") }
	for _, level := range []string{migration.Disable, migration.Redirect, migration.Reindex} {
		if _, found, err := open(level, refuse); found || err == nil {
			t.Errorf("%s: a table that does not exist: found %v, error %v", level, found, err)
		}
	}
	for _, level := range []string{migration.Reindex, migration.Redirect} {
		if got, found, err := open(level, build); got != "value" || !found || err != nil {
			t.Errorf("%s: got %q %v %v", level, got, found, err)
		}
	}
	if _, err := os.Stat(path + ".db"); err == nil {
		t.Error("a Berkeley DB file was made")
	}
	if want := "redirecting hash:" + path + " to cdb:" + path; !slices.ContainsFunc(lines(), func(s string) bool { return strings.HasSuffix(s, want) }) {
		t.Errorf("got %q, want %s", lines(), want)
	}
	err := migration.Apply(table.NewOpener(types()), &param.Common{NonBDBLevel: "reindex"}, nil)
	want := `parameter non_bdb_migration_level: invalid value "reindex"; need disable, enable-redirect or enable-reindex`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
