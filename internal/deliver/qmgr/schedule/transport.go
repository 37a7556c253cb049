package schedule

import (
	"container/list"
	"time"

	"postern/internal/mail/dsn"
)

// A Transport is a delivery service with what waits for it.
type Transport struct {
	Data any // the owner's

	name   string
	s      *Scheduler
	limits Limits
	dests  map[string]*Destination

	dead    bool // it cannot be reached; left alone for a while
	reason  dsn.Result
	revival *timer
	paused  bool // transport_rate_delay

	jobs    *list.List // of *job, in the order of delivery
	current *list.Element
	epoch   int // counts when blocked jobs are to be looked at again
	best    candidate

	ready      int // deliveries that destinations would accept now
	busy       int
	recipients int // in memory
}

// Name returns the name of the service.
func (t *Transport) Name() string { return t.name }

// Limits returns the scheduling parameters.
func (t *Transport) Limits() Limits { return t.limits }

// Ready returns the number of deliveries that could start now.
func (t *Transport) Ready() int {
	if t.dead || t.paused {
		return 0
	}
	return t.ready
}

// Busy returns the number of deliveries that go on.
func (t *Transport) Busy() int { return t.busy }

// Destination returns the destination called name if something waits for it or
// it is dead.
func (t *Transport) Destination(name string) *Destination { return t.dests[name] }

// KillTransport leaves a transport that cannot be used alone for a while: all
// that waits for it is deferred.
func (s *Scheduler) KillTransport(t *Transport, why dsn.Result) {
	if t.dead {
		return
	}
	if t.name == s.cfg.Retry { // there is nobody to turn to: wait
		t.dead, t.reason = true, why
		t.revival = s.after(s.cfg.RetryTime, func() { s.reviveTransport(t) })
		return
	}
	t.dead, t.reason = true, why
	t.revival = s.after(s.cfg.RetryTime, func() { s.reviveTransport(t) })
	for _, d := range t.dests {
		s.deferAll(d, why)
		d.release()
	}
}

func (s *Scheduler) reviveTransport(t *Transport) {
	if !t.dead {
		return
	}
	s.cancel(t.revival)
	t.dead, t.reason, t.revival = false, dsn.Result{}, nil
	s.resumed(t)
}

// A candidate is the job that would overtake the current one, remembered.
type candidate struct {
	current *job
	at      time.Time
	job     *job // nil: there is none
}

// unblock makes all jobs be looked at again.
func (t *Transport) unblock() {
	t.epoch++
	t.current = t.jobs.Front()
	t.best.current = nil
}
