package mysql

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mysqldriver "github.com/go-sql-driver/mysql"

	"postern/internal/table"
)

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOptionFiles(t *testing.T) {
	dir := t.TempDir()
	more := t.TempDir()
	write(t, more, "more.cnf", "[client]\nport = 3307\n")
	write(t, more, "more.txt", "[client]\nport = 1\n")
	inner := write(t, dir, "inner", "[mail]\nsocket=/run/x\n")
	path := write(t, dir, "my.cnf", "# comment\n; another\nuser = nobody\n[mysqld]\nuser = mysql\n[client]\nuser = \"a b\"\npassword='x#y' \n"+
		"default_character_set = latin1 # why\nskip-ssl\n!includedir "+more+"\n[mail]\ndatabase = mail\n!include "+inner+"\n[other]\nhost = z\n")
	got, err := readOptions(path, "mail")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"user": "a b", "password": "x#y", "default-character-set": "latin1", "skip-ssl": "", "port": "3307", "database": "mail", "socket": "/run/x"}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := readOptions(filepath.Join(dir, "nonesuch"), ""); err == nil {
		t.Error("a file that is not there is read")
	}
	write(t, dir, "loop.cnf", "!include "+filepath.Join(dir, "loop.cnf")+"\n")
	if _, err := readOptions(filepath.Join(dir, "loop.cnf"), ""); err == nil {
		t.Error("a file that includes itself is read")
	}
}

func TestAddresses(t *testing.T) {
	m := &client{port: "3306", socket: "/run/sock"}
	for host, want := range map[string]string{
		"db.example": "tcp db.example:3306", "inet:db.example:3307": "tcp db.example:3307", "[::1]:3": "tcp [::1]:3", "127.0.0.1": "tcp 127.0.0.1:3306",
		"unix:/tmp/x": "unix /tmp/x", "localhost": "unix /run/sock", "inet:localhost": "unix /run/sock", "unix:": "error", "a:b:c": "error", "": "error",
	} {
		network, addr, err := m.address(host)
		got := network + " " + addr
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", host, got, want)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	o := table.NewOpener([]table.Type{Type()})
	o.ErrorIsFatal = true
	options := write(t, dir, "my.cnf", "[client]\ndefault-character-set = gbk\n")
	for text, ok := range map[string]bool{
		"query = SELECT '%s'": true,
		"hosts = a b, unix:/x\nquery = SELECT '%s'\noption_group =":        true,
		"query = SELECT '%s'\ncharset = GBK":                               false,
		"query = SELECT '%s'\ncharset = utf8 collate x":                    false,
		"query = SELECT '%s'\noption_file = " + options:                    false,
		"query = SELECT '%s'\noption_file = " + options + "\ncharset=utf8": true,
		"query = SELECT '%s'\nhosts = a:b:c":                               false,
		"query = SELECT '%s' -- %u":                                        false,
		"query = SELECT %x":                                                false,
		"table = a\nselect_field = b":                                      false,
		"table = a\nselect_field = b\nwhere_field = c":                     true,
		"query = SELECT '%s'\nretry_interval = 0":                          false,
		"query = SELECT '%s'\nexpansion_limit = -1":                        false,
		"query = SELECT '%s'\nrequire_result_set = maybe":                  false,
	} {
		_, err := o.Open("mysql:" + write(t, dir, "x.cf", text+"\n"))
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && !strings.Contains(err.Error(), "x.cf") {
			t.Errorf("the error does not name the table: %v", err)
		}
		o.Close()
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
		ok    bool
	}{{nil, "", false}, {[]byte("x"), "x", true}, {int64(-5), "-5", true}, {uint64(18446744073709551615), "18446744073709551615", true}, {float32(1.5), "1.5", true}, {1e10, "10000000000", true}} {
		if got, ok := asText(c.value); got != c.want || ok != c.ok {
			t.Errorf("%v: got %q %v", c.value, got, ok)
		}
	}
}

func FuzzOptionFile(f *testing.F) {
	f.Add("[client]\nuser = x\npassword = '\n[mail]\n=\n#")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "!") {
			return // other files
		}
		path := write(t, t.TempDir(), "my.cnf", text)
		options, err := readOptions(path, "mail")
		if err != nil {
			t.Fatal(err)
		}
		(&client{config: mysqldriver.NewConfig()}).apply(options)
	})
}
