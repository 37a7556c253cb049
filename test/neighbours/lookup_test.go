package neighbours

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"postern/test/harness"
)

// A pair is both systems with the same files.
type pair struct {
	t        *testing.T
	ours     *harness.Instance
	postfix  *harness.Instance
	compared int
	failed   map[string]int // lookups that differ, by table
}

func newPair(t *testing.T, main string, files map[string]string) *pair {
	t.Helper()
	c := harness.Config{Main: main, Files: files}
	return &pair{t: t, failed: map[string]int{}, ours: harness.New(t, harness.Postern, c), postfix: harness.New(t, harness.Postfix, c)}
}

// compare looks every key up in a table by postmap of both systems: all keys
// in one run and, where a key fails, the others one by one.
func (p *pair) compare(typeName, name string, keys []string, spec func(dir string) string) {
	p.t.Helper()
	if p.failed[name] > 5 {
		return
	}
	ask := func(i *harness.Instance, keys []string) (string, int) {
		out, status := i.Run(strings.Join(keys, "\n")+"\n", "postmap", "-q", "-", spec(i.Dir))
		return strings.ReplaceAll(out, i.Dir, ""), status
	}
	got, gotStatus := ask(p.ours, keys)
	want, wantStatus := ask(p.postfix, keys)
	p.compared += len(keys)
	// The words of warnings differ; how many there are does not.
	if answer(got) == answer(want) && gotStatus == wantStatus && strings.Count(got, "warning:") == strings.Count(want, "warning:") &&
		!strings.Contains(got+want, "fatal:") {
		return
	}
	if len(keys) == 1 {
		// So with errors.
		if gotStatus == 1 && wantStatus == 1 && strings.Contains(got, "fatal:") && strings.Contains(want, "fatal:") {
			return
		}
		p.failed[name]++
		p.t.Errorf("%s %s: key %q: got %q, status %d; Postfix: %q, status %d", typeName, name, keys[0], got, gotStatus, want, wantStatus)
		return
	}
	p.compared -= len(keys)
	half := len(keys) / 2
	p.compare(typeName, name, keys[:half], spec)
	p.compare(typeName, name, keys[half:], spec)
}

// answer is an output without log lines.
func answer(out string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(out, "\n") {
		if !strings.HasPrefix(line, "postmap: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// sqlTables makes the files of all queries for a server.
func sqlTables(typeName, connection string) map[string]string {
	files := map[string]string{}
	for _, q := range queries {
		files[typeName+"-"+q.name+".cf"] = connection + q.params
	}
	return files
}

// compareAll asks all queries, or those named, for all keys.
func (p *pair) compareAll(typeName string, names ...string) {
	p.t.Helper()
	keys := append(append([]string{}, allKeys...), hostileKeys...)
	for _, q := range queries {
		if len(names) > 0 && !slices.Contains(names, q.name) {
			continue
		}
		p.compare(typeName, q.name, keys, func(dir string) string {
			return fmt.Sprintf("%s:%s/etc/%s-%s.cf", typeName, dir, typeName, q.name)
		})
	}
	p.t.Logf("%s: %d lookups compared", typeName, p.compared)
	if p.compared < 100 {
		p.t.Errorf("only %d lookups", p.compared)
	}
}

// some names the queries that are asked of each server; SQLite, which needs
// none, is asked all of them.
var some = []string{"users", "quota", "notes", "user-of", "echo", "echo-user", "aliases", "aliases-1", "columns", "format", "legacy", "continued"}

// quoting names the queries that show how keys are quoted.
var quoting = []string{"users", "user-of", "echo", "echo-user"}

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqlite3 := program(t, "sqlite3")
	p := newPair(t, "lite_dbpath = @DIR@/etc/mail.sqlite\nlite_query = SELECT '%u of $mydomain'\n", sqlTables("sqlite", "dbpath = @DIR@/etc/mail.sqlite\n"))
	for _, i := range []*harness.Instance{p.ours, p.postfix} {
		cmd := exec.Command(sqlite3, i.Host("etc/mail.sqlite"))
		cmd.Stdin = strings.NewReader(sqlFor("sqlite"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	p.compareAll("sqlite")
	p.compare("sqlite", "main.cf", allKeys, func(string) string { return "sqlite:lite" })
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	s := mariadb(t, sqlFor("mariadb"))
	connection := file("hosts", s.addr(), "user", "postfix", "password", "secret 'pass", "dbname", "mail", "option_group", "")
	files := sqlTables("mysql", connection)
	files["ca.pem"], files["other.pem"] = s.cert, harness.Certificate(t, "localhost")
	files["mysql-tls.cf"] = connection + "tls_CAfile = @DIR@/etc/ca.pem\nquery = SHOW STATUS LIKE 'Ssl_version'\n"
	files["mysql-name.cf"] = connection + "tls_CAfile = @DIR@/etc/ca.pem\ntls_verify_cert = yes\nquery = SELECT '%s'\n"
	files["mysql-other.cf"] = connection + "tls_CAfile = @DIR@/etc/other.pem\nquery = SELECT '%s'\n"
	for name, text := range map[string]string{
		"call":   "query = CALL lookup('%s')\n",
		"twice":  "query = CALL twice('%s')\n",
		"silent": "query = CALL silent('%s')\n",
		"quiet":  "query = CALL silent('%s')\nrequire_result_set = no\n",
		"update": "query = UPDATE odd SET w = 'x' WHERE k = '%s'\n",
		"wrong":  "query = SELECT nonesuch FROM odd WHERE k = '%s'\n",
		"types":  "query = SELECT 1.50, DATE '2026-01-02', TRUE, 0.1E0, 18446744073709551615, 'x' = '%s'\n",
	} {
		files["mysql-"+name+".cf"] = connection + text
	}
	p := newPair(t, "", files)
	p.compareAll("mysql", some...)
	for _, name := range []string{"call", "twice", "silent", "quiet", "update", "wrong", "types"} {
		for _, key := range []string{"all@example.com", "multi"} {
			p.compare("mysql", name, []string{key}, func(dir string) string { return "mysql:" + dir + "/etc/mysql-" + name + ".cf" })
		}
	}
	for name, want := range map[string]string{"tls": "Ssl_version,TLSv1.3", "name": "127.0.0.1", "other": "certificate"} {
		if out, status := p.ours.Run("", "postmap", "-q", "x", "mysql:"+p.ours.Dir+"/etc/mysql-"+name+".cf"); !strings.Contains(out, want) || (status == 0) != (name == "tls") {
			t.Errorf("%s: %q, status %d", name, out, status)
		}
	}
	s.sql("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'")
	p.compareAll("mysql", quoting...)
	s.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES'")
	p.compareAll("mysql", quoting...)
	untouched(t, s)
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	s := postgresql(t, sqlFor("postgresql"))
	connection := file("hosts", s.addr(), "user", "postfix", "password", "secret'pass", "dbname", "postgres",
		"encoding", "LATIN1") // Postfix 3.7 knows no other
	files := sqlTables("pgsql", connection)
	files["pgsql-function.cf"] = connection + "select_function = alias_of\n"
	files["pgsql-uri.cf"] = fmt.Sprintf("hosts = postgresql://postfix@%s/postgres?sslmode=disable\ndbname = ignored\nquery = SELECT '%%s'\n", s.addr())
	files["pgsql-wrong.cf"] = connection + "query = SELECT nonesuch FROM odd WHERE k = '%s'\n"
	files["pgsql-escape.cf"] = connection + "query = SELECT U&'%s'\n"
	p := newPair(t, "", files)
	p.compareAll("pgsql", some...)
	for _, name := range []string{"function", "uri"} {
		p.compare("pgsql", name, allKeys, func(dir string) string { return "pgsql:" + dir + "/etc/pgsql-" + name + ".cf" })
	}
	p.compare("pgsql", "wrong", allKeys[:1], func(dir string) string { return "pgsql:" + dir + "/etc/pgsql-wrong.cf" })
	s.sql("ALTER ROLE postfix SET standard_conforming_strings = off; ALTER ROLE postfix SET escape_string_warning = off")
	p.compareAll("pgsql", quoting...)
	untouched(t, s)
}

// untouched checks that no key has changed what is in the database.
func untouched(t *testing.T, s *server) {
	t.Helper()
	use := ""
	if s.name == "mariadb" {
		use = "USE mail; "
	}
	if got := strings.TrimSpace(s.sql(use + "SELECT count(*) FROM virtual_users")); got != "9" {
		t.Errorf("%s: %q users are left", s.name, got)
	}
}
