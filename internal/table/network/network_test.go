package network

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"postern/internal/base/sys/systest"
	"postern/internal/table"
)

// serve answers each connection with f until it fails.
func serve(t *testing.T, f func(r *bufio.Reader, c net.Conn) error) string {
	return systest.Serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		for r := bufio.NewReader(c); f(r, c) == nil; {
		}
	})
}

func check(t *testing.T, spec string, want map[string]string) {
	t.Helper()
	tab, err := table.NewOpener(Types()).Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	for key, value := range want {
		got, found, err := tab.Lookup(context.Background(), key)
		if failed := value == "error"; failed != (err != nil) || !failed && (got != value || found != (value != "")) {
			t.Errorf("%q: got %q %v %v, want %q", key, got, found, err, value)
		}
	}
	if table.KeysOf(tab) != table.Pattern {
		t.Error("partial keys are asked for")
	}
}

func TestTCP(t *testing.T) {
	addr := serve(t, func(r *bufio.Reader, c net.Conn) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		switch line {
		case "get yes\n":
			_, err = c.Write([]byte("200 a%20b%25\n"))
		case "get a%20b%25\n":
			_, err = c.Write([]byte("200 quoted\n"))
		case "get later\n":
			_, err = c.Write([]byte("400 later\n"))
		default:
			_, err = c.Write([]byte("500 no\n"))
		}
		return err
	})
	check(t, "tcp:"+addr, map[string]string{"yes": "a b%", "a b%": "quoted", "no": "", "later": "error"})
}

func TestSocketmap(t *testing.T) {
	addr := serve(t, func(r *bufio.Reader, c net.Conn) error {
		b, err := readNetstring(r, 1000)
		if err != nil {
			return err
		}
		reply := map[string]string{
			"map yes": "OK value here", "map no": "NOTFOUND ", "map later": "TEMP x", "map never": "PERM x", "map odd": "WHAT",
		}[string(b)]
		_, err = fmt.Fprintf(c, "%d:%s,", len(reply), reply)
		return err
	})
	check(t, "socketmap:inet:"+addr+":map", map[string]string{
		"yes": "value here", "no": "", "later": "error", "never": "error", "odd": "error", strings.Repeat("x", 20000): "",
	})
}

func TestNames(t *testing.T) {
	o := table.NewOpener(Types())
	o.ErrorIsFatal = true
	for _, spec := range []string{"socketmap:inet:host", "socketmap:unix:", "socketmap:foo:a:b", "tcp:host:"} {
		if _, err := o.Open(spec); err == nil {
			t.Errorf("%s is taken", spec)
		}
	}
}

func FuzzNetstring(f *testing.F) {
	f.Add("5:OK ab,")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := readNetstring(bufio.NewReader(strings.NewReader(s)), 100); err == nil && len(b) > 100 {
			t.Errorf("%d octets", len(b))
		}
		unquote(s)
	})
}

// A server that is slow to answer one session answers the others meanwhile.
func TestSlowAnswer(t *testing.T) {
	others := make(chan struct{})
	addr := serve(t, func(r *bufio.Reader, c net.Conn) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "get slow\n" {
			<-others
		}
		_, err = c.Write([]byte("200 " + strings.TrimPrefix(line, "get ")))
		return err
	})
	tab, err := table.NewOpener(Types()).Open("tcp:" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	slow := make(chan string)
	go func() {
		value, _, err := tab.Lookup(context.Background(), "slow")
		slow <- fmt.Sprint(value, err)
	}()
	for range 3 {
		if got, _, err := tab.Lookup(context.Background(), "fast"); got != "fast" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	close(others)
	if got, want := <-slow, "slow<nil>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A value ends at a NUL, whatever the server sends after it.
func TestHostileAnswers(t *testing.T) {
	addr := serve(t, func(r *bufio.Reader, c net.Conn) error {
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
		_, err := c.Write([]byte("200 a%00status%00b\n"))
		return err
	})
	check(t, "tcp:"+addr, map[string]string{"x": "a"})
	addr = serve(t, func(r *bufio.Reader, c net.Conn) error {
		if _, err := r.ReadString('\n'); err != nil {
			return err
		}
		_, err := c.Write([]byte("200 " + strings.Repeat("x", 2*lineLimit) + "\n"))
		return err
	})
	tab, err := table.NewOpener(Types()).Open("tcp:" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	want := "tcp:" + addr + ": the reply is longer than 4096 octets"
	if _, _, err := tab.Lookup(context.Background(), "x"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
