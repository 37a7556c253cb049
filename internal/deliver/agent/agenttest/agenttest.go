// Package agenttest tests delivery agents: a queue directory with services that
// only note what they are asked, messages in its active queue, and the log.
package agenttest

import (
	"fmt"
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
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
	"postern/internal/table"
)

// An Instance is the surroundings of one agent.
type Instance struct {
	Dir   string // the queue directory, also the working directory
	Env   *service.Env
	Store *queue.Store
	Log   func() []string // the lines logged so far

	mu      sync.Mutex
	records []string
}

// New makes an instance with the main.cf text config, opens the tables of the
// given types, and calls Params and Open of the agent called name.
func New(t testing.TB, s service.Service, name, config string, types []table.Type) *Instance {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	c, err := maincf.Read(strings.NewReader(config), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range [][2]string{{"myhostname", "mx.example"}, {"queue_directory", dir}, {"mynetworks", "127.0.0.0/8"}, {"ipc_timeout", "20s"}} {
		if _, _, ok := c.Lookup(def[0]); !ok {
			c = c.Override(def[0], def[1], "agenttest")
		}
	}
	common := new(param.Common)
	set := param.NewSet()
	common.Params(set)
	s.Params(set)
	if err := set.Load(c); err != nil {
		t.Fatal(err)
	}
	log, lines := maillog.Record()
	tables := table.NewOpener(types)
	tables.Log = log
	in := &Instance{Dir: dir, Log: lines, Store: queue.New(queue.Config{Dir: dir})}
	in.Env = &service.Env{
		Program: name, Name: name, Type: "unix", Config: c, Common: common, Log: log, Tables: tables,
		Stress: func() bool { return false }, Draining: make(chan struct{}), Privileged: os.Geteuid() == 0,
	}
	for _, d := range []string{"active", "private", "public"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bounce", "defer", "trace"} {
		in.statusService(t, name)
	}
	if err := s.Open(in.Env); err != nil {
		t.Fatal(err)
	}
	return in
}

// Serve answers connections to a service, "private/rewrite", by f.
func (in *Instance) Serve(t testing.TB, path string, f func(c *attr.Conn) error) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(attr.NewConn(conn, 20*time.Second))
			}()
		}
	}()
}

// statusService notes what a service of the bounce family is asked.
func (in *Instance) statusService(t testing.TB, name string) {
	in.Serve(t, "private/"+name, func(c *attr.Conn) error {
		protocol := attr.Protocol(bounce.Protocol)
		if err := c.Send(&protocol); err != nil {
			return err
		}
		for {
			var r bounce.Request
			if err := c.Recv(&r); err != nil {
				return err
			}
			in.mu.Lock()
			in.records = append(in.records, fmt.Sprintf("%s %d: <%s> %s %s", name, r.Op, r.Recipient.Address, r.Result.Status, r.Result.Reason))
			in.mu.Unlock()
			var ok attr.Status
			if err := c.Send(&ok); err != nil {
				return err
			}
		}
	})
}

// Records returns what the services bounce, defer and trace have been asked,
// "bounce 0: <recipient> status reason".
func (in *Instance) Records() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]string(nil), in.records...)
}

// Message puts a message into the active queue and returns the request to
// deliver it. content is its lines.
func (in *Instance) Message(t testing.TB, sender, content string, recipients ...string) *delivery.Request {
	t.Helper()
	d, err := in.Store.Create(queue.Active)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	req := &delivery.Request{
		Flags: delivery.FlagSuccess, QueueName: queue.Active, QueueID: d.ID(), Sender: sender, RewriteContext: "local",
		Times: delivery.Times{Arrival: now, ActiveArrival: now, AgentHandoff: now},
	}
	w := record.NewWriter(d)
	w.PutString(record.Sender, sender)
	for _, r := range recipients {
		req.Recipients = append(req.Recipients, &delivery.Recipient{Address: r, OrigAddr: r, Offset: w.Offset()})
		w.PutString(record.Rcpt, r)
	}
	w.PutString(record.Mesg, "")
	req.Offset = w.Offset()
	for line := range strings.Lines(content) {
		w.PutString(record.Norm, strings.TrimSuffix(line, "\n"))
	}
	req.Size = w.Offset() - req.Offset
	w.PutString(record.Xtra, "")
	w.PutString(record.End, "")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return req
}

// Todo returns the recipients of a message that are not marked done.
func (in *Instance) Todo(t testing.TB, req *delivery.Request) []string {
	t.Helper()
	f, err := in.Store.OpenRead(req.QueueName, req.QueueID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var todo []string
	for r := record.NewFileReader(f, 0); ; {
		kind, data, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case record.Rcpt:
			todo = append(todo, string(data))
		case record.End:
			return todo
		}
	}
}
