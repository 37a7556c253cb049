package smtpclient

import (
	"fmt"
	"time"

	"postern/internal/deliver/agent"
	"postern/internal/mail/dsn"
)

// soft and hard say of which class a result is; an empty one is neither.
func soft(r *dsn.Result) bool { return r.Status.Class() == '4' }
func hard(r *dsn.Result) bool { return r.Status.Class() == '5' }

// loops says that the mail comes back to this host.
func loops(r *dsn.Result) bool { return len(r.Status) == 5 && r.Status[1:] == ".4.6" }

// remote is the result of a server's reply. A reply that does not refuse where
// it must is a mistake of the server.
func remote(s *session, p *reply, format string, args ...any) dsn.Result {
	text := fmt.Sprintf(format, args...)
	status := p.status
	if c := status.Class(); c != '4' && c != '5' {
		text = "Protocol error: " + text
		status = "5.5.0"
	}
	return dsn.Result{Status: status, Reason: text, MTAType: "dns", MTAName: s.place.host, DiagType: "smtp", DiagText: p.line()}
}

// said is the result of a reply that refuses a command.
func said(s *session, p *reply, command string) dsn.Result {
	return remote(s, p, "host %s said: %s (in reply to %s)", s.name, p.line(), command)
}

// refused is the result of a reply by which a server does not want to talk.
func refused(s *session, p *reply) dsn.Result {
	return remote(s, p, "host %s refused to talk to me: %s", s.name, p.line())
}

// report returns the reports of deliveries over s.
func (d *delivering) report(s *session) *agent.Report {
	c := agent.Conn{Setup: d.setup}
	switch {
	case s != nil:
		c.Use, c.TLS = s.uses, d.client.statusText(&s.status)
	case d.status.level.name != levelNone.String() || d.status.require.name != "":
		c.TLS = d.client.statusText(&d.status)
	}
	return d.rep.Over(c)
}

func relay(s *session) string {
	if s == nil {
		return "none"
	}
	return s.port
}

// tryLater says whether a failure is no reason to give up: another server
// comes, and it may take the mail.
func (d *delivering) tryLater(r *dsn.Result) bool {
	return !d.finalServer && (soft(r) || hard(r) && d.client.env.Common.SoftBounce)
}

// failAll ends the transaction for every recipient that has no outcome yet.
// throttle says that the failure is the host's and not the message's: then
// mail for the destination as a whole has to wait.
func (d *delivering) failAll(s *session, r dsn.Result, throttle bool) {
	if s != nil && throttle {
		s.noReuse = true
	}
	d.why = r
	if d.tryLater(&r) {
		d.waits = true
		d.req.Log.Infof("%s: %s", d.req.QueueID, r.Reason)
		for _, t := range d.rcpts {
			t.kept = t.kept || !t.Settled
		}
		return
	}
	if d.setup.IsZero() {
		// The time was spent in reaching the server.
		d.setup = time.Now()
	}
	rep := d.report(s)
	for _, t := range d.rcpts {
		if t.Settled || t.kept {
			continue
		}
		d.settle(rep, s, t, r)
	}
	if throttle && !hardFinal(d, &r) && !d.suspended {
		d.suspended = true
		d.rep.Suspend(r)
	}
}

func hardFinal(d *delivering, r *dsn.Result) bool { return hard(r) && !d.client.env.Common.SoftBounce }

// failOne is the failure of one recipient.
func (d *delivering) failOne(s *session, t *target, r dsn.Result) {
	d.why = r
	if d.tryLater(&r) {
		d.waits = true
		d.req.Log.Infof("%s: %s", d.req.QueueID, r.Reason)
		t.kept = true
		return
	}
	d.settle(d.report(s), s, t, r)
}

// settle reports a recipient as deferred or returned.
func (d *delivering) settle(rep *agent.Report, s *session, t *target, r dsn.Result) {
	if hard(&r) {
		rep.Bounce(t.Recipient, relay(s), r)
	} else {
		rep.Defer(t.Recipient, relay(s), r)
	}
}

// done reports a recipient that the server has accepted.
func (d *delivering) done(s *session, t *target, p *reply) {
	action := "relayed"
	switch {
	case s.has(featDSN):
		// The server sends the notice of success itself.
		t.Notify &^= dsn.NotifySuccess
	case d.client.final || d.client.config.AssumeFinal:
		action = "delivered"
	}
	d.report(s).Sent(t.Recipient, s.port, dsn.Result{
		Status: p.status, Action: action, Reason: p.line(),
		MTAType: "dns", MTAName: s.place.host, DiagType: "smtp", DiagText: p.line(),
	})
}
