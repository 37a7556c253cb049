package qmgr

import (
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"weak"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
)

func TestDeliveredAndRemoved(t *testing.T) {
	s := newSystem(t, "")
	s.run()
	id := s.write(queue.Incoming, "sender@example.com", time.Now(), "a@x.example", "b@x.example", "c@y.example")
	s.trigger("I" + string(id) + "\x00")
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	for _, a := range []string{"a@x.example", "b@x.example", "c@y.example"} {
		if n := s.got(a); n != 1 {
			t.Errorf("%s: delivered %d times", a, n)
		}
	}
	if !s.logged(string(id) + ": from=<sender@example.com>, size=15, nrcpt=3 (queue active)") {
		t.Error(strings.Join(s.lines(), "\n"))
	}
	if s.in(queue.Active, id) {
		t.Error("file is left")
	}
}

func TestScansAtStart(t *testing.T) {
	s := newSystem(t, "")
	now := time.Now()
	in := s.write(queue.Incoming, "s@example.com", now, "in@x.example")
	old := s.write(queue.Active, "s@example.com", now, "old@x.example")
	due := s.write(queue.Deferred, "s@example.com", now, "due@x.example")
	later := s.write(queue.Deferred, "s@example.com", now, "later@x.example")
	must(t, s.store.SetNextTry(queue.Deferred, later, now.Add(time.Hour)))
	must(t, s.store.SetNextTry(queue.Active, old, now.Add(time.Hour))) // flushed before the crash
	hold := s.write(queue.Hold, "s@example.com", now, "hold@x.example")
	s.run()
	for _, id := range []queue.ID{in, old, due} {
		s.wait("delivery", func() bool { return s.logged(string(id) + ": removed") })
	}
	if s.got("later@x.example")+s.got("hold@x.example") != 0 || !s.in(queue.Deferred, later) || !s.in(queue.Hold, hold) {
		t.Error("mail was delivered that has to wait")
	}
	s.trigger("AFD")
	s.wait("flush", func() bool { return s.logged(string(later) + ": removed") })
}

func TestDeferred(t *testing.T) {
	s := newSystem(t, "")
	s.fail["b@x.example"] = dsn.Make("4.2.2", "mailbox full")
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now().Add(-20*time.Minute), "a@x.example", "b@x.example")
	s.trigger("I" + string(id))
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	info, err := s.store.Stat(queue.Deferred, id)
	must(t, err)
	if d := time.Until(info.ModTime); d < 19*time.Minute || d > 21*time.Minute {
		t.Errorf("next try in %v, want the time it has waited already", d)
	}
	if !s.in(queue.Defer, id) || s.count(bounce.OpFlush) != 0 {
		t.Error("defer log")
	}
	s.mu.Lock()
	delete(s.fail, "b@x.example")
	s.mu.Unlock()
	s.wait("end of the first attempt", func() bool {
		s.trigger("AD")
		return s.logged(string(id) + ": removed")
	})
	if s.got("a@x.example") != 1 || s.got("b@x.example") != 1 {
		t.Error("a recipient that was done is delivered to again", s.delivered)
	}
	if s.in(queue.Defer, id) {
		t.Error("defer log is left")
	}
}

func TestBounced(t *testing.T) {
	s := newSystem(t, "")
	s.fail["b@x.example"] = dsn.Make("5.1.1", "no such user")
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example", "b@x.example", "c@bad.example")
	s.trigger("I" + string(id))
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if s.count(bounce.OpFlush) != 1 || s.in(queue.Bounce, id) {
		t.Error("bounce log was not reported")
	}
	if !s.logged("dsn=5.1.3, status=bounced (bad address syntax)") {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

// A bounce log that the system does not let see is reported nevertheless: the
// message does not go without its notice.
func TestUnseenBounceLog(t *testing.T) {
	s := newSystem(t, "")
	s.fault = func(op queue.Op, q queue.Name, _ queue.ID) error {
		if op == queue.OpStat && q == queue.Bounce {
			return syscall.EIO
		}
		return nil
	}
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "c@bad.example")
	s.trigger("I" + string(id))
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if n := s.count(bounce.OpFlush); n != 1 {
		t.Errorf("the bounce log was reported %d times, want once", n)
	}
}

// A worker that waits keeps nothing of what it has done.
func TestIdleWorker(t *testing.T) {
	w := newWorkers(1)
	begin := func() (left weak.Pointer[[1 << 20]byte], done chan struct{}) {
		held, done := new([1 << 20]byte), make(chan struct{})
		w.do(func() {
			held[0] = 1
			close(done)
		})
		return weak.Make(held), done
	}
	left, done := begin()
	<-done
	for deadline := time.Now().Add(time.Minute); left.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("it is still held")
		}
	}
}

func TestExpired(t *testing.T) {
	s := newSystem(t, "")
	s.fail["b@x.example"] = dsn.Make("4.1.1", "not now")
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now().Add(-6*24*time.Hour), "b@x.example")
	young := s.write(queue.Incoming, "s@example.com", time.Now().Add(-4*24*time.Hour), "b@x.example")
	s.trigger("I")
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if !s.logged(string(id) + ": from=<s@example.com>, status=expired, returned to sender") {
		t.Error("not logged")
	}
	s.wait("deferral", func() bool { return s.in(queue.Deferred, young) })
	if s.count(bounce.OpFlush) != 1 || s.count(bounce.OpWarn) != 1 {
		t.Errorf("flush %d, warn %d", s.count(bounce.OpFlush), s.count(bounce.OpWarn))
	}
	s.wait("second attempt", func() bool {
		s.trigger("AD")
		return s.count(bounce.OpAppend) >= 3 && s.in(queue.Deferred, young)
	})
	if n := s.count(bounce.OpWarn); n != 1 {
		t.Errorf("warned %d times", n)
	}
}

func TestForcedExpiry(t *testing.T) {
	s := newSystem(t, "")
	id := s.write(queue.Deferred, "s@example.com", time.Now(), "a@x.example")
	must(t, s.store.SetMode(queue.Deferred, id, 0o710))
	s.run()
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if !s.logged("status=force-expired, returned to sender") || s.got("a@x.example") != 0 {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

func TestDeferTransports(t *testing.T) {
	s := newSystem(t, "defer_transports = smtp\n")
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	if !s.logged("dsn=4.3.2, status=deferred (deferred transport)") {
		t.Error(strings.Join(s.lines(), "\n"))
	}
	s.wait("flush", func() bool {
		s.trigger("FAD")
		return s.got("a@x.example") == 1
	})
}

func TestAbsentTransport(t *testing.T) {
	s := newSystem(t, "")
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@absent.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	if !s.logged("dsn=4.3.0, status=deferred (mail transport unavailable)") {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

func TestAbsentRetry(t *testing.T) {
	s := newSystem(t, "")
	must(t, os.Remove("private/retry"))
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@absent.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	if !s.in(queue.Defer, id) {
		t.Error("no defer log")
	}
}

func TestTripleBounceIsDiscarded(t *testing.T) {
	s := newSystem(t, "")
	s.run()
	id := s.write(queue.Incoming, "", time.Now(), "double-bounce@local.example")
	s.trigger("I")
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if !s.logged("status=sent (undeliverable postmaster notification discarded)") {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

func TestDeadDestinationDefers(t *testing.T) {
	s := newSystem(t, "initial_destination_concurrency = 1\n")
	s.hop = dsn.Make("4.4.1", "connect to x.example: refused")
	s.fail["a@x.example"] = s.hop
	s.run()
	first := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, first) })
	second := s.write(queue.Incoming, "s@example.com", time.Now(), "b@x.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, second) })
	if !s.logged("status=deferred (delivery temporarily suspended: connect to x.example: refused)") || s.got("b@x.example") != 0 {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

func TestCorrupt(t *testing.T) {
	s := newSystem(t, "")
	d, err := s.store.Create(queue.Incoming)
	must(t, err)
	d.Write([]byte("this is no queue file"))
	must(t, d.Commit())
	half, err := s.store.Create(queue.Incoming)
	must(t, err)
	half.Write([]byte("being written"))
	must(t, half.Flush())
	defer half.Cancel()
	s.run()
	s.wait("corrupt file", func() bool { return s.in(queue.Corrupt, d.ID()) })
	if !s.in(queue.Incoming, half.ID()) {
		t.Error("an incomplete file was touched")
	}
}

func TestLockedIsSkipped(t *testing.T) {
	s := newSystem(t, "")
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example")
	f, err := s.store.Open(queue.Incoming, id)
	must(t, err)
	must(t, f.LockShared())
	s.run()
	s.wait("skip", func() bool { return s.logged("skipped, still being delivered") })
	f.Close()
	must(t, s.store.SetNextTry(queue.Incoming, id, time.Now()))
	s.trigger("W")
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
}

// A message that was announced twice, to two queue managers, has logs.
func TestAnnouncedAgain(t *testing.T) {
	s := newSystem(t, "")
	s.run()
	id := s.write(queue.Hold, "s@example.com", time.Now().Add(time.Second), "a@x.example")
	f, err := s.store.Open(queue.Hold, id)
	must(t, err)
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0)
	must(t, f.MarkDone(int64(strings.LastIndex(string(b[:n]), "R\x0ba@x.example"))))
	f.Close()
	must(t, s.store.AppendLog(queue.Bounce, id, []byte("recipient=a@x.example\n\n")))
	must(t, s.store.Move(id, queue.Hold, queue.Incoming))
	s.trigger("I" + string(id))
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if s.count(bounce.OpFlush) != 1 {
		t.Error("the sender was not told")
	}
}

// The queue manager stops while agents are at work; the next one delivers to
// those that are left only.
func TestStopInTheMiddle(t *testing.T) {
	s := newSystem(t, "")
	s.gate = make(chan struct{})
	stop := s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example")
	s.trigger("I")
	s.wait("start", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.begun == 1
	})
	stop()
	if !s.in(queue.Active, id) {
		t.Fatal("not in the active queue")
	}
	close(s.gate)
	s.wait("delivery", func() bool { return s.got("a@x.example") == 1 })
	s.wait("mark", func() bool { return s.logged("status=sent") })
	s.run()
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	if n := s.got("a@x.example"); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// A file system that fails for a while does not strand a message.
func TestFileSystemFails(t *testing.T) {
	s := newSystem(t, "")
	s.fail["b@x.example"] = dsn.Make("4.2.2", "mailbox full")
	var mu sync.Mutex
	failures := 3
	s.fault = func(op queue.Op, q queue.Name, id queue.ID) error {
		mu.Lock()
		defer mu.Unlock()
		if failures > 0 && (op == queue.OpRename && q == queue.Deferred || op == queue.OpRemove && q == queue.Active) {
			failures--
			return syscall.ENOSPC
		}
		return nil
	}
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "b@x.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	mu.Lock()
	failures = 3
	mu.Unlock()
	s.mu.Lock()
	delete(s.fail, "b@x.example")
	s.mu.Unlock()
	s.wait("removal", func() bool {
		s.trigger("AD")
		return s.logged(string(id) + ": removed")
	})
}

func TestAgentCrashes(t *testing.T) {
	s := newSystem(t, "")
	must(t, os.Remove("private/smtp"))
	s.serve("private/smtp", func(c net.Conn) {
		a := attr.NewConn(c, time.Minute)
		p := attr.Protocol(delivery.Protocol)
		a.Send(&p)
		var req delivery.Request
		if a.Recv(&req) != nil {
			return
		}
		f, err := s.store.Open(queue.Active, req.QueueID)
		must(t, err)
		defer f.Close()
		must(t, f.MarkDone(req.Recipients[0].Offset))
	})
	s.run()
	id := s.write(queue.Incoming, "s@example.com", time.Now(), "a@x.example", "b@x.example")
	s.trigger("I")
	s.wait("deferral", func() bool { return s.in(queue.Deferred, id) })
	if !s.logged("to=<b@x.example>, relay=none") || s.logged("to=<a@x.example>") || s.count(bounce.OpAppend) != 1 {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

func TestAgentGoesAway(t *testing.T) {
	s := newSystem(t, "")
	s.run()
	for i := range 3 {
		id := s.write(queue.Incoming, "s@example.com", time.Now(), fmt.Sprintf("u%d@x.example", i))
		s.trigger("I" + string(id))
		s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
		close(s.drain) // the agents close idle connections, as at a reload
		s.drain = make(chan struct{})
		must(t, os.Remove("private/smtp"))
		s.agent("smtp")
	}
}

func TestManyRecipients(t *testing.T) {
	s := newSystem(t, "qmgr_message_recipient_limit = 50\ndefault_recipient_refill_delay = 1s\ndefault_recipient_refill_limit = 7\n")
	var rcpts []string
	for i := range 500 {
		rcpts = append(rcpts, fmt.Sprintf("u%d@d%d.example", i, i%7))
	}
	id := s.write(queue.Incoming, "s@example.com", time.Now(), rcpts...)
	s.run()
	s.wait("removal", func() bool { return s.logged(string(id) + ": removed") })
	for _, r := range rcpts {
		if n := s.got(r); n != 1 {
			t.Errorf("%s: delivered %d times", r, n)
		}
	}
}

func TestParser(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want request
	}{
		{[]string{"W"}, request{incoming: true}},
		{[]string{"I"}, request{incoming: true}},
		{[]string{"AFDI"}, request{all: true, flush: true, deferred: true, incoming: true}},
		{[]string{"IAFD"}, request{all: true, flush: true, deferred: true, incoming: true}},
		{[]string{"I0123456789A"}, request{fresh: []queue.ID{"0123456789A"}}},
		{[]string{"I0123456789A\x00I0123456789B\x00D"}, request{fresh: []queue.ID{"0123456789A", "0123456789B"}, deferred: true}},
		{[]string{"I01234567", "89A\x00"}, request{fresh: []queue.ID{"0123456789A"}}},
		{[]string{"I../../x\x00"}, request{incoming: true}},
		{[]string{"zzz\x00\xff"}, request{}},
	} {
		var p parser
		for _, part := range c.in {
			p.feed([]byte(part))
		}
		p.end()
		if got := p.take(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func FuzzParser(f *testing.F) {
	f.Add([]byte("I0123456789A\x00WIFD"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var p parser
		if cut > 0 && cut < len(b) {
			p.feed(b[:cut])
			b = b[cut:]
		}
		p.feed(b)
		if len(p.rest) > maxRequest {
			t.Errorf("%d octets are kept", len(p.rest))
		}
		p.end()
	})
}
