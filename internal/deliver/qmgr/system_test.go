package qmgr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
	"postern/internal/table"
)

// A system is a queue manager with a queue, agents and the services it asks,
// all in this process.
type system struct {
	t      *testing.T
	env    *service.Env
	store  *queue.Store
	lines  func() []string
	server *Server
	drain  chan struct{}
	fault  queue.Fault // of the queue manager's store; set before it runs

	mu        sync.Mutex
	delivered map[string]int        // by address
	asked     []bounce.Request      // of bounce, defer and trace
	fail      map[string]dsn.Result // by address
	gate      chan struct{}         // when set, agents wait for it
	hop       dsn.Result
	begun     int // deliveries
}

func newSystem(t *testing.T, mainCF string) *system {
	t.Helper()
	s := &system{t: t, delivered: map[string]int{}, fail: map[string]dsn.Result{}, drain: make(chan struct{})}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"incoming", "active", "deferred", "hold", "corrupt", "bounce", "defer", "trace", "private", "public", "etc"} {
		must(t, os.Mkdir(d, 0o700))
	}
	must(t, os.WriteFile("etc/main.cf", []byte("queue_directory = "+dir+"\nmyhostname = mail.example.com\n"+mainCF), 0o600))
	config, err := maincf.Load(filepath.Join(dir, "etc"))
	must(t, err)
	set, common := param.NewSet(), &param.Common{}
	common.Params(set)
	must(t, set.Load(config))
	log, lines := maillog.Record()
	s.lines = lines
	s.env = &service.Env{Program: "qmgr", Name: "qmgr", Config: config, Common: common, Log: log,
		Tables: table.NewOpener(nil), Draining: make(chan struct{})}
	s.store = queue.Open(common)
	s.serve("private/rewrite", s.rewrite)
	for _, name := range []string{"bounce", "defer", "trace"} {
		s.serve("private/"+name, func(c net.Conn) { s.logs(name, c) })
	}
	for _, name := range []string{"smtp", "retry", "error"} {
		s.agent(name)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *system) serve(path string, f func(net.Conn)) net.Listener {
	l, err := net.Listen("unix", path)
	must(s.t, err)
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l
}

func (s *system) rewrite(c net.Conn) {
	a := attr.NewConn(c, time.Minute)
	p := attr.Protocol(rewrite.Protocol)
	a.Send(&p)
	for {
		var req rewrite.Request
		if a.Recv(&req) != nil {
			return
		}
		_, domain, _ := strings.Cut(req.Address, "@")
		r := rewrite.Reply{Resolved: rewrite.Resolved{Transport: "smtp", Nexthop: domain, Recipient: req.Address, Flags: rewrite.ClassDefault}}
		switch {
		case domain == "absent.example":
			r.Transport = "absent"
		case domain == "local.example":
			r.Flags = rewrite.ClassLocal
		case domain == "bad.example":
			r.Flags = rewrite.Error
		}
		if a.Send(&r) != nil {
			return
		}
	}
}

func (s *system) logs(name string, c net.Conn) {
	a := attr.NewConn(c, time.Minute)
	p := attr.Protocol(bounce.Protocol)
	a.Send(&p)
	for {
		var req bounce.Request
		if a.Recv(&req) != nil {
			return
		}
		q := queue.Name(name)
		s.mu.Lock()
		s.asked = append(s.asked, req)
		s.mu.Unlock()
		if req.Op == bounce.OpAppend {
			must(s.t, s.store.AppendLog(q, req.Message.QueueID, []byte(req.Recipient.Address+"\n")))
		} else if req.Op != bounce.OpWarn {
			s.store.Remove(q, req.Message.QueueID)
		}
		var status attr.Status
		if a.Send(&status) != nil {
			return
		}
	}
}

func (s *system) agent(name string) {
	env := *s.env
	env.Name, env.Draining = name, s.drain
	svc := agent.New(func(ctx context.Context, req *agent.Request, rep *agent.Report) error {
		return s.deliver(name, req, rep)
	})
	must(s.t, svc.Open(&env))
	s.serve("private/"+name, func(c net.Conn) { svc.Serve(context.Background(), c) })
}

func (s *system) deliver(name string, req *agent.Request, rep *agent.Report) error {
	s.mu.Lock()
	gate, hop := s.gate, s.hop
	s.begun++
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	for _, rcpt := range req.Recipients {
		s.mu.Lock()
		res, fails := s.fail[rcpt.Address]
		if !fails && name == "smtp" {
			s.delivered[rcpt.Address]++
		}
		s.mu.Unlock()
		if name != "smtp" {
			res, fails = dsn.Split("4.0.0", req.Nexthop), true
		}
		switch {
		case !fails:
			rep.Sent(rcpt, "relay", dsn.Make("2.0.0", "ok"))
		case res.Status.Permanent():
			rep.Bounce(rcpt, "none", res)
		default:
			rep.Defer(rcpt, "none", res)
		}
	}
	if hop.Status != "" {
		rep.Suspend(hop)
	}
	return nil
}

// write puts a message into a queue.
func (s *system) write(q queue.Name, sender string, at time.Time, rcpts ...string) queue.ID {
	s.t.Helper()
	d, err := s.store.Create(queue.Incoming)
	must(s.t, err)
	w := record.NewWriter(d)
	sizes := record.Sizes{Recipients: len(rcpts)}
	w.Put(record.Size, sizes.Append(nil))
	w.Printf(record.Time, "%d 0", at.Unix())
	w.Attr("create_time", fmt.Sprint(at.Unix()))
	w.PutString(record.Sender, sender)
	w.Printf(record.Warn, "%15d", at.Add(time.Hour).Unix())
	for _, r := range rcpts {
		w.PutString(record.Rcpt, r)
	}
	w.PutString(record.Mesg, "")
	sizes.ContentOffset = w.Offset()
	w.PutString(record.Norm, "Subject: test")
	sizes.Content = w.Offset() - sizes.ContentOffset
	sizes.Length = sizes.Content
	w.PutString(record.Xtra, "")
	w.PutString(record.End, "")
	must(s.t, w.Flush())
	_, err = d.WriteAt(record.Append(nil, record.Size, string(sizes.Append(nil))), 0)
	must(s.t, err)
	d.Queue = q
	must(s.t, d.Commit())
	return d.ID()
}

// run starts the queue manager; stop ends it.
func (s *system) run() (stop func()) {
	s.t.Helper()
	s.server = &Server{}
	set := param.NewSet()
	new(param.Common).Params(set)
	s.server.Params(set)
	must(s.t, set.Load(s.env.Config))
	must(s.t, s.server.Open(s.env))
	if s.fault != nil {
		s.server.m.store.SetFault(s.fault)
		s.server.m.patience = time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	l := s.serve("public/qmgr", func(c net.Conn) { s.server.Serve(ctx, c) })
	go func() { done <- s.server.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			l.Close()
			must(s.t, <-done)
		})
	}
	s.t.Cleanup(stop)
	return stop
}

func (s *system) trigger(text string) {
	c, err := net.Dial("unix", "public/qmgr")
	must(s.t, err)
	defer c.Close()
	_, err = c.Write([]byte(text))
	must(s.t, err)
}

// wait waits for a condition, with the log as explanation when it fails.
func (s *system) wait(what string, ok func() bool) {
	s.t.Helper()
	limit := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(limit) {
			s.t.Fatalf("%s does not happen; log:\n%s", what, strings.Join(s.lines(), "\n"))
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *system) logged(text string) bool {
	for _, line := range s.lines() {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (s *system) in(q queue.Name, id queue.ID) bool {
	_, err := s.store.Stat(q, id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return err == nil
}

func (s *system) count(op int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		if r.Op == op {
			n++
		}
	}
	return n
}

func (s *system) got(addr string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivered[addr]
}
