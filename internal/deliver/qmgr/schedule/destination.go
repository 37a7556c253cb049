package schedule

import (
	"container/list"

	"postern/internal/mail/dsn"
)

// The states of a destination.
const (
	ready     = iota
	suspended // between two deliveries, destination_rate_delay
	dead      // it failed too often; left alone for a while
)

// A Destination is where mail of one transport goes: a next hop, or a single
// recipient where the transport delivers to one at a time.
//
// window is the number of deliveries that may go on at once. Every delivery
// adds to, or takes from, a fraction of a step; a whole step changes window by
// one. Failures are weighed by the window: when as many as the window was wide
// (a cohort) fail without a success between them, the destination is dead.
type Destination struct {
	transport *Transport
	name      string
	nexthop   string
	state     int
	reason    dsn.Result // why it is dead
	revival   *timer

	window  int
	gain    float64 // fraction of a step up
	loss    float64 // fraction of a step down, at most 0 when a step is due
	cohorts float64 // failed, in windows, since the last success

	todo     list.List // entries that wait, oldest first
	busy     int
	capacity int // deliveries that could start now, as counted in the transport
	blocking int // epoch of the transport in which it kept some job waiting
}

// Name returns what identifies the destination within its transport.
func (d *Destination) Name() string { return d.name }

// Nexthop returns where mail goes.
func (d *Destination) Nexthop() string { return d.nexthop }

// Transport returns the transport.
func (d *Destination) Transport() *Transport { return d.transport }

// Waiting returns the number of entries that wait or are being delivered.
func (d *Destination) Waiting() int { return d.todo.Len() + d.busy }

// Window returns the concurrency now permitted; 0 when the destination is dead
// or suspended.
func (d *Destination) Window() int {
	if d.state != ready {
		return 0
	}
	return d.window
}

func (t *Transport) destination(name, nexthop string) *Destination {
	d := t.dests[name]
	if d == nil {
		d = &Destination{transport: t, name: name, nexthop: nexthop, window: t.initial()}
		t.dests[name] = d
	}
	return d
}

// initial is the concurrency of a destination that nothing is known of.
func (t *Transport) initial() int {
	if t.limits.DestinationRateDelay > 0 {
		return 1
	}
	n := max(t.limits.InitialConcurrency, 1)
	if t.limits.Concurrency > 0 {
		n = min(n, t.limits.Concurrency)
	}
	return n
}

// touch counts anew how many deliveries could start, after any change of
// window, busy or todo. A destination that has room again makes the transport
// reconsider the jobs that it kept waiting.
func (d *Destination) touch() {
	n := max(0, min(d.Window()-d.busy, d.todo.Len()))
	t := d.transport
	t.ready += n - d.capacity
	d.capacity = n
	if d.blocking != t.epoch {
		return
	}
	if n > 0 {
		t.unblock()
	}
	if d.Window() > d.busy || d.state == dead {
		d.blocking = 0
	}
}

// release forgets a destination that nothing waits for. What is dead is
// remembered until its time is over.
func (d *Destination) release() {
	if d.state == ready && d.busy == 0 && d.todo.Len() == 0 && d.transport.dests[d.name] == d {
		delete(d.transport.dests, d.name)
	}
}

// success tells that the destination works.
func (s *Scheduler) success(d *Destination) {
	l := &d.transport.limits
	d.cohorts = 0
	if d.state == dead {
		s.cancel(d.revival)
		d.state, d.reason, d.revival = ready, dsn.Result{}, nil
		d.gain, d.loss = 0, 0
		d.window = d.busy
		if d.busy == 0 {
			d.window = d.transport.initial()
		}
		return
	}
	if d.state != ready || l.DestinationRateDelay > 0 {
		return
	}
	// The window stays near what is really used, or failures would have to
	// eat up a long reserve before they show.
	if (l.Concurrency > 0 && d.window >= l.Concurrency) || d.window >= d.busy+l.InitialConcurrency {
		return
	}
	d.gain += l.Positive.at(d.window)
	for d.gain > 1-slop {
		d.window++
		d.gain--
		d.loss = 0
	}
	if l.Concurrency > 0 {
		d.window = min(d.window, l.Concurrency)
	}
	s.debug(d, "success")
}

// debug tells how a destination does after a delivery.
func (s *Scheduler) debug(d *Destination, what string) {
	if s.cfg.Debug != nil {
		s.cfg.Debug("%s:%s: %s, concurrency %d, busy %d, waiting %d, gain %.2f, loss %.2f, failed cohorts %.2f",
			d.transport.name, d.name, what, d.window, d.busy, d.todo.Len(), d.gain, d.loss, d.cohorts)
	}
}

// slop makes up for rounding: five times 1/5 is a whole step.
const slop = 0.01

// failure tells that the destination as a whole did not work.
func (s *Scheduler) failure(d *Destination, why dsn.Result) {
	if d.state != ready || d.transport.name == s.cfg.Retry {
		return // what waits to be deferred has nowhere else to go
	}
	if why.Status.Class() == 0 {
		why.Status = "4.0.0"
	}
	if why.Reason == "" {
		why.Reason = "unknown error"
	}
	why.Reason = "delivery temporarily suspended: " + why.Reason
	l := &d.transport.limits
	d.cohorts += 1 / float64(d.window)
	if l.FailedCohorts > 0 && d.cohorts > float64(l.FailedCohorts)-slop {
		s.kill(d, why)
		s.debug(d, "dead")
		return
	}
	d.loss -= l.Negative.at(d.window)
	for d.loss < -slop {
		d.window--
		d.gain = 0
		d.loss++
	}
	d.window = max(d.window, 1)
	s.debug(d, "failure")
}

// kill leaves a destination alone for a while: what waits for it is deferred.
func (s *Scheduler) kill(d *Destination, why dsn.Result) {
	d.state, d.reason = dead, why
	d.revival = s.after(s.cfg.MinBackoff, func() {
		s.success(d)
		d.touch()
		d.release()
	})
	s.deferAll(d, why)
}

// deferAll moves what waits for d to the retry transport.
func (s *Scheduler) deferAll(d *Destination, why dsn.Result) {
	if d.transport.name == s.cfg.Retry {
		return
	}
	for d.todo.Len() > 0 {
		e := d.todo.Front().Value.(*Entry)
		m := e.Message
		d.todo.Remove(e.waiting)
		e.peer.remove(e)
		m.entries++ // keeps m while it has no other entry
		s.forget(e)
		s.place(m, s.retry(why), e.Recipients)
		m.entries--
	}
	d.touch()
	s.resumed(s.Transport(s.cfg.Retry))
}
