package proxymap

import (
	"context"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/proxymap"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/cache"
	"postern/internal/table/cidr"
	"postern/internal/table/inline"
	"postern/internal/table/system"
)

type source map[string]string

// A database has every key; the value is its own name.
type database string

func (d database) Lookup(context.Context, string) (string, bool, error) { return string(d), true, nil }
func (d database) Close() error                                         { return nil }

// start serves on a socket and returns what opens tables through it.
func start(t *testing.T, name string, conf source) (*table.Opener, func() []string) {
	t.Helper()
	conf["myhostname"] = "host.example"
	var common param.Common
	s := New()
	set := param.NewSet()
	common.Params(set)
	s.Params(set)
	config := maincf.Empty("main.cf")
	for n, v := range conf {
		config = config.Override(n, v, "test")
	}
	if err := set.Load(config); err != nil {
		t.Fatal(err)
	}
	types := append(system.Types(), inline.Type(), cidr.Type(), table.Type{Name: "btree", Cache: cache.Open},
		table.Type{Name: "mysql", Database: true, Open: func(name string, _ *table.Opener) (table.Table, error) { return database(name), nil }})
	log, lines := maillog.Record()
	tables := table.NewOpener(types)
	tables.Log = log
	if err := s.Open(&service.Env{Name: name, Common: &common, Config: config, Log: log, Tables: tables, Draining: make(chan struct{})}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "proxymap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		s.(service.Closer).Close()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.Serve(context.Background(), c)
			}()
		}
	}()
	client := table.NewOpener(types)
	ep := endpoint.New(filepath.Dir(dir), filepath.Base(dir), "proxymap", proxymap.Protocol,
		endpoint.Times{Timeout: time.Minute, Idle: time.Second})
	client.Proxy, client.ProxyCache = proxymap.Opener(ep), proxymap.CacheOpener(ep)
	return client, lines
}

func TestLookup(t *testing.T) {
	o, lines := start(t, "proxymap", source{
		"virtual_alias_maps":      "proxy:inline:{key=value}, inline:{a=b} proxy:cidr:{{10.0.0.0/8 ten}} proxy:fail:x",
		"local_login_sender_maps": "static:*",
	})
	ctx := context.Background()
	for _, c := range []struct {
		spec, key, want string
		found           bool
		err             string
		keys            table.Keys
	}{
		{"proxy:inline:{key=value}", "KEY", "value", true, "", table.Fixed},
		{"proxy:proxy:inline:{key=value}", "key", "value", true, "", table.Fixed},
		{"proxy:inline:{key=value}", "other", "", false, "", table.Fixed},
		{"proxy:cidr:{{10.0.0.0/8 ten}}", "10.1.1.1", "ten", true, "", table.Pattern},
		{"proxy:fail:x", "key", "", false, "lookup error", table.Fixed},
		{"proxy:inline:{a=b}", "a", "", false, "not configured", table.Fixed},
		{"proxy:unix:passwd.byname", "postern-nobody", "", false, "", table.Fixed},
	} {
		tab, err := o.Open(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		got, found, err := tab.Lookup(ctx, c.key)
		if got != c.want || found != c.found {
			t.Errorf("%s %s: got %q, %v, %v; want %q", c.spec, c.key, got, found, err, c.want)
		}
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s %s: error %v, want %q", c.spec, c.key, err, c.err)
		}
		if k := table.KeysOf(tab); k != c.keys {
			t.Errorf("%s: keys %v, want %v", c.spec, k, c.keys)
		}
	}
	if log := strings.Join(lines(), "\n"); !strings.Contains(log, `request for unapproved table: "inline:{a=b}"`) {
		t.Errorf("log:\n%s", log)
	}
}

func TestProxywriteHasItsOwnList(t *testing.T) {
	o, _ := start(t, "proxywrite", source{"virtual_alias_maps": "proxy:inline:{key=value}", "address_verify_map": "proxy:inline:{v=1}"})
	for spec, ok := range map[string]bool{"proxy:inline:{key=value}": false, "proxy:inline:{v=1}": true} {
		tab, _ := o.Open(spec)
		if _, _, err := tab.Lookup(context.Background(), "v"); (err == nil) != ok {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// A table that the parameters in proxy_read_maps name with NoProxy is opened
// in the program itself.
func TestNoProxy(t *testing.T) {
	o := table.NewOpener([]table.Type{inline.Type()})
	tab, err := o.With(table.NoProxy).Open("proxy:inline:{a=b}")
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := tab.Lookup(context.Background(), "a"); got != "b" {
		t.Errorf("got %q", got)
	}
}

// Two programs share a cache: what one stores, the other sees.
func TestSharedCache(t *testing.T) {
	spec := "btree:" + filepath.Join(t.TempDir(), "verify_cache")
	o, lines := start(t, "proxywrite", source{"address_verify_map": "proxy:" + spec})
	ctx := context.Background()
	var c [2]table.Cache
	for i := range c {
		var err error
		if c[i], err = o.OpenCache("proxy:" + spec); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"a@example.com": "0:1:2:ok", "b@example.com": "", "c@example.com": "x"}
	for key, value := range want {
		if err := c[0].Store(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := c[0].Delete(ctx, "c@example.com"); !found || err != nil {
		t.Errorf("delete: %v %v", found, err)
	}
	if found, err := c[1].Delete(ctx, "c@example.com"); found || err != nil {
		t.Errorf("delete again: %v %v", found, err)
	}
	delete(want, "c@example.com")
	if v, found, err := c[1].Lookup(ctx, "a@example.com"); v != "0:1:2:ok" || !found || err != nil {
		t.Errorf("lookup: %q %v %v", v, found, err)
	}
	got := map[string]string{}
	if err := c[1].Walk(ctx, func(k, v string) error { got[k] = v; return nil }); err != nil || !maps.Equal(got, want) {
		t.Errorf("walk: %v, %v; want %v", got, err, want)
	}
	other, _ := o.OpenCache("proxy:btree:/tmp/other")
	if err := other.Store(ctx, "k", "v"); err == nil || !strings.Contains(err.Error(), `add "proxy:btree:/tmp/other" to proxy_write_maps`) {
		t.Errorf("store in a table that is not approved: %v", err)
	}
	if log := strings.Join(lines(), "\n"); !strings.Contains(log, `request for unapproved table: "btree:/tmp/other"`) {
		t.Errorf("log: %s", log)
	}
}

// Tables that are only read are not changed, whoever asks.
func TestChangeOfAReadOnlyTable(t *testing.T) {
	for _, name := range []string{"proxymap", "proxywrite"} {
		o, _ := start(t, name, source{"virtual_alias_maps": "proxy:inline:{a=b}", "address_verify_map": "proxy:inline:{a=b}"})
		c, _ := o.OpenCache("proxy:inline:{a=b}")
		if err := c.Store(context.Background(), "a", "c"); err == nil {
			t.Errorf("%s: stored", name)
		}
	}
}

// FuzzServe sends what is no request to the service.
func FuzzServe(f *testing.F) {
	f.Add([]byte("request\x00lookup\x00table\x00inline:{a=b}\x00flags\x000\x00key\x00a\x00\x00"))
	f.Add([]byte("request\x00update\x00table\x00inline:{a=b}\x00flags\x00-1\x00key\x00a\x00value\x00\x00\x00"))
	f.Add([]byte("request\x00sequence\x00table\x00\x00flags\x00x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tables := table.NewOpener([]table.Type{inline.Type()})
		s := &Server{tables: tables, log: maillog.Discard(), approved: map[string]bool{"inline:{a=b}": true}, timeout: time.Second}
		server, client := net.Pipe()
		go func() {
			client.Write(b)
			client.Close()
		}()
		go io.Copy(io.Discard, client)
		s.Serve(context.Background(), server)
		server.Close()
	})
}

// Tables in databases are the service's, whether the configuration says
// "proxy:" or not; those that the configuration does not name are nobody's.
func TestDatabases(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("master.cf", "smtp inet n - n - - smtpd -o smtpd_client_restrictions=mysql:/f,permit -o { smtpd_helo_restrictions = check_helo_access mysql:/g }\n")
	o, lines := start(t, "proxymap", source{
		"config_directory":        dir,
		"proxy_read_maps":         "",
		"mine":                    "mysql",
		"virtual_alias_maps":      "hash:/x, $mine:/a inline:{a=b}",
		"transport_maps":          "pipemap:{inline:{a=b}, mysql:/b} debug:mysql:/i",
		"users":                   "check_recipient_access mysql:/c, reject",
		"virtual_mailbox_domains": "!" + write("domains", "# mysql:/no\nexample.com\nmysql:/d\n"),
		"relay_domains":           "proxy:mysql:/e",
	})
	o.ShareDatabases = true
	ctx := context.Background()
	for spec, ok := range map[string]bool{"mysql:/a": true, "mysql:/b": true, "mysql:/c": true, "mysql:/d": true,
		"proxy:mysql:/e": true, "mysql:/f": true, "mysql:/g": true, "mysql:/i": true, "mysql:/no": false, "mysql:/h": false} {
		tab, err := o.Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		_, found, err := tab.Lookup(ctx, "key")
		if (err == nil) != ok || found != ok {
			t.Errorf("%s: %v, %v", spec, found, err)
		}
	}
	n := len(lines())
	tab, _ := o.With(table.Secure).Open("mysql:/h")
	if v, _, err := tab.Lookup(ctx, "key"); v != "/h" || err != nil {
		t.Errorf("a table that must not be proxied: %q, %v", v, err)
	}
	if len(lines()) != n {
		t.Error("it was asked for in the service")
	}
}
