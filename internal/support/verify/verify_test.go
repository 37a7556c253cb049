package verify

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/verify"
)

// A bench is a server with a clock and a list of probes.
type bench struct {
	*Server
	clock  time.Time
	mu     sync.Mutex
	probed []string
}

func newBench() *bench {
	log, _ := maillog.Record()
	b := &bench{Server: New().(*Server), clock: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	set := param.NewSet()
	b.Params(set)
	b.PositiveExpire, b.PositiveRefresh = 31*24*time.Hour, 7*24*time.Hour
	b.NegativeExpire, b.NegativeRefresh, b.NegativeCache = 3*24*time.Hour, 3*time.Hour, true
	b.common, b.log, b.Server.cache = &param.Common{IPCTimeout: time.Minute}, log, newMemory()
	b.now = func() time.Time { return b.clock }
	b.probe = func(_ context.Context, addr string) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.probed = append(b.probed, addr)
		return nil
	}
	return b
}

func (b *bench) ask(t *testing.T, addr string) (status int, probes int) {
	t.Helper()
	before := len(b.probed)
	a, err := b.query(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	b.probes.Wait()
	return a.Status, len(b.probed) - before
}

func (b *bench) told(t *testing.T, addr string, status int) {
	t.Helper()
	if err := b.update(t.Context(), verify.Request{Kind: verify.KindUpdate, Address: addr, Status: status, Reason: "because"}); err != nil {
		t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	b := newBench()
	step := func(what string, status, probes int) {
		t.Helper()
		if s, n := b.ask(t, "a@x.example"); s != status || n != probes {
			t.Errorf("%s: got status %d, %d probes, want %d, %d", what, s, n, status, probes)
		}
	}
	step("nothing is known", verify.Todo, 1)
	step("a probe is under way", verify.Todo, 0)
	b.clock = b.clock.Add(probeTTL + time.Second)
	step("the probe is lost", verify.Todo, 1)
	b.told(t, "a@x.example", verify.OK)
	step("known", verify.OK, 0)
	b.clock = b.clock.Add(b.PositiveRefresh + time.Second)
	step("to be looked at again", verify.OK, 1)
	b.told(t, "a@x.example", verify.Bounce)
	step("one failure does not count", verify.OK, 0)
	b.clock = b.clock.Add(b.PositiveExpire)
	step("expired", verify.Todo, 1)
	b.told(t, "a@x.example", verify.Bounce)
	step("bad", verify.Bounce, 0)
	b.clock = b.clock.Add(b.NegativeRefresh + time.Second)
	step("bad, to be looked at again", verify.Bounce, 1)
	b.told(t, "a@x.example", verify.OK)
	step("good again", verify.OK, 0)
}

// A peek tells what is known, and neither probes nor remembers.
func TestPeek(t *testing.T) {
	b := newBench()
	peek := func() verify.Answer {
		t.Helper()
		a, err := b.peek(t.Context(), "a@b.example")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := peek(); a.Status != verify.Todo {
		t.Errorf("unknown: %+v", a)
	}
	if _, known, _ := b.cache.Lookup(t.Context(), "a@b.example"); known {
		t.Error("the cache remembers the peek")
	}
	if status, probes := b.ask(t, "a@b.example"); status != verify.Todo || probes != 1 {
		t.Errorf("a query after it: status %d, %d probes, want 1", status, probes)
	}
	b.told(t, "a@b.example", verify.Bounce)
	if a := peek(); a.Status != verify.Bounce {
		t.Errorf("known: %+v", a)
	}
}

// A peek comes over the wire as one.
func TestPeekRequest(t *testing.T) {
	b := newBench()
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		conn := attr.NewConn(server, time.Minute)
		if err := errors.Join(b.request(t.Context(), conn), conn.W.Flush()); err != nil {
			t.Error(err)
		}
		server.Close()
	}()
	conn := attr.NewConn(client, time.Minute)
	var a verify.Answer
	if err := errors.Join(conn.Send(&verify.Request{Kind: verify.KindPeek, Address: "a@b.example"}), conn.W.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := conn.Recv(&a); err != nil || a.ServerStatus != 0 || a.Status != verify.Todo || len(b.probed) > 0 {
		t.Errorf("%+v, %v, probes %v", a, err, b.probed)
	}
}

func TestWithoutNegativeCache(t *testing.T) {
	b := newBench()
	b.NegativeCache = false
	for range 2 {
		if s, n := b.ask(t, "a@x.example"); s != verify.Todo || n != 1 {
			t.Errorf("got status %d, %d probes", s, n)
		}
		b.told(t, "a@x.example", verify.Bounce)
	}
	b.told(t, "a@x.example", verify.OK)
	if s, n := b.ask(t, "a@x.example"); s != verify.OK || n != 0 {
		t.Errorf("got status %d, %d probes", s, n)
	}
}

func TestPurge(t *testing.T) {
	b := newBench()
	for addr, status := range map[string]int{"good@x": verify.OK, "bad@x": verify.Bounce} {
		b.told(t, addr, status)
	}
	b.ask(t, "lost@x")
	b.Server.cache.Store(t.Context(), "broken@x", "0:0")
	b.clock = b.clock.Add(b.NegativeExpire + time.Hour)
	b.ask(t, "new@x")
	b.CleanupInterval = time.Hour
	if d := b.untilCleanup(t.Context()); d != 0 {
		t.Errorf("the first cleanup is due in %s", d)
	}
	b.purge(t.Context())
	if d := b.untilCleanup(t.Context()); d != time.Hour {
		t.Errorf("the next cleanup is due in %s", d)
	}
	b.Server.cache.Delete(t.Context(), lastCleanup)
	var left []string
	b.Server.cache.Walk(t.Context(), func(key, _ string) error { left = append(left, key); return nil })
	if want := []string{"good@x", "new@x"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}

func TestEntry(t *testing.T) {
	for value, ok := range map[string]bool{
		"0:0:1700000000:250 ok: yes": true, "3:1700000000:0:in progress": true, "": false, "0:0:0:": false, "9:0:0:x": false,
		"-1:0:0:x": false, "0:x:0:y": false, "0:0:0": false,
	} {
		e, got := parseEntry(value)
		if got != ok {
			t.Errorf("%q: got %v, want %v", value, got, ok)
		}
		if ok && e.String() != value {
			t.Errorf("%q comes back as %q", value, e.String())
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("0:0:1700000000:250 ok: yes")
	f.Fuzz(func(t *testing.T, value string) {
		if e, ok := parseEntry(value); ok {
			if again, ok := parseEntry(e.String()); !ok || again != e {
				t.Errorf("%q is not the same after %q", value, e)
			}
		}
	})
}
