package pgsql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
)

func TestHosts(t *testing.T) {
	m := &client{user: "us er", password: `p'a\s`, dbname: "db", encoding: "UTF8"}
	for host, want := range map[string]string{
		"h": "h 5432", "inet:h:1": "h 1", "unix:/run/pg": "/run/pg 5432", "[::1]:2": "::1 2", "postgresql://u@x.example:7/d?sslmode=disable": "x.example 7",
	} {
		c, err := m.parse(host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		host, port, _ := strings.Cut(want, " ")
		if c.Host != host || port != "" && port != itoa(c.Port) || c.RuntimeParams["client_encoding"] != "UTF8" {
			t.Errorf("%s: got %s:%d %v", want, c.Host, c.Port, c.RuntimeParams)
		}
		if c.User != "u" && (c.User != m.user || c.Password != m.password || c.Database != "db") {
			t.Errorf("%s: user %q, password %q, database %q", want, c.User, c.Password, c.Database)
		}
	}
	for _, host := range []string{"unix:", "a:b:c", "", "postgresql://%zz", "postgresql://h:x/d"} {
		if c, err := m.parse(host); err == nil {
			t.Errorf("%q is taken: %+v", host, c)
		} else if strings.Contains(err.Error(), m.password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func itoa(n uint16) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	o := table.NewOpener([]table.Type{Type()})
	o.ErrorIsFatal = true
	for text, ok := range map[string]bool{
		"dbname = d\nquery = SELECT '%s'":                    true,
		"query = SELECT '%s'":                                false,
		"hosts = postgresql://h/d\nquery = SELECT '%s'":      true,
		"dbname = d\nselect_function = f":                    true,
		"dbname = d\nencoding = SJIS\nquery = SELECT '%s'":   false,
		"dbname = d\nencoding = LATIN1\nquery = SELECT '%s'": true,
		"dbname = d\nquery = SELECT $$%s$$":                  false,
		"dbname = d\ntable = t":                              false,
	} {
		path := filepath.Join(dir, "x.cf")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open("pgsql:" + path); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		o.Close()
	}
}
