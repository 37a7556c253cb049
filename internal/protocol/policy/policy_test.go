package policy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers each request with what answer returns for its n-th request;
// "" closes the connection.
func serve(t *testing.T, answer func(n int, request string) string) (Config, *atomic.Int32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := new(atomic.Int32)
	requests := new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					var req strings.Builder
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							return
						}
						if line == "\n" {
							break
						}
						req.WriteString(line)
					}
					text := answer(int(requests.Add(1)), req.String())
					if text == "" {
						return
					}
					io.WriteString(c, text)
				}
			}()
		}
	}()
	return Config{Network: "unix", Address: path, Name: "private/policy", Timeout: time.Minute,
		MaxIdle: time.Minute, MaxTTL: time.Minute, TryLimit: 2, RetryDelay: time.Millisecond}, conns
}

func TestAsk(t *testing.T) {
	conf, conns := serve(t, func(n int, req string) string {
		if req != "request=smtpd_access_policy\nsender=a?b\n" {
			t.Errorf("request %q", req)
		}
		return fmt.Sprintf("action=450 no %d\n\n", n)
	})
	c := New(conf, nil)
	for i := 1; i <= 3; i++ {
		got, err := c.Ask(context.Background(), []Attr{{"request", "smtpd_access_policy"}, {"sender", "a\nb"}})
		if want := fmt.Sprintf("450 no %d", i); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	c.Close()
}

func TestRetry(t *testing.T) {
	conf, _ := serve(t, func(n int, _ string) string {
		return [...]string{"", "", "action=DUNNO\n\n"}[min(n, 2)]
	})
	if got, err := New(conf, nil).Ask(context.Background(), nil); got != "DUNNO" || err != nil {
		t.Errorf("after a failure: %q, %v", got, err)
	}
	conf, _ = serve(t, func(int, string) string { return "" })
	var warned []string
	c := New(conf, func(f string, a ...any) { warned = append(warned, fmt.Sprintf(f, a...)) })
	if _, err := c.Ask(context.Background(), nil); err == nil {
		t.Error("no error from a server that always hangs up")
	}
	if len(warned) != 1 || !strings.HasPrefix(warned[0], "problem talking to server private/policy: ") {
		t.Errorf("warnings %q", warned)
	}
}

func TestRequestLimit(t *testing.T) {
	conf, conns := serve(t, func(int, string) string { return "action=OK\n\n" })
	conf.RequestLimit = 1
	c := New(conf, nil)
	for range 3 {
		if _, err := c.Ask(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func TestBadReplies(t *testing.T) {
	for _, text := range []string{"\n", "nonsense\n\n", "x=y\n\n", "action=" + strings.Repeat("x", 5000) + "\n\n", strings.Repeat("a=b\n", 200)} {
		if got, err := readReply(bufio.NewReaderSize(strings.NewReader(text), maxLine)); err == nil {
			t.Errorf("%.20q gives action %q", text, got)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add("action=OK\n\n")
	f.Add("a=b\naction= 450 x\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		action, err := readReply(bufio.NewReaderSize(strings.NewReader(s), maxLine))
		if err == nil && strings.ContainsAny(action, "\n") {
			t.Errorf("action %q", action)
		}
	})
}
