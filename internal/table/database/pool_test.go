package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
)

// A network is hosts that are up or down.
type network struct {
	down   map[string]bool
	refuse map[string]bool // queries fail, connections do not
	dials  []string
	open   int
	now    time.Time
}

type link struct {
	n    *network
	host string
	dead bool
}

func (l *link) Close() error { l.n.open--; return nil }

func (n *network) dial(_ context.Context, host string) (*link, error) {
	n.dials = append(n.dials, host)
	if n.down[host] {
		return nil, errors.New("connection refused")
	}
	n.open++
	return &link{n: n, host: host}, nil
}

func (n *network) pool(t *testing.T, hosts ...Host) (*Pool[*link], func() []string) {
	log, lines := maillog.Record()
	n.now = time.Unix(1000, 0)
	p := NewPool("mysql:x", hosts, log, n.dial)
	p.Now = func() time.Time { return n.now }
	return p, lines
}

// ask returns the host that answered.
func (n *network) ask(p *Pool[*link]) (host string, err error) {
	err = p.Do(context.Background(), func(_ context.Context, l *link) error {
		host = l.host
		if n.down[l.host] {
			return fmt.Errorf("%w: broken pipe", ErrHost)
		}
		if n.refuse[l.host] {
			return errors.New("no such table")
		}
		return nil
	})
	return host, err
}

func TestSocketsAreTriedFirst(t *testing.T) {
	n := &network{}
	p, _ := n.pool(t, Host{Name: "a"}, Host{Name: "b"}, Host{Name: "sock", Local: true})
	for range 5 {
		if host, err := n.ask(p); host != "sock" || err != nil {
			t.Errorf("got %s, %v", host, err)
		}
	}
	if len(n.dials) != 1 {
		t.Errorf("dials: %q", n.dials)
	}
}

func TestHostsAreTriedInRandomOrder(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		n := &network{}
		p, _ := n.pool(t, Host{Name: "a"}, Host{Name: "b"}, Host{Name: "c"})
		host, _ := n.ask(p)
		seen[host] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %v", seen)
	}
}

func TestFailedHostIsLeftAlone(t *testing.T) {
	n := &network{down: map[string]bool{"a": true}}
	p, lines := n.pool(t, Host{Name: "a"}, Host{Name: "b"})
	p.InOrder = true
	for range 3 {
		if host, err := n.ask(p); host != "b" || err != nil {
			t.Errorf("got %s, %v", host, err)
		}
	}
	if got := strings.Join(n.dials, " "); got != "a b" {
		t.Errorf("dials: %s", got)
	}
	if log := lines(); len(log) != 1 || !strings.Contains(log[0], "host a") {
		t.Errorf("log: %q", log)
	}
	// The other fails, too: its open connection, then a fresh one; a waits.
	n.down["b"] = true
	if _, err := n.ask(p); err == nil {
		t.Error("no error")
	}
	if got := strings.Join(n.dials, " "); got != "a b b" {
		t.Errorf("dials: %s", got)
	}
	n.down = nil
	if _, err := n.ask(p); err == nil || !strings.Contains(err.Error(), "no host is usable") {
		t.Errorf("error %v", err)
	}
	n.now = n.now.Add(p.Retry)
	if host, err := n.ask(p); host != "a" || err != nil {
		t.Errorf("got %s, %v", host, err)
	}
}

// A server that was restarted has closed the connections that were open.
func TestDeadConnectionIsReplaced(t *testing.T) {
	n := &network{}
	p, lines := n.pool(t, Host{Name: "a"})
	n.ask(p)
	first := true
	err := p.Do(context.Background(), func(context.Context, *link) error {
		if first {
			first = false
			return fmt.Errorf("%w: closed by the server", ErrHost)
		}
		return nil
	})
	if err != nil || len(n.dials) != 2 || len(lines()) != 0 {
		t.Errorf("error %v, dials %q, log %q", err, n.dials, lines())
	}
}

// An error of the statement is not the host's: others are asked, nobody is
// left alone.
func TestErrorOfAStatement(t *testing.T) {
	n := &network{refuse: map[string]bool{"a": true, "b": true}}
	p, _ := n.pool(t, Host{Name: "a"}, Host{Name: "b"})
	if _, err := n.ask(p); err == nil || strings.Count(err.Error(), "no such table") != 2 {
		t.Errorf("error %v", err)
	}
	n.refuse = nil
	if _, err := n.ask(p); err != nil {
		t.Error(err)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	n := &network{}
	p, _ := n.pool(t, Host{Name: "a"})
	n.ask(p)
	n.now = n.now.Add(p.Idle)
	n.ask(p)
	if len(n.dials) != 2 || n.open != 1 {
		t.Errorf("dials %q, %d open", n.dials, n.open)
	}
	p.Close()
	if n.open != 0 {
		t.Errorf("%d open", n.open)
	}
}

// A server that does not answer counts as one that is down.
func TestSilentHost(t *testing.T) {
	n := &network{}
	p, lines := n.pool(t, Host{Name: "a"})
	p.Query = 10 * time.Millisecond
	err := p.Do(context.Background(), func(ctx context.Context, _ *link) error {
		<-ctx.Done()
		return errors.New("interrupted")
	})
	if !errors.Is(err, ErrHost) || len(lines()) != 1 || n.open != 0 {
		t.Errorf("error %v, log %q, %d open", err, lines(), n.open)
	}
	if _, err := n.ask(p); err == nil || !strings.Contains(err.Error(), "no host is usable") {
		t.Errorf("error %v", err)
	}
}

// More lookups than connections wait for each other, and no longer than their
// callers.
func TestWaitForAConnection(t *testing.T) {
	n := &network{}
	p, _ := n.pool(t, Host{Name: "a"})
	p.LimitConns(1)
	ctx, cancel := context.WithCancel(context.Background())
	err := p.Do(context.Background(), func(context.Context, *link) error {
		cancel()
		return p.Do(ctx, func(context.Context, *link) error { return nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestHostPort(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a 1", "a:5": "a 5", "[::1]": "::1 1", "[::1]:5": "::1 5", "": "", "a:": "", ":5": "", "::1": "", "[a": "", "[]:1": "", "[::1]x": "", "[::1]:": "",
	} {
		host, port, err := HostPort(text, "1")
		got := host + " " + port
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
