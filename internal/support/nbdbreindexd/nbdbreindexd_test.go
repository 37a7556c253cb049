package nbdbreindexd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/ipc/reindex"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/cdb"
	"postern/internal/table/lmdb"
)

// place is a folder with tables, and a server that notes what it would run.
type place struct {
	*Server
	dir string
	ran []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	log, _ := maillog.Record()
	common := &param.Common{CommandDirectory: "/usr/sbin", ConfigDirectory: "/etc/postfix", DefaultDatabaseType: "cdb", DefaultCacheDBType: "lmdb",
		IPCTimeout: time.Minute, MaxIdle: time.Minute}
	env := &service.Env{Common: common, Log: log, Draining: make(chan struct{}), Tables: table.NewOpener([]table.Type{cdb.Type(), lmdb.Type()})}
	p.Server = &Server{Config: Config{RootPrefixes: "/etc " + p.dir + "/", UserPrefixes: p.dir}}
	if err := p.Open(env); err != nil {
		t.Fatal(err)
	}
	p.run = func(_ context.Context, o sys.Owner, argv []string) error {
		p.ran = append(p.ran, fmt.Sprint(o.UID == os.Getuid(), " ", strings.Join(argv, " ")))
		_, path, _ := strings.Cut(argv[3], ":")
		return os.WriteFile(path+".cdb", nil, 0o644)
	}
	return p
}

func (p *place) table(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	for file, text := range map[string]string{path: text, path + ".db": ""} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestBuild(t *testing.T) {
	p := newPlace(t)
	virtual := p.table(t, "virtual", "# comment\na@b c\n d\n")
	aliases := p.table(t, "aliases", "root: me\n\"a b\": c\nx:y\n")
	for range 2 { // the second finds it
		if err := p.build(context.Background(), "hash", virtual); err != nil {
			t.Error(err)
		}
	}
	if err := p.build(context.Background(), "hash", aliases); err != nil {
		t.Error(err)
	}
	want := "true /usr/sbin/postmap -c /etc/postfix cdb:" + virtual + "\ntrue /usr/sbin/postalias -c /etc/postfix cdb:" + aliases
	if got := strings.Join(p.ran, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each request here is refused, and nothing is run.
func TestRefusals(t *testing.T) {
	p := newPlace(t)
	change := func(name string, f func(path string) error) string {
		path := p.table(t, name, "a b\n")
		if err := f(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nothing := func(string) error { return nil }
	open := filepath.Join(p.dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	p.table(t, "open/table", "a b\n")
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	good := change("good", nothing)
	for _, tt := range []struct{ what, typ, path, want string }{
		{"type", "cdb", good, "not of Berkeley DB"},
		{"type with a path", "hash:/etc/x:hash", good, "not of Berkeley DB"},
		{"relative", "hash", "good", "not the plain, absolute name"},
		{"dots", "hash", p.dir + "/../" + filepath.Base(p.dir) + "/good", "not the plain, absolute name"},
		{"newline", "hash", good + "\n", "not the plain, absolute name"},
		{"no source", "hash", change("nosource", os.Remove), "no such file"},
		{"no Berkeley DB file", "hash", change("nodb", func(path string) error { return os.Remove(path + ".db") }), "no such file"},
		{"writable source", "hash", change("writable", func(path string) error { return os.Chmod(path, 0o664) }), "run: chmod go-w"},
		{"folder", "hash", change("folder", func(path string) error {
			os.Remove(path)
			return os.Mkdir(path, 0o755)
		}), "not a regular file"},
		{"writable folder", "hash", filepath.Join(open, "table"), "run: chmod go-w"},
		{"mixed", "hash", p.table(t, "mixed", "a: b\nc d\n"), "looks like aliases in some"},
		{"unclear", "hash", p.table(t, "unclear", "a:b c\n"), "may be aliases or not"},
	} {
		err := p.build(context.Background(), tt.typ, tt.path)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want …%s…", tt.what, err, tt.want)
		}
	}
	p.RootPrefixes, p.UserPrefixes = "/etc "+p.dir[:len(p.dir)-1], p.dir[:len(p.dir)-1]
	if err := p.build(context.Background(), "hash", good); err == nil || !strings.Contains(err.Error(), "trusts") {
		t.Errorf("a folder that is not trusted: %v", err)
	}
	if os.Getuid() == 0 {
		p.RootPrefixes = p.dir
		other := change("other", func(path string) error { return os.Chown(path, 65534, 65534) })
		if err := p.build(context.Background(), "hash", other); err == nil || !strings.Contains(err.Error(), "belongs to uid 65534") {
			t.Errorf("another owner: %v", err)
		}
	}
	if p.ran != nil {
		t.Errorf("ran %q", p.ran)
	}
}

// A service that misses a table gets it built over the socket.
func TestRequest(t *testing.T) {
	p := newPlace(t)
	path := p.table(t, "virtual", "a b\n")
	if err := os.Mkdir(filepath.Join(p.dir, "private"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(p.dir, "private", "nbdb_reindex"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.Serve(context.Background(), c)
		}
	}()
	build := reindex.Builder(p.dir, "nbdb_reindex")
	if err := build("hash", path); err != nil || !exists(path+".cdb") {
		t.Errorf("got %v", err)
	}
	if err := build("hash", path+"x"); err == nil || !strings.Contains(err.Error(), "run by hand: postmap cdb:"+path+"x") {
		t.Errorf("got %v", err)
	}
}

func FuzzSniff(f *testing.F) {
	f.Add("a: b\n\"c d\": e\n")
	f.Add("a b\n c\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := sniff(strings.NewReader(text), "x"); err == nil && got != "postmap" && got != "postalias" {
			t.Errorf("got %q", got)
		}
	})
}
