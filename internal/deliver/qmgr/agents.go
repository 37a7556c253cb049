package qmgr

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"postern/internal/deliver/agent"
	"postern/internal/deliver/qmgr/schedule"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

const (
	// maxDials is how many connections to one transport are being opened: its
	// agents may all be busy, then more would only wait. Postfix: the same.
	maxDials = 2
	// dialLimit is how long a service may be unreachable, while it is started.
	dialLimit = 10 * time.Second
	// maxUse is how many requests go over one connection, so that a service
	// with a session limit gets round to others who want its help.
	maxUse = 100
)

// agents are the connections to one transport's service. They belong to the
// loop.
type agents struct {
	endpoint *endpoint.Endpoint
	idle     []*agentConn // the one used last is at the end
	dialing  int
	reaping  bool
}

// An agentConn is a connection with a goroutine that waits for the agent.
type agentConn struct {
	conn  *attr.Conn
	work  chan job // closed to end the connection
	uses  int
	since time.Time // idle
}

// A job is a delivery for one agent.
type job struct {
	entry *schedule.Entry
	msg   *message
	req   delivery.Request
}

func (m *manager) agents(t *schedule.Transport) *agents {
	a, ok := t.Data.(*agents)
	if !ok {
		a = &agents{endpoint: m.env.Endpoint("private", t.Name(), delivery.Protocol)}
		t.Data = a
	}
	return a
}

// pump hands out what the transport can deliver now. A delivery is chosen only
// when an agent is there for it, so that the choice is as late as possible.
func (m *manager) pump(t *schedule.Transport) {
	if t.Name() == discardHere {
		for e := m.sched.Next(t); e != nil; e = m.sched.Next(t) {
			m.withoutAgent(e, schedule.Outcome{}, m.discard)
		}
		return
	}
	a := m.agents(t)
	for t.Ready() > 0 {
		if len(a.idle) == 0 {
			if a.dialing >= maxDials || a.dialing >= t.Ready() {
				return
			}
			a.dialing++
			go m.dial(t, a.endpoint)
			continue
		}
		e := m.sched.Next(t)
		if e == nil {
			return
		}
		c := a.idle[len(a.idle)-1]
		a.idle = a.idle[:len(a.idle)-1]
		c.uses++
		c.work <- m.job(e)
	}
}

// dial opens a connection and reports.
func (m *manager) dial(t *schedule.Transport, e *endpoint.Endpoint) {
	conn, err := connect(e)
	m.post(func() {
		a := m.agents(t)
		a.dialing--
		if err != nil {
			m.unreachable(t, err)
			return
		}
		c := &agentConn{conn: conn, work: make(chan job, 1), since: m.now()}
		go m.converse(t, a.endpoint, c)
		m.free(t, c)
	})
}

func connect(e *endpoint.Endpoint) (*attr.Conn, error) {
	if _, err := os.Stat(e.Path()); errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	return e.Dial(ctx)
}

// unreachable deals with a transport that has no agent. Where even the retry
// service is missing, its work is done here.
func (m *manager) unreachable(t *schedule.Transport, err error) {
	m.env.Log.Warningf("connect to transport private/%s: %v", t.Name(), err)
	if t.Name() != retryTransport {
		m.sched.KillTransport(t, unavailable("mail transport unavailable"))
		return
	}
	for e := m.sched.Next(t); e != nil; e = m.sched.Next(t) {
		m.withoutAgent(e, schedule.Outcome{}, m.deferHere)
	}
}

// free makes an agent that has nothing to do available.
func (m *manager) free(t *schedule.Transport, c *agentConn) {
	a := m.agents(t)
	c.since = m.now()
	a.idle = append(a.idle, c)
	m.pump(t)
	m.reap(t, a)
}

// reap closes connections that have been idle for ipc_idle, sometime later.
func (m *manager) reap(t *schedule.Transport, a *agents) {
	if a.reaping || len(a.idle) == 0 {
		return
	}
	a.reaping = true
	time.AfterFunc(m.env.Common.IPCIdle, func() {
		m.post(func() {
			a.reaping = false
			limit := m.now().Add(-m.env.Common.IPCIdle)
			n := 0
			for n < len(a.idle) && !a.idle[n].since.After(limit) {
				close(a.idle[n].work)
				n++
			}
			a.idle = append(a.idle[:0], a.idle[n:]...)
			m.reap(t, a)
		})
	})
}

// converse is the goroutine of one connection.
func (m *manager) converse(t *schedule.Transport, e *endpoint.Endpoint, c *agentConn) {
	defer func() { c.conn.Close() }()
	for j := range c.work {
		var reply delivery.Reply
		err := exchange(e, c, &j.req, &reply, m.env.Common.DaemonTimeout)
		last := err != nil || c.uses >= maxUse
		m.post(func() {
			m.delivered(j, reply, err)
			if !last {
				m.free(t, c)
			} else {
				m.pump(t)
			}
		})
		if last {
			return
		}
	}
}

// exchange has one request done, over a new connection when the agent had
// closed this one.
func exchange(e *endpoint.Endpoint, c *agentConn, req *delivery.Request, reply *delivery.Reply, limit time.Duration) error {
	ctx := context.Background()
	err := delivery.Exchange(ctx, c.conn, req, reply, limit)
	if !errors.Is(err, delivery.ErrUnread) {
		return err
	}
	conn, err := connect(e)
	if err != nil {
		return err
	}
	c.conn.Close()
	c.conn = conn
	return delivery.Exchange(ctx, c.conn, req, reply, limit)
}

// delivered takes an agent's answer.
func (m *manager) delivered(j job, reply delivery.Reply, err error) {
	t := j.entry.Dest.Transport()
	if err != nil {
		m.env.Log.Warningf("transport %s failure: %v -- see a previous warning/fatal/panic logfile record for the problem description", t.Name(), err)
		j.msg.bounced = true // perhaps
		why := unavailable("unknown mail transport error")
		m.sched.KillTransport(t, why)
		m.withoutAgent(j.entry, schedule.Outcome{Crashed: true, Hop: why}, func(msg *message, e *schedule.Entry) bool {
			return m.deferLeft(msg, e, why)
		})
		return
	}
	j.msg.deferred = j.msg.deferred || reply.Status != delivery.Done
	j.msg.bounced = j.msg.bounced || reply.Bounced
	var hop dsn.Result
	if reply.Status != delivery.Done {
		hop = reply.Hop
	}
	m.sched.Done(j.entry, schedule.Outcome{Hop: hop})
}

// job makes the request for an entry.
func (m *manager) job(e *schedule.Entry) job {
	msg := e.Message.Data.(*message)
	env := msg.env
	j := job{entry: e, msg: msg}
	j.req = delivery.Request{
		Flags:     env.TraceFlags&delivery.TraceFlags | delivery.FlagSuccess,
		QueueName: queue.Active, QueueID: msg.id,
		Offset: env.Sizes.ContentOffset, Size: env.Sizes.Length,
		Nexthop: e.Dest.Nexthop(), Encoding: env.Encoding, SendOpts: env.Sizes.SendOpts,
		Sender: env.Sender, EnvelopeID: env.EnvelopeID, RetFlags: env.RetFlags,
		Times:      delivery.Times{Arrival: env.Arrival, ActiveArrival: msg.sched.Queued},
		ClientName: first(env.LogClient.Name, env.Client.Name), ClientAddr: first(env.LogClient.Addr, env.Client.Addr),
		ClientPort: first(env.LogClient.Port, env.Client.Port), ClientProto: first(env.LogClient.Proto, env.Client.Proto),
		ClientHelo: first(env.LogClient.Helo, env.Client.Helo),
		SASLMethod: env.SASLMethod, SASLUsername: env.SASLUsername, SASLSender: env.SASLSender,
		LogIdent: first(env.LogIdent, string(msg.id)), RewriteContext: first(env.RewriteContext, "local"),
		Recipients: make([]*delivery.Recipient, len(e.Recipients)),
	}
	for i, r := range e.Recipients {
		rcpt := r.(*delivery.Recipient)
		j.req.Recipients[i] = rcpt
		if !ascii(rcpt.Address) {
			j.req.SendOpts |= delivery.SendUTF8Recipient
		}
	}
	if env.Verp != "" && env.Sender != "" {
		rcpt := j.req.Recipients[0]
		j.req.Sender = address.Verp(env.Sender, rcpt.OrigAddr, rcpt.Address, env.Verp)
	}
	return j
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// withoutAgent ends a delivery by a function of the queue manager.
func (m *manager) withoutAgent(e *schedule.Entry, o schedule.Outcome, f func(*message, *schedule.Entry) bool) {
	msg := e.Message.Data.(*message)
	go func() {
		done := f(msg, e)
		m.post(func() {
			msg.deferred = msg.deferred || !done
			m.sched.Done(e, o)
		})
	}()
}

// discard reports recipients as sent.
func (m *manager) discard(msg *message, e *schedule.Entry) bool {
	f, err := m.store.Open(queue.Active, msg.id)
	if err != nil {
		m.env.Log.Warningf("%v", err)
		return false
	}
	defer f.Close()
	for _, r := range e.Recipients {
		rcpt := r.(*delivery.Recipient)
		m.line(msg, rcpt, dsn.Make("2.0.0", e.Dest.Nexthop()), "sent")
		if err := f.MarkDone(rcpt.Offset); err != nil {
			m.env.Log.Warningf("%v", err)
		}
	}
	return true
}

// deferHere records that recipients are tried again, for the reason that is
// their next hop.
func (m *manager) deferHere(msg *message, e *schedule.Entry) bool {
	return m.deferLeft(msg, e, dsn.Split("4.3.0", e.Dest.Nexthop()))
}

// deferLeft records that recipients which are not marked done are tried again.
func (m *manager) deferLeft(msg *message, e *schedule.Entry, res dsn.Result) bool {
	res.Action = "delayed"
	f, err := m.store.Open(queue.Active, msg.id)
	if err != nil {
		m.env.Log.Warningf("%v", err)
		return false
	}
	defer f.Close()
	for _, r := range e.Recipients {
		rcpt := r.(*delivery.Recipient)
		mark := make([]byte, 1)
		if _, err := f.ReadAt(mark, rcpt.Offset); err == nil && mark[0] == byte(record.Done) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), m.cfg.IPCTimeout)
		err := m.logs.deferred.Append(ctx, msg.id, 0, bounce.Recipient{
			Address: rcpt.Address, OrigAddr: rcpt.OrigAddr, Offset: rcpt.Offset,
			DSNOrigRcpt: rcpt.DSNOrigRcpt, Notify: rcpt.Notify,
		}, res)
		cancel()
		if err != nil {
			m.env.Log.Warningf("%s: %v", msg.id, err)
		}
		m.line(msg, rcpt, res, "deferred")
	}
	return false
}

func (m *manager) line(msg *message, rcpt *delivery.Recipient, res dsn.Result, status string) {
	times := delivery.Times{Arrival: msg.env.Arrival, ActiveArrival: msg.sched.Queued, DeliveryDone: m.now()}
	ev := agent.Line(string(msg.id), rcpt, "none", times, res, status)
	ev.Recipient, ev.OrigTo = m.logged(ev.Recipient), m.logged(ev.OrigTo)
	ev.Digits = m.env.Common.DelayLoggingResolutionLimit
	m.env.Log.Event(ev)
}
