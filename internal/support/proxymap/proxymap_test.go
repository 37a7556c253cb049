package proxymap

import (
	"context"
	"net"
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
	"postern/internal/table/cidr"
	"postern/internal/table/inline"
	"postern/internal/table/system"
)

type source map[string]string

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
	types := append(system.Types(), inline.Type(), cidr.Type())
	log, lines := maillog.Record()
	tables := table.NewOpener(types)
	tables.Log = log
	if err := s.Open(&service.Env{Name: name, Common: &common, Config: config, Log: log, Tables: tables}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "proxymap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
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
	client.Proxy = proxymap.Opener(endpoint.New(filepath.Dir(dir), filepath.Base(dir), "proxymap", proxymap.Protocol,
		endpoint.Times{Timeout: 10 * time.Second, Idle: time.Second}))
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
