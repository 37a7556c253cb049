package memcache

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/table"
	"postern/internal/table/cache"
	"postern/internal/table/inline"
)

// A fake is a memcached server.
type fake struct {
	mu       sync.Mutex
	entries  map[string]string
	commands []string
	drop     int // connections to close without a reply
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.drop > 0 {
			f.drop--
			f.mu.Unlock()
			return
		}
		w := strings.Fields(line)
		switch w[0] {
		case "get":
			f.commands = append(f.commands, line)
			if v, ok := f.entries[w[1]]; ok {
				fmt.Fprintf(c, "VALUE %s 0 %d\r\n%s\r\n", w[1], len(v), v)
			}
			io.WriteString(c, "END\r\n")
		case "set":
			var n int
			fmt.Sscan(w[4], &n)
			b := make([]byte, n+2)
			io.ReadFull(r, b)
			f.entries[w[1]] = string(b[:n])
			f.commands = append(f.commands, line+string(b[:n]))
			io.WriteString(c, "STORED\r\n")
		case "delete":
			f.commands = append(f.commands, line)
			reply := "NOT_FOUND\r\n"
			if _, ok := f.entries[w[1]]; ok {
				reply = "DELETED\r\n"
			}
			delete(f.entries, w[1])
			io.WriteString(c, reply)
		}
		f.mu.Unlock()
	}
}

func start(t *testing.T) (*fake, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &fake{entries: map[string]string{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f, "memcache = inet:" + l.Addr().String() + "\nretry_pause = 1\n"
}

func opener(t *testing.T, config string) (o *table.Opener, spec string, lines func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.cf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o = table.NewOpener([]table.Type{Type(), inline.Type(), {Name: "btree", Cache: cache.Open}})
	log, lines := maillog.Record()
	o.Log, o.ErrorIsFatal = log, true
	return o, "memcache:" + path, lines
}

func TestLookup(t *testing.T) {
	f, config := start(t)
	f.entries["p:a@example.com"] = "from the server"
	f.entries["p:empty@example.com"] = ""
	o, spec, lines := opener(t, config+"key_format = p:%s\nbackup = inline:{{b@example.com = from the backup}}\n")
	tab, err := o.Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	for _, c := range []struct{ key, want string }{
		{"A@example.com", "from the server"}, {"b@example.com", "from the backup"}, {"c@example.com", ""}, {"with space", ""}, {"x\r\nset y 0 0 1\r\nz", ""},
		{strings.Repeat("k", 300), ""}, {"", ""},
	} {
		got, _, err := tab.Lookup(context.Background(), c.key)
		if got != c.want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", c.key, got, err, c.want)
		}
	}
	if _, found, _ := tab.Lookup(context.Background(), "empty@example.com"); !found {
		t.Error("an empty value is not found")
	}
	if f.entries["p:b@example.com"] != "from the backup" {
		t.Errorf("the server has %q", f.entries)
	}
	if got := strings.Join(f.commands, ""); !strings.Contains(got, "set p:b@example.com 0 3600 15\r\nfrom the backup") || strings.Contains(got, "set y") {
		t.Errorf("commands: %q", got)
	}
	if len(lines()) != 0 {
		t.Errorf("log: %q", lines())
	}
}

func TestServerFails(t *testing.T) {
	f, config := start(t)
	f.entries["k"] = "v"
	f.drop = 1
	o, spec, _ := opener(t, config)
	tab, _ := o.Open(spec)
	if v, _, err := tab.Lookup(context.Background(), "k"); v != "v" || err != nil {
		t.Errorf("second try: %q, %v", v, err)
	}
	f.drop = 2
	if _, _, err := tab.Lookup(context.Background(), "k"); err == nil {
		t.Error("two failures are no error")
	}
	o, spec, lines := opener(t, "memcache = unix:/nonexistent/socket\n")
	tab, _ = o.Open(spec)
	if _, _, err := tab.Lookup(context.Background(), "k"); err == nil {
		t.Error("a server that is not there is no error")
	}
	o, spec, lines = opener(t, "memcache = unix:/nonexistent/socket\nbackup = inline:{k=b}\n")
	tab, _ = o.Open(spec)
	if v, _, err := tab.Lookup(context.Background(), "k"); v != "b" || err != nil || len(lines()) != 1 {
		t.Errorf("got %q, %v, log %q", v, err, lines())
	}
}

func TestCache(t *testing.T) {
	ctx := context.Background()
	for _, backup := range []string{"", "backup = btree:" + filepath.Join(t.TempDir(), "cache") + "\n"} {
		f, config := start(t)
		o, spec, _ := opener(t, config+backup+"ttl = 60\nkey_digest = sha256\n")
		c, err := o.OpenCache(spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Store(ctx, "key with space", "v\r\nEND\r\n"); err != nil {
			t.Error(err)
		}
		if v, found, err := c.Lookup(ctx, "key with space"); v != "v\r\nEND\r\n" || !found || err != nil {
			t.Errorf("%q: %q %v %v", backup, v, found, err)
		}
		clear(f.entries) // the server forgets
		_, found, err := c.Lookup(ctx, "key with space")
		if found != (backup != "") || err != nil {
			t.Errorf("%q: forgotten: %v %v", backup, found, err)
		}
		n := 0
		if err := c.Walk(ctx, func(k, v string) error { n++; return nil }); (err == nil) != (backup != "") || backup != "" && n != 1 {
			t.Errorf("%q: walk: %d, %v", backup, n, err)
		}
		if found, err := c.Delete(ctx, "key with space"); found != (backup != "") || err != nil {
			t.Errorf("%q: delete: %v %v", backup, found, err)
		}
		if len(f.entries) != 0 {
			t.Errorf("the server has %q", f.entries)
		}
		c.Close()
	}
}

func TestRefusals(t *testing.T) {
	for _, text := range []string{"memcache = localhost:1", "memcache = inet:", "memcache = unix:", "key_format = %x", "key_digest = crc", "max_try = 0", "ttl = x"} {
		o, spec, _ := opener(t, text+"\n")
		if _, err := o.Open(spec); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	o, spec, _ := opener(t, "")
	if _, err := o.With(table.Secure).Open(spec); err == nil {
		t.Error("taken for security-sensitive data")
	}
}

// FuzzReply reads what is no reply.
func FuzzReply(f *testing.F) {
	f.Add("VALUE k 0 3\r\nabc\r\nEND\r\n")
	f.Add("VALUE k 0 99999999\r\n")
	f.Add("VALUE k 0 -1\r\n\r\nEND\r\n")
	f.Add(strings.Repeat("x", 5000))
	f.Fuzz(func(t *testing.T, text string) {
		s := &server{lineLimit: 100, dataLimit: 100, timeout: time.Second}
		value, found, err := s.readValue(bufio.NewReaderSize(strings.NewReader(text), 16), "k")
		if found && (err != nil || !strings.HasPrefix(text, "VALUE k ") || !strings.Contains(text, value)) || len(value) > 100 {
			t.Errorf("%q: %q, %v", text, value, err)
		}
	})
}
