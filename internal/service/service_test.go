package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
)

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"/usr/lib/postfix/sbin/pipe", "-zn", "maildrop", "-tunix", "-u", "-c", "-vv", "-o", "a=b", "-o", "c = d e", "-s", "2", "-p10", "-i", "5s", "flags=R", "-x"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(o.program, o.name, o.typ, o.user, o.chroot, o.verbose, o.overrides, o.sockets, o.limit, o.unlimited, o.idle, o.args)
	want := fmt.Sprint("pipe", "maildrop", "unix", true, true, 2, []string{"a=b", "c = d e"}, 2, 10, true, "5s", []string{"flags=R", "-x"})
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"-n", "-Q", "-o x", "-s x", "-s -1", "-p 1x", "-s 100000"} {
		if _, err := parseOptions(append([]string{"x"}, strings.Fields(bad)...)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A probe is a service of which each test sets what it needs.
type probe struct {
	serve   func(ctx context.Context, c net.Conn) error
	trigger func(b []byte)
}

func (p *probe) Params(*param.Set)                           {}
func (p *probe) Open(*Env) error                             { return nil }
func (p *probe) Serve(ctx context.Context, c net.Conn) error { return p.serve(ctx, c) }

type triggered struct{ probe }

func (p *triggered) Trigger(_ context.Context, b []byte) { p.trigger(append([]byte(nil), b...)) }

type datagram struct {
	probe
	packet func(b []byte)
}

func (p *datagram) Packet(_ context.Context, b []byte) { p.packet(append([]byte(nil), b...)) }

type looping struct {
	probe
	run func(ctx context.Context) error
}

func (p *looping) Run(ctx context.Context) error { return p.run(ctx) }

// serverOf makes a server of s that listens at a path, without a master.
func serverOf(t *testing.T, s Service, typ string, limit int) (*server, string) {
	t.Helper()
	log, lines := maillog.Record()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log: %q", lines())
		}
	})
	p := &process{service: s, log: log, channel: &channel{}, drain: make(chan struct{}), opt: &options{typ: typ}, signals: make(chan os.Signal, 1)}
	p.common.MaxIdle = time.Hour
	p.stress.enabled = true
	p.env = &Env{Common: &p.common, Log: log, Limit: limit, Draining: p.drain, Stress: p.stress.on}
	v := newServer(p)
	path := filepath.Join(t.TempDir(), "socket")
	var l *sys.Listener
	var err error
	switch typ {
	case "fifo":
		l, err = sys.ListenFIFO(path, 0o600)
	case "unix-dgram":
		l, err = sys.ListenUnixgram(path, 0o600)
	default:
		l, err = sys.ListenUnix(path, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	src, err := v.source(os.NewFile(uintptr(l.FD), "listener"))
	if err != nil {
		t.Fatal(err)
	}
	v.sources = []source{src}
	v.loops.Add(1)
	go v.loop(src)
	return v, path
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func echo(_ context.Context, c net.Conn) error {
	_, err := io.Copy(c, c)
	return err
}

func exchange(t *testing.T, c net.Conn, text string) {
	t.Helper()
	fmt.Fprint(c, text)
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("got %q, %v, want %q", b, err, text)
	}
}

func TestDrainFinishesSessions(t *testing.T) {
	v, path := serverOf(t, &probe{serve: echo}, "unix", 0)
	done := make(chan error, 1)
	go func() { done <- v.wait() }()
	c := dial(t, path)
	exchange(t, c, "before")
	v.startDrain()
	<-v.accepting.Done()
	exchange(t, c, "after")
	select {
	case <-done:
		t.Fatal("the process ends before its session")
	default:
	}
	c.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestTerminateEndsSessions(t *testing.T) {
	v, path := serverOf(t, &probe{serve: echo}, "unix", 0)
	done := make(chan error, 1)
	go func() { done <- v.wait() }()
	c := dial(t, path)
	exchange(t, c, "before")
	v.signals <- unix.SIGTERM
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the session goes on")
	}
}

func TestIdleExit(t *testing.T) {
	v, path := serverOf(t, &probe{serve: echo}, "unix", 0)
	v.common.MaxIdle = 20 * time.Millisecond
	c := dial(t, path)
	exchange(t, c, "x")
	done := make(chan error, 1)
	go func() { done <- v.wait() }()
	exchange(t, c, "y")
	c.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestRunner(t *testing.T) {
	ended := make(chan struct{})
	l := &looping{run: func(ctx context.Context) error {
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}}
	v, _ := serverOf(t, l, "unix", 0)
	v.common.MaxIdle = time.Millisecond
	done := make(chan error, 1)
	go func() { done <- v.wait() }()
	v.startDrain()
	receive(t, ended)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	failed := errors.New("cannot go on")
	v, _ = serverOf(t, &looping{run: func(context.Context) error { return failed }}, "unix", 0)
	if err := v.wait(); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	v, _ = serverOf(t, &looping{run: func(context.Context) error { panic("oops") }}, "unix", 0)
	if err := v.wait(); err == nil {
		t.Error("a panic of the loop goes unnoticed")
	}
}

func TestSessionLimitAndStress(t *testing.T) {
	v, path := serverOf(t, &probe{serve: echo}, "unix", 1)
	a := dial(t, path)
	exchange(t, a, "x")
	if !v.env.Stress() {
		t.Error("no stress with all sessions taken")
	}
	b := dial(t, path)
	fmt.Fprint(b, "y")
	b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a second session: %v", err)
	}
	a.Close()
	b.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestTriggers(t *testing.T) {
	for _, typ := range []string{"unix", "fifo"} {
		got := make(chan string, 1)
		s := &triggered{probe{trigger: func(b []byte) { got <- string(b) }}}
		_, path := serverOf(t, s, typ, 0)
		var w io.WriteCloser
		var err error
		if typ == "fifo" {
			w, err = os.OpenFile(path, os.O_WRONLY, 0)
		} else {
			w, err = net.Dial("unix", path)
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "WI")
		w.Close()
		if b := receive(t, got); b != "WI" {
			t.Errorf("%s: got %q", typ, b)
		}
	}
}

func TestDatagramsSentBeforeTheEnd(t *testing.T) {
	got := make(chan string, 100)
	v, path := serverOf(t, &datagram{packet: func(b []byte) { got <- string(b) }}, "unix-dgram", 0)
	done := make(chan error, 1)
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "first")
	receive(t, got)
	v.startDrain()
	for i := range 10 {
		fmt.Fprintf(c, "%d", i)
	}
	go func() { done <- v.wait() }()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if len(got) != 10 {
		t.Errorf("%d datagrams came through, want 10", len(got))
	}
}

func TestPassedConnection(t *testing.T) {
	texts := make(chan string, 1)
	s := &probe{serve: func(ctx context.Context, c net.Conn) error {
		p, ok := c.(*PassedConn)
		if !ok {
			return fmt.Errorf("got a %T", c)
		}
		texts <- string(p.Text)
		return echo(ctx, c)
	}}
	_, path := serverOf(t, s, "pass", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	u := dial(t, path).(*net.UnixConn)
	if err := sys.SendConn(u, accepted.(*net.TCPConn), []byte("from here")); err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	if text := receive(t, texts); text != "from here" {
		t.Errorf("text %q", text)
	}
	exchange(t, client, "through the other process")
}

func TestPanicIsLogged(t *testing.T) {
	log, lines := maillog.Record()
	v := newServer(&process{log: log, channel: &channel{}, env: &Env{}})
	v.start(nil, func(context.Context) error { panic("a mistake") })
	v.idle()
	text := strings.Join(lines(), "\n")
	if !strings.HasPrefix(text, "panic: a mistake\npanic: | goroutine ") || !strings.Contains(text, "TestPanicIsLogged") {
		t.Errorf("log:\n%s", text)
	}
}

// An asked is a request and its reply.
type asked struct{ word string }

func (a *asked) Attrs(c *attr.Codec) {
	c.Str("word", &a.word)
	c.End()
}

func TestServeAttr(t *testing.T) {
	drain := make(chan struct{})
	e := &Env{Common: &param.Common{IPCTimeout: time.Minute, MaxIdle: time.Minute}, Draining: drain}
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- e.ServeAttr(context.Background(), theirs, "test_protocol", func(_ context.Context, c *attr.Conn) error {
			var a asked
			if err := c.Recv(&a); err != nil {
				return err
			}
			a.word = strings.ToUpper(a.word)
			return c.Send(&a)
		})
		theirs.Close()
	}()
	c := attr.NewConn(ours, 10*time.Second)
	protocol := attr.Protocol("test_protocol")
	if err := c.Recv(&protocol); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		a := asked{word}
		if err := c.Send(&a); err != nil {
			t.Fatal(err)
		}
		if err := c.Recv(&a); err != nil || a.word != strings.ToUpper(word) {
			t.Fatalf("got %q, %v", a.word, err)
		}
	}
	close(drain)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	if _, err := bufio.NewReader(ours).ReadByte(); err != io.EOF {
		t.Errorf("after drain: %v", err)
	}
}
