package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/verify"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
)

// A Report takes what became of each recipient. Its methods say whether the
// recipient is finished, so that nothing is left to do for it; they may be
// called from several goroutines.
//
// relay is who was asked: "host[addr]:port", the service's own name, or "none".
type Report struct {
	kit    *Kit
	req    *Request
	parts  bool // reports of what a recipient was expanded to: marks nothing
	conn   Conn
	shared *outcome
}

// outcome is what the reports of one request have in common.
type outcome struct {
	mu    sync.Mutex
	reply delivery.Reply
}

// A Conn is what the log tells of the connection over which a message went.
type Conn struct {
	Setup time.Time // when it was ready for the message; zero: no connection
	Use   int       // how often it has been used, 1 for the first time
	TLS   string    // what the log shows as tls=; "" for nothing
}

func newReport(k *Kit, r *Request) *Report {
	return &Report{kit: k, req: r, shared: &outcome{}}
}

// Over returns a report on deliveries over one connection.
func (rep *Report) Over(c Conn) *Report {
	r := *rep
	r.conn = c
	return &r
}

// Parts returns a report for the deliveries that one recipient was expanded to
// (aliases, .forward): it records and logs each of them, but settles nothing.
// The caller settles the recipient itself, by Settle.
func (rep *Report) Parts() *Report {
	r := *rep
	r.parts = true
	return &r
}

// Settle ends a recipient whose parts have been reported: done when each part
// was finished, else it is tried again as a whole.
func (rep *Report) Settle(rcpt *delivery.Recipient, done bool) {
	rcpt.Settled = true
	if !done {
		rep.shared.mu.Lock()
		rep.shared.reply.Status = delivery.Defer
		rep.shared.mu.Unlock()
		return
	}
	if rep.req.Flags&delivery.FlagSuccess == 0 || rcpt.Offset <= 0 {
		return
	}
	if err := rep.req.File.MarkDone(rcpt.Offset); err != nil {
		// The file goes when nobody is left; else a duplicate is the price.
		rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
	}
}

func (rep *Report) settle(rcpt *delivery.Recipient, done bool) bool {
	if !rep.parts {
		rep.Settle(rcpt, done)
	}
	return done
}

// Suspend says that the next hop as a whole does not work for the reason in
// res: the queue manager holds back other mail for it.
func (rep *Report) Suspend(res dsn.Result) {
	rep.shared.mu.Lock()
	rep.shared.reply.Hop = res
	rep.shared.mu.Unlock()
}

// Sent reports a delivery.
func (rep *Report) Sent(rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	if res.Status.Class() != '2' {
		rep.req.Log.Warningf("%s: status %q of a delivery is not of class 2", rep.req.QueueID, res.Status)
		res.Status = "2.0.0"
	}
	res = rep.filtered(res)
	flags := rep.req.Flags
	if flags&delivery.VerifyFlags != 0 {
		return rep.settle(rcpt, rep.verified(rcpt, relay, res, "deliverable"))
	}
	if res.Action == "" {
		res.Action = "delivered"
	}
	record := flags&delivery.FlagRecord != 0 ||
		flags&delivery.FlagRecDlySent != 0 && (rcpt.Notify == 0 || rcpt.Notify&dsn.NotifyDelay != 0)
	if record || rcpt.Notify&dsn.NotifySuccess != 0 {
		if err := rep.traced(rcpt, relay, res); err != nil {
			rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
			service := rep.kit.env.Common.TraceServiceName
			return rep.deferred(rcpt, relay, dsn.Make("4.3.0", fmt.Sprintf("%s: %s service failed", rep.req.QueueID, service)))
		}
	}
	rep.log(rcpt, relay, res, "sent")
	return rep.settle(rcpt, true)
}

// Defer reports a recipient that must be tried again.
func (rep *Report) Defer(rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	if res.Status.Class() != '4' {
		rep.req.Log.Warningf("%s: status %q of a deferred delivery is not of class 4", rep.req.QueueID, res.Status)
		res.Status = "4.0.0"
	}
	res = rep.filtered(res)
	if res.Status.Permanent() {
		return rep.bounced(rcpt, relay, res)
	}
	return rep.deferred(rcpt, relay, res)
}

// Bounce reports a recipient that cannot be delivered to, ever. With
// soft_bounce it is tried again nevertheless.
func (rep *Report) Bounce(rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	res, permanent := rep.permanent(res)
	if !permanent {
		return rep.deferred(rcpt, relay, res)
	}
	return rep.bounced(rcpt, relay, res)
}

func (rep *Report) permanent(res dsn.Result) (dsn.Result, bool) {
	if !res.Status.Permanent() {
		rep.req.Log.Warningf("%s: status %q of a failed delivery is not of class 5", rep.req.QueueID, res.Status)
		res.Status = "5.0.0"
	}
	res = rep.filtered(res)
	return res, res.Status.Permanent()
}

// BounceTo is Bounce where not the message's sender but another address, that
// of an owner- alias, gets the notice, at once.
func (rep *Report) BounceTo(sender string, rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	if sender == rep.req.Sender || rep.req.Flags&delivery.VerifyFlags != 0 || rep.kit.env.Common.SoftBounce {
		return rep.Bounce(rcpt, relay, res)
	}
	res, permanent := rep.permanent(res)
	if !permanent {
		return rep.deferred(rcpt, relay, res)
	}
	res.Action = "failed"
	ctx, cancel := rep.context()
	defer cancel()
	err := rep.kit.logs.bounce.One(ctx, bounce.Message{
		QueueName: rep.req.QueueName, QueueID: rep.req.QueueID, Encoding: rep.req.Encoding,
		SendOpts: rep.req.SendOpts, Sender: sender,
		EnvelopeID: rep.req.EnvelopeID, RetFlags: rep.req.RetFlags,
	}, 0, wire(rcpt), res)
	return rep.returned(rcpt, relay, res, err, "bounced")
}

func (rep *Report) bounced(rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	if rep.req.Flags&delivery.VerifyFlags != 0 {
		return rep.settle(rcpt, rep.verified(rcpt, relay, res, "undeliverable"))
	}
	if rep.kit.env.Common.SoftBounce {
		res.Status, res.Action = res.Status.WithClass('4'), "delayed"
		return rep.returned(rcpt, relay, res, rep.append(rep.kit.logs.deferred, rcpt, res), "SOFTBOUNCE")
	}
	res.Action = "failed"
	return rep.returned(rcpt, relay, res, rep.append(rep.kit.logs.bounce, rcpt, res), "bounced")
}

// returned ends a recipient whose failure was recorded, or could not be.
func (rep *Report) returned(rcpt *delivery.Recipient, relay string, res dsn.Result, err error, status string) bool {
	if err == nil {
		err = rep.record(rcpt, relay, res)
	}
	if err != nil {
		rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
		c := rep.kit.env.Common
		reason := fmt.Sprintf("%s or %s service failure", c.BounceServiceName, c.TraceServiceName)
		return rep.deferred(rcpt, relay, dsn.Make("4.3.0", reason))
	}
	rep.log(rcpt, relay, res, status)
	if status == "SOFTBOUNCE" {
		return rep.settle(rcpt, false)
	}
	rep.shared.mu.Lock()
	rep.shared.reply.Bounced = true
	rep.shared.mu.Unlock()
	return rep.settle(rcpt, true)
}

func (rep *Report) deferred(rcpt *delivery.Recipient, relay string, res dsn.Result) bool {
	if rep.req.Flags&delivery.VerifyFlags != 0 {
		return rep.settle(rcpt, rep.verified(rcpt, relay, res, "undeliverable"))
	}
	res.Action = "delayed"
	err := rep.append(rep.kit.logs.deferred, rcpt, res)
	if err == nil {
		err = rep.record(rcpt, relay, res)
	}
	if err != nil {
		rep.req.Log.Warningf("%s: %s service failure: %v", rep.req.QueueID, rep.kit.env.Common.DeferServiceName, err)
	} else {
		rep.log(rcpt, relay, res, "deferred")
	}
	rep.waits(rcpt)
	return rep.settle(rcpt, false)
}

// flushLimit is how long the fast flush service, which mail can do without, may
// take.
const flushLimit = 5 * time.Second

// waits tells the fast flush service that the message waits for a destination
// that may ask for its mail (ETRN).
func (rep *Report) waits(rcpt *delivery.Recipient) {
	_, domain := address.Split(rcpt.Address)
	if domain == "" || rep.kit.fastFlush.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	match, err := rep.kit.fastFlush.MatchDomain(ctx, domain)
	if err == nil && match {
		if _, err = os.Stat(rep.kit.logs.flush.Path()); err != nil {
			return // the service is not used here
		}
		err = flush.Ask(ctx, rep.kit.logs.flush, flush.Request{Kind: flush.Add, Site: domain, QueueID: string(rep.req.QueueID)})
	}
	if err != nil && !errors.Is(err, flush.ErrDenied) {
		rep.req.Log.Warningf("%s: %s service failure: %v", rep.req.QueueID, rep.kit.env.Common.FlushServiceName, err)
	}
}

// verified ends a recipient of a request that delivers nothing.
func (rep *Report) verified(rcpt *delivery.Recipient, relay string, res dsn.Result, action string) bool {
	res.Action = action
	var err error
	if rep.req.Flags&delivery.FlagMTAVerify != 0 {
		err = rep.probed(rcpt, res)
	} else {
		err = rep.traced(rcpt, relay, res)
	}
	if err != nil {
		rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
		return false
	}
	rep.log(rcpt, relay, res, action)
	return true
}

// probed tells the verify service about an address. Postfix: under the address
// that was asked about, before virtual aliases and the like.
func (rep *Report) probed(rcpt *delivery.Recipient, res dsn.Result) error {
	status := map[byte]int{'2': verify.OK, '4': verify.Defer, '5': verify.Bounce}[res.Status.Class()]
	about := rcpt.OrigAddr
	if about == "" {
		about = rcpt.Address
	}
	ctx, cancel := rep.context()
	defer cancel()
	return verify.Send(ctx, rep.kit.logs.verify, verify.Update{Address: about, Status: status, Reason: res.Reason})
}

// record appends to the trace log what the sender of a sendmail -v message sees.
func (rep *Report) record(rcpt *delivery.Recipient, relay string, res dsn.Result) error {
	if rep.req.Flags&delivery.FlagRecord == 0 {
		return nil
	}
	return rep.traced(rcpt, relay, res)
}

// traced appends to the trace log, with who was asked.
func (rep *Report) traced(rcpt *delivery.Recipient, relay string, res dsn.Result) error {
	if relay != "" && relay != "none" {
		res.Reason = "delivery via " + relay + ": " + res.Reason
	}
	return rep.append(rep.kit.logs.trace, rcpt, res)
}

func (rep *Report) append(c *bounce.Client, rcpt *delivery.Recipient, res dsn.Result) error {
	ctx, cancel := rep.context()
	defer cancel()
	return c.Append(ctx, rep.req.QueueID, 0, wire(rcpt), res)
}

// context bounds a record, which is written even when the service is to stop.
func (rep *Report) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), rep.kit.env.Common.IPCTimeout)
}

func wire(rcpt *delivery.Recipient) bounce.Recipient {
	return bounce.Recipient{
		Address: rcpt.Address, OrigAddr: rcpt.OrigAddr, Offset: rcpt.Offset,
		DSNOrigRcpt: rcpt.DSNOrigRcpt, Notify: rcpt.Notify,
	}
}

func (rep *Report) log(rcpt *delivery.Recipient, relay string, res dsn.Result, status string) {
	c := rep.kit.env.Common
	times := rep.req.Times
	times.ConnSetup = rep.conn.Setup
	times.DeliveryDone = time.Now()
	ev := Line(string(rep.req.QueueID), rcpt, relay, times, res, status)
	ev.ConnUse, ev.TLS, ev.Digits = rep.conn.Use, rep.conn.TLS, c.DelayLoggingResolutionLimit
	if c.InfoLogAddressFormat != "internal" {
		ev.Recipient, ev.OrigTo = address.Quote822(ev.Recipient), address.Quote822(ev.OrigTo)
	}
	rep.req.Log.Event(ev)
}

// Line makes the log event of one recipient. Addresses are in internal form.
func Line(id string, rcpt *delivery.Recipient, relay string, t delivery.Times, res dsn.Result, status string) *event.Delivery {
	if relay == "" {
		relay = "none"
	}
	delay, delays := delays(t)
	return &event.Delivery{
		QueueID: id, Recipient: rcpt.Address, OrigTo: origTo(rcpt), Relay: relay,
		Delay: delay, Delays: delays,
		DSN: string(res.Status), Status: status, Reason: res.Reason,
	}
}

// delays splits the time since arrival: before the queue manager, in it,
// setting up the connection, delivering. What did not happen is 0.
func delays(t delivery.Times) (event.Seconds, [4]event.Seconds) {
	span := func(from, to time.Time) event.Seconds {
		return event.Seconds(max(0, to.Sub(from)))
	}
	var d [4]event.Seconds
	switch {
	case t.ActiveArrival.IsZero():
		d[0] = span(t.Arrival, t.DeliveryDone)
	case t.AgentHandoff.IsZero():
		d[0] = span(t.Arrival, t.ActiveArrival)
		d[1] = span(t.ActiveArrival, t.DeliveryDone)
	case t.ConnSetup.IsZero():
		d[0] = span(t.Arrival, t.ActiveArrival)
		d[1] = span(t.ActiveArrival, t.AgentHandoff)
		d[3] = span(t.AgentHandoff, t.DeliveryDone)
	default:
		d[0] = span(t.Arrival, t.ActiveArrival)
		d[1] = span(t.ActiveArrival, t.AgentHandoff)
		d[2] = span(t.AgentHandoff, t.ConnSetup)
		d[3] = span(t.ConnSetup, t.DeliveryDone)
	}
	return span(t.Arrival, t.DeliveryDone), d
}
