package agent_test

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/internal/deliver/agent"
	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/service"
	"postern/internal/table/inline"
	"postern/internal/table/pattern"
)

// A program is an agent of one function, with a status filter.
type program struct {
	agent.Kit
	f agent.Func
}

func (p *program) Serve(ctx context.Context, c net.Conn) error { return p.Kit.Serve(ctx, c, p.f) }

var _ service.Service = (*program)(nil)

func open(t *testing.T, mainCF string, f agent.Func) (*program, *agenttest.Instance) {
	p := &program{Kit: agent.Kit{StatusFilter: "smtp_delivery_status_filter"}, f: f}
	return p, agenttest.New(t, p, "smtp", mainCF, append(pattern.Types(), inline.Type()))
}

// each reports every recipient by its name: "sent", "defer", "bounce".
func each(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	for _, rcpt := range req.Recipients {
		switch name, _, _ := strings.Cut(rcpt.Address, "@"); name {
		case "sent":
			rep.Sent(rcpt, "mx", dsn.Make("2.0.0", "ok"))
		case "defer":
			rep.Defer(rcpt, "mx", dsn.Make("4.1.1", "later"))
		case "bounce":
			rep.Bounce(rcpt, "mx", dsn.Make("5.1.1", "never"))
		}
	}
	return nil
}

func statusLines(in *agenttest.Instance) []string {
	var list []string
	for _, line := range in.Log() {
		if _, rest, ok := strings.Cut(line, "dsn="); ok {
			list = append(list, rest)
		}
	}
	return list
}

func TestReport(t *testing.T) {
	all := []string{"sent@x", "defer@x", "bounce@x"}
	for _, c := range []struct {
		name, mainCF string
		flags        int
		notify       int
		records      []string
		lines        []string
		todo         []string
		reply        delivery.Reply
	}{{
		name:    "usual",
		records: []string{"defer 0: <defer@x> 4.1.1 later", "bounce 0: <bounce@x> 5.1.1 never"},
		lines:   []string{"2.0.0, status=sent (ok)", "4.1.1, status=deferred (later)", "5.1.1, status=bounced (never)"},
		todo:    []string{"defer@x"},
		reply:   delivery.Reply{Status: delivery.Defer, Bounced: true},
	}, {
		name: "soft bounce", mainCF: "soft_bounce = yes\n",
		records: []string{"defer 0: <defer@x> 4.1.1 later", "defer 0: <bounce@x> 4.1.1 never"},
		lines:   []string{"2.0.0, status=sent (ok)", "4.1.1, status=deferred (later)", "4.1.1, status=SOFTBOUNCE (never)"},
		todo:    []string{"defer@x", "bounce@x"},
		reply:   delivery.Reply{Status: delivery.Defer},
	}, {
		name: "status filter", mainCF: "default_delivery_status_filter = regexp:{ {/^4.1.1 later/ 5.4.4 now never} {/^5.1.1 never/ 4.4.4 now later} {/^2.0.0 ok/ 4.0.0 no} }\n",
		records: []string{"bounce 0: <defer@x> 5.4.4 now never", "defer 0: <bounce@x> 4.4.4 now later"},
		lines:   []string{"2.0.0, status=sent (ok)", "5.4.4, status=bounced (now never)", "4.4.4, status=deferred (now later)"},
		todo:    []string{"bounce@x"},
		reply:   delivery.Reply{Status: delivery.Defer, Bounced: true},
	}, {
		name: "sendmail -bv", flags: delivery.FlagUserVerify,
		records: []string{"trace 0: <sent@x> 2.0.0 delivery via mx: ok", "trace 0: <defer@x> 4.1.1 delivery via mx: later", "trace 0: <bounce@x> 5.1.1 delivery via mx: never"},
		lines:   []string{"2.0.0, status=deliverable (ok)", "4.1.1, status=undeliverable (later)", "5.1.1, status=undeliverable (never)"},
	}, {
		name: "sendmail -v", flags: delivery.FlagRecord,
		records: []string{"trace 0: <sent@x> 2.0.0 delivery via mx: ok", "defer 0: <defer@x> 4.1.1 later", "trace 0: <defer@x> 4.1.1 delivery via mx: later",
			"bounce 0: <bounce@x> 5.1.1 never", "trace 0: <bounce@x> 5.1.1 delivery via mx: never"},
		lines: []string{"2.0.0, status=sent (ok)", "4.1.1, status=deferred (later)", "5.1.1, status=bounced (never)"},
		todo:  []string{"defer@x"},
		reply: delivery.Reply{Status: delivery.Defer, Bounced: true},
	}, {
		name: "NOTIFY=SUCCESS", notify: dsn.NotifySuccess,
		records: []string{"trace 0: <sent@x> 2.0.0 delivery via mx: ok", "defer 0: <defer@x> 4.1.1 later", "bounce 0: <bounce@x> 5.1.1 never"},
		lines:   []string{"2.0.0, status=sent (ok)", "4.1.1, status=deferred (later)", "5.1.1, status=bounced (never)"},
		todo:    []string{"defer@x"},
		reply:   delivery.Reply{Status: delivery.Defer, Bounced: true},
	}} {
		t.Run(c.name, func(t *testing.T) {
			p, in := open(t, c.mainCF, each)
			req := in.Message(t, "s@example.com", "text\n", all...)
			req.Flags |= c.flags
			for _, r := range req.Recipients {
				r.Notify = c.notify
			}
			reply := p.Do(context.Background(), req, each)
			if reply != c.reply {
				t.Errorf("reply: got %+v, want %+v", reply, c.reply)
			}
			if got := in.Records(); !reflect.DeepEqual(got, c.records) {
				t.Errorf("records: got %q\nwant %q", got, c.records)
			}
			if got := statusLines(in); !reflect.DeepEqual(got, c.lines) {
				t.Errorf("log: got %q\nwant %q", got, c.lines)
			}
			if got := in.Todo(t, req); !reflect.DeepEqual(got, c.todo) {
				t.Errorf("left: got %q, want %q", got, c.todo)
			}
		})
	}
}

// What cannot be recorded is not done.
func TestServicesAreGone(t *testing.T) {
	p, in := open(t, "ipc_timeout = 1s\n", each)
	for _, name := range []string{"bounce", "defer", "trace"} {
		if err := os.Remove("private/" + name); err != nil {
			t.Fatal(err)
		}
	}
	req := in.Message(t, "s@example.com", "text\n", "bounce@x")
	if reply := p.Do(context.Background(), req, each); reply.Status != delivery.Defer || reply.Bounced {
		t.Errorf("%+v", reply)
	}
	if got := in.Todo(t, req); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

func TestNoResult(t *testing.T) {
	p, in := open(t, "", nil)
	req := in.Message(t, "s@example.com", "text\n", "a@x", "b@x")
	reply := p.Do(context.Background(), req, func(ctx context.Context, req *agent.Request, rep *agent.Report) error {
		rep.Sent(req.Recipients[0], "mx", dsn.Make("2.0.0", "ok"))
		return errors.New("out of order")
	})
	if reply.Status != delivery.Defer {
		t.Errorf("%+v", reply)
	}
	if got := in.Todo(t, req); !reflect.DeepEqual(got, []string{"b@x"}) {
		t.Errorf("left: %q", got)
	}
	if got := in.Records(); !reflect.DeepEqual(got, []string{"defer 0: <b@x> 4.3.0 out of order"}) {
		t.Errorf("%q", got)
	}
}

func TestParts(t *testing.T) {
	for _, last := range []string{"sent@x", "defer@x"} {
		p, in := open(t, "", nil)
		req := in.Message(t, "s@example.com", "text\n", "list@x")
		reply := p.Do(context.Background(), req, func(ctx context.Context, req *agent.Request, rep *agent.Report) error {
			done := true
			for _, addr := range []string{"bounce@x", last} {
				rcpt := *req.Recipients[0]
				rcpt.Address = addr
				one := *req
				one.Recipients = []*delivery.Recipient{&rcpt}
				if each(ctx, &one, rep.Parts()); addr == "defer@x" {
					done = false
				}
			}
			rep.Settle(req.Recipients[0], done)
			return nil
		})
		left := in.Todo(t, req)
		if done := last == "sent@x"; done != (reply.Status == delivery.Done) || done != (len(left) == 0) {
			t.Errorf("%s: %+v, left %q", last, reply, left)
		}
	}
}

func TestBadRequests(t *testing.T) {
	p, in := open(t, "", each)
	good := in.Message(t, "s@example.com", "text\n", "sent@x")
	for name, change := range map[string]func(r *delivery.Request){
		"path":  func(r *delivery.Request) { r.QueueID = "../../etc/passwd" },
		"queue": func(r *delivery.Request) { r.QueueName = queue.Hold },
		"gone":  func(r *delivery.Request) { r.QueueID = "ABCDEF0123" },
		"size":  func(r *delivery.Request) { r.Offset = -1 },
	} {
		req := *good
		change(&req)
		if reply := p.Do(context.Background(), &req, each); reply.Status != delivery.Defer {
			t.Errorf("%s: %+v", name, reply)
		}
	}
	f, err := in.Store.Open(queue.Active, good.QueueID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Lock(); err != nil {
		t.Fatal(err)
	}
	if reply := p.Do(context.Background(), good, each); reply.Status != delivery.Defer {
		t.Errorf("locked: %+v", reply)
	}
	if len(in.Todo(t, good)) != 1 {
		t.Error("delivered under the lock of another")
	}
}

// Many requests go over one connection; when the service drains, an idle
// connection ends and a request that was not read may be sent again.
func TestConnection(t *testing.T) {
	p, in := open(t, "", each)
	drain := make(chan struct{})
	in.Env.Draining = drain
	in.Serve(t, "private/smtp", func(c *attr.Conn) error { return p.Serve(context.Background(), c.Conn) })
	e := in.Env.Endpoint("private", "smtp", delivery.Protocol)
	c, err := e.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		req := in.Message(t, "s@example.com", "text\n", "sent@x", "bounce@x")
		var reply delivery.Reply
		if err := delivery.Exchange(context.Background(), c, req, &reply, time.Minute); err != nil || reply.Status != delivery.Done || !reply.Bounced {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	close(drain)
	req := in.Message(t, "s@example.com", "text\n", "sent@x")
	var reply delivery.Reply
	if err := delivery.Exchange(context.Background(), c, req, &reply, time.Minute); err != nil && !errors.Is(err, delivery.ErrUnread) && len(in.Todo(t, req)) == 0 {
		t.Errorf("%v after the message was delivered", err)
	}
}
