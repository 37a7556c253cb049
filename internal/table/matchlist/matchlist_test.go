package matchlist

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/system"
)

func opener() *table.Opener { return table.NewOpener(append(system.Types(), inline.Type())) }

func TestMatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	os.WriteFile(file, []byte("# comment\nfile.example,\n  !not.example\n10.9.0.0/16\n"), 0o600)
	for _, c := range []struct {
		list       string
		flags      Flags
		host, addr string
		want       bool
	}{
		{"example.com", 0, "Example.COM", "", true},
		{"example.com", 0, "a.example.com", "", false},
		{"example.com", Parent, "a.example.com", "", true},
		{"example.com", Parent, "aexample.com", "", false},
		{".example.com", 0, "a.example.com", "", true},
		{".example.com", 0, "example.com", "", false},
		{"!a.example.com, .example.com", 0, "a.example.com", "", false},
		{"127.0.0.0/8 [::1]/128", 0, "x", "127.3.4.5", true},
		{"127.0.0.0/8 [::1]/128", 0, "x", "::1", true},
		{"127.0.0.0/8 [::1]/128", 0, "x", "::2", false},
		{"!127.0.0.1, 127.0.0.0/8", 0, "x", "127.0.0.1", false},
		{"[2001:db8::]/32", 0, "x", "2001:db8:1::1", true},
		{"192.0.2.1", 0, "192.0.2.1.example", "192.0.2.10", false},
		{"inline:{example.com=x}", 0, "a.example.com", "", false},
		{"inline:{.example.com=x}", 0, "a.example.com", "", true},
		{"inline:{example.com=x}", Parent, "a.example.com", "", true},
		{"inline:{192.0.2.1=x}", 0, "unknown", "192.0.2.1", true},
		{file, 0, "file.example", "", true},
		{file, 0, "not.example", "", false},
		{file, 0, "x", "10.9.1.1", true},
		{"!" + file, 0, "file.example", "", false},
		{"", 0, "x", "1.2.3.4", false},
	} {
		l, err := New("list", c.list, opener(), c.flags)
		if err != nil {
			t.Fatalf("%s: %v", c.list, err)
		}
		if got, err := l.Match(context.Background(), c.host, c.addr); got != c.want || err != nil {
			t.Errorf("%q, %d: %q %q: got %v, %v; want %v", c.list, c.flags, c.host, c.addr, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, list := range []string{"fail:x", "/nonexistent/file", "127.0.0.1/8"} {
		l, err := New("list", list, opener(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := l.Match(context.Background(), "host.example", "127.0.0.1"); ok || err == nil {
			t.Errorf("%s: %v %v", list, ok, err)
		}
	}
	for _, list := range []string{"a #comment", "!", "! a"} {
		if _, err := New("list", list, opener(), 0); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add("a, !b [::1]/128 1.2.3.4/8", "host", "1.2.3.4")
	f.Fuzz(func(t *testing.T, list, host, addr string) {
		l, err := New("list", list, table.NewOpener(nil), Parent)
		if err == nil {
			l.Match(context.Background(), host, addr)
		}
	})
}
