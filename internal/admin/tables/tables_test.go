package tables

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/admin/postalias"
	"postern/internal/admin/postmap"
	"postern/internal/config/param"
	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/cdb"
	"postern/internal/table/cidr"
	"postern/internal/table/combine"
	"postern/internal/table/inline"
	"postern/internal/table/static"
	"postern/internal/table/system"
)

type program struct{ restrictions, virtual, local string }

func (p *program) smtpd(s *param.Set) {
	s.Str(&p.restrictions, "smtpd_recipient_restrictions", "")
	s.Str(&p.virtual, "virtual_alias_maps", "$virtual_maps")
	s.Str(&p.local, "local_recipient_maps", "proxy:unix:passwd.byname $alias_maps")
}

func (p *program) sendmail(s *param.Set) { s.Str(&p.local, "alias_database", "$alias_maps") }

func (p *program) cleanup(s *param.Set) { s.Str(&p.virtual, "virtual_alias_maps", "$virtual_maps") }

func knowledge() Knowledge {
	var p program
	return Knowledge{
		Programs:   []Program{{"smtpd", p.smtpd}, {"cleanup", p.cleanup}},
		Parameters: []func(*param.Set){new(param.Common).Params, p.smtpd, p.sendmail},
		Types:      slices.Concat(bdb.Types(), combine.Types(), system.Types(), []table.Type{inline.Type(), static.Type(), cdb.Type(), cidr.Type()}),
		Postmap:    postmap.Strict,
		Postalias:  postalias.Strict,
	}
}

// A place is a configuration directory with tables.
type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T) *place {
	p := &place{t, t.TempDir()}
	p.write("main.cf", `compatibility_level = 3.6
myhostname = host.example
maillog_file_prefixes = /
maillog_file = DIR/log
smtpd_restriction_classes = strict
strict = check_client_access cidr:DIR/networks
smtpd_recipient_restrictions = check_policy_service unix:private/policy, check_recipient_access hash:DIR/access, strict
virtual_alias_maps = pipemap:{hash:DIR/virtual, inline:{a=b}}
alias_maps = hash:DIR/aliases
unused_maps = hash:DIR/missing
`)
	p.write("master.cf", `smtp inet n - n - - smtpd
submission inet n - n - - smtpd -o smtpd_recipient_restrictions=static:DUNNO
cleanup unix n - n - 0 cleanup
`)
	p.write("access", "example.com OK\n")
	p.write("virtual", "a@b c\nd@e f\n")
	p.write("networks", "10.0.0.0/8 OK\n192.0.2.0/24 REJECT\n")
	p.write("aliases", "root: me\n")
	for _, name := range []string{"access", "virtual"} {
		p.age(name, 3*time.Hour)
		var out bytes.Buffer
		if postmap.Main([]string{"postmap", "-c", p.dir, "hash:" + filepath.Join(p.dir, name)}, nil, &out, &out, knowledge().Types) != 0 {
			t.Fatal(out.String())
		}
	}
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(strings.ReplaceAll(text, "DIR", p.dir)), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) age(name string, d time.Duration) {
	p.t.Helper()
	then := time.Now().Add(-d)
	if err := os.Chtimes(filepath.Join(p.dir, name), then, then); err != nil {
		p.t.Fatal(err)
	}
}

// list returns the tables by name, with the folder left out.
func (p *place) list(args ...string) map[string]Table {
	p.t.Helper()
	var out, errs bytes.Buffer
	Main(append([]string{"tables", "-c", p.dir, "--json"}, args...), &out, &errs, knowledge())
	var list []Table
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		p.t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	all := map[string]Table{}
	for _, t := range list {
		all[strings.ReplaceAll(t.Spec, p.dir, "DIR")] = t
	}
	return all
}

func TestList(t *testing.T) {
	p := newPlace(t)
	all := p.list()
	for _, c := range []struct {
		spec       string
		services   string
		parameters string
		entries    int // -1: not counted
		stale, bad bool
	}{
		{"hash:DIR/access", "smtp/inet", "smtpd_recipient_restrictions", 1, false, false},
		{"cidr:DIR/networks", "smtp/inet,submission/inet", "strict", 2, false, false},
		{"static:DUNNO", "submission/inet", "smtpd_recipient_restrictions", -1, false, false},
		{"hash:DIR/virtual", "smtp/inet,submission/inet,cleanup/unix", "virtual_alias_maps (in pipemap)", 2, false, false},
		{"hash:DIR/aliases", "smtp/inet,submission/inet,newaliases", "local_recipient_maps,alias_database,alias_maps", -1, true, true},
		{"hash:DIR/missing", "", "unused_maps", -1, false, true},
		{"proxy:unix:passwd.byname", "smtp/inet,submission/inet", "local_recipient_maps", -1, false, false},
	} {
		got, ok := all[c.spec]
		if !ok {
			t.Errorf("%s is not listed", c.spec)
			continue
		}
		entries := -1
		if got.Entries != nil {
			entries = *got.Entries
		}
		if s := strings.Join(got.Services, ","); s != c.services || strings.Join(got.Parameters, ",") != c.parameters ||
			entries != c.entries || got.Stale != c.stale || (got.Error != "") != c.bad {
			t.Errorf("%s: got %+v, %d entries, want %+v", c.spec, got, entries, c)
		}
	}
	if _, ok := all["unix:private/policy"]; ok {
		t.Error("a socket is listed as a table")
	}
	var out bytes.Buffer
	if Main([]string{"tables", "-c", p.dir}, &out, &out, knowledge()) != 1 || !strings.Contains(out.String(), "run: postalias hash:"+p.dir+"/aliases\n") {
		t.Errorf("text:\n%s", out.String())
	}
}

// A table is built anew when its source is newer and right; else the old one stays.
// A source without an index is told as such.
func TestNotBuilt(t *testing.T) {
	p := newPlace(t)
	p.write("missing", "a b\n")
	var out bytes.Buffer
	Main([]string{"tables", "-c", p.dir}, &out, &out, knowledge())
	want := "    DIR/missing.db has not been made from DIR/missing; run: postmap hash:DIR/missing\n"
	if got := strings.ReplaceAll(out.String(), p.dir, "DIR"); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The file of the type that is used in the place of hash is told of.
func TestLed(t *testing.T) {
	p := newPlace(t)
	p.write("main.cf", "virtual_alias_maps = hash:DIR/virtual\ndefault_database_type = cdb\nnon_bdb_migration_level = enable-redirect\n")
	got := p.list()["hash:DIR/virtual"]
	if want := filepath.Join(p.dir, "virtual.cdb"); got.Type != "cdb" || got.File != want || !got.Stale {
		t.Errorf("got %+v, want %s of type cdb", got, want)
	}
}

func TestRebuild(t *testing.T) {
	p := newPlace(t)
	p.age("aliases", time.Hour)
	p.age("access.db", time.Hour)
	p.write("access", "example.com OK\nexample.net REJECT\n")
	var errs bytes.Buffer
	rebuild := func() { Main([]string{"tables", "-c", p.dir, "--rebuild"}, &errs, &errs, knowledge()) }
	rebuild()
	all := p.list()
	if got := all["hash:DIR/aliases"]; got.Stale || got.Error != "" {
		t.Errorf("aliases: %+v\n%s", got, errs.String())
	}
	if got := all["hash:DIR/access"]; !got.Stale || *got.Entries != 1 {
		t.Errorf("a source that was changed just now is taken: %+v\n%s", got, errs.String())
	}
	p.write("access", "example.com OK\nwrong\nexample.net REJECT\n")
	p.age("access", time.Minute)
	rebuild()
	if got := p.list()["hash:DIR/access"]; !got.Stale || *got.Entries != 1 || !strings.Contains(errs.String(), "line 2") {
		t.Errorf("a source with a mistake is taken: %+v\n%s", got, errs.String())
	}
	p.write("access", "example.com OK\nexample.net REJECT\n")
	p.age("access", time.Minute)
	rebuild()
	if got := p.list()["hash:DIR/access"]; got.Stale || *got.Entries != 2 {
		t.Errorf("after the repair: %+v\n%s", got, errs.String())
	}
}
