// Package schedule decides which delivery comes next.
//
// The recipients of a message are grouped into entries: a batch for one
// transport and one destination. The entries of a message that share a
// transport are a job, those of a job that share a destination a peer.
// Deliveries of a transport are taken from the jobs in the order in which the
// messages came, as far as the destinations' concurrency permits; a small job
// may overtake a big one when the big one has earned it (see job.go). The
// concurrency of a destination grows with success and shrinks with failure
// (see destination.go). Postfix: SCHEDULER_README.
//
// Nothing here blocks, locks, or looks at a clock of its own: one goroutine
// owns a Scheduler and tells it the time.
package schedule

import (
	"container/list"
	"time"

	"postern/internal/mail/dsn"
)

// A Config says how a Scheduler works.
type Config struct {
	Limits       func(transport string) Limits    // of a transport, asked once
	MinBackoff   time.Duration                    // minimal_backoff_time: how long a dead destination is left alone
	RetryTime    time.Duration                    // transport_retry_time: the same for a dead transport
	Retry        string                           // the transport that defers with its next hop as the reason
	Refill       func(*Message)                   // more recipients of the message may be read
	Finished     func(*Message)                   // nothing is left to do for the message
	Work         func(*Transport)                 // the transport may have work again
	RecipientMax int                              // qmgr_message_recipient_limit
	RecipientMin int                              // qmgr_message_recipient_minimum
	Debug        func(format string, args ...any) // tells of concurrency; may be nil
}

// A Scheduler holds all that waits for delivery.
type Scheduler struct {
	cfg        Config
	now        time.Time
	timers     timers
	transports map[string]*Transport
	recipients int // in memory, of all messages
}

// New returns an empty scheduler.
func New(cfg Config) *Scheduler {
	return &Scheduler{cfg: cfg, transports: make(map[string]*Transport)}
}

// A Message is mail with recipients to schedule.
type Message struct {
	Data   any       // the owner's
	Queued time.Time // when it entered the active queue
	Unread int       // recipients that have not been read yet

	entries    int // not finished
	recipients int // in memory, in those entries
	jobs       []*job
	refilling  bool
	refilled   time.Time
}

// Recipients returns the number of recipients in memory.
func (m *Message) Recipients() int { return m.recipients }

// A Target is where some recipients of a message go.
type Target struct {
	Transport   string
	Nexthop     string
	Destination string // what is counted for concurrency; usually the next hop
	Recipients  []any  // the owner's
}

// Recipients returns the number of recipients in memory.
func (s *Scheduler) Recipients() int { return s.recipients }

// Room returns how many more recipients of m may be read: what the limits of
// the whole queue manager and of the transports in use leave, and in any case
// as many as a message is entitled to.
func (s *Scheduler) Room(m *Message) int {
	room := s.cfg.RecipientMax - s.recipients
	for _, j := range m.jobs {
		free := j.transport.limits.Recipients - j.transport.recipients
		if j.level > 0 {
			free += j.transport.limits.ExtraRecipients
		}
		room = min(room, free)
	}
	return max(room, s.cfg.RecipientMin-m.recipients, 0)
}

// Add schedules recipients of m, which may be known already. unread is how many
// of its recipients have not been read. It returns the transports that got
// work. When m has nothing to do it is finished.
func (s *Scheduler) Add(m *Message, targets []Target, unread int) []*Transport {
	m.Unread = unread
	m.refilling = false
	m.refilled = s.now
	var touched []*Transport
	for _, target := range targets {
		d := s.destination(target)
		s.place(m, d, target.Recipients)
		if len(touched) == 0 || touched[len(touched)-1] != d.transport {
			touched = append(touched, d.transport)
		}
	}
	s.settle(m)
	return touched
}

// destination finds where a target goes; what is dead goes to the retry
// transport with the reason of the death as its next hop.
func (s *Scheduler) destination(target Target) *Destination {
	t := s.Transport(target.Transport)
	if t.dead && t.name != s.cfg.Retry {
		return s.retry(t.reason)
	}
	name := target.Destination
	if name == "" {
		name = target.Nexthop
	}
	d := t.destination(name, target.Nexthop)
	if d.state == dead && t.name != s.cfg.Retry {
		return s.retry(d.reason)
	}
	return d
}

func (s *Scheduler) retry(reason dsn.Result) *Destination {
	text := string(reason.Status) + " " + reason.Reason
	return s.Transport(s.cfg.Retry).destination(text, text)
}

// place puts recipients of m into entries for d, as many in one as the
// transport delivers at once.
func (s *Scheduler) place(m *Message, d *Destination, rcpts []any) {
	t := d.transport
	j := t.job(m)
	p := j.peer(d)
	for len(rcpts) > 0 {
		n := len(rcpts)
		if t.limits.DestinationRecipients > 0 {
			n = min(n, t.limits.DestinationRecipients)
		}
		s.count(m, t, n)
		p.push(&Entry{Message: m, Dest: d, Recipients: rcpts[:n:n], peer: p})
		m.entries++
		rcpts = rcpts[n:]
	}
	t.link(j)
	d.touch()
}

func (s *Scheduler) count(m *Message, t *Transport, n int) {
	s.recipients += n
	m.recipients += n
	t.recipients += n
}

// Next takes the entry that the transport delivers next; nil when there is
// none that may be delivered now.
func (s *Scheduler) Next(t *Transport) *Entry {
	if t.dead || t.paused {
		return nil
	}
	e := t.choose(s.now)
	if e == nil {
		return nil
	}
	d := e.Dest
	d.todo.Remove(e.waiting)
	e.waiting = nil
	d.busy++
	t.busy++
	if t.limits.TransportRateDelay > 0 {
		t.paused = true
	}
	d.touch()
	return e
}

// An Outcome is how the delivery of an entry ended.
type Outcome struct {
	Crashed bool       // the agent did not answer; Reason says more
	Hop     dsn.Result // with a status: the destination as a whole does not work
}

// Done ends the delivery of an entry that Next gave.
func (s *Scheduler) Done(e *Entry, o Outcome) {
	d := e.Dest
	t := d.transport
	switch {
	case o.Crashed:
		s.KillTransport(t, o.Hop)
	default:
		s.reviveTransport(t)
		if o.Hop.Status != "" {
			s.failure(d, o.Hop)
		} else {
			s.success(d)
		}
	}
	d.busy--
	t.busy--
	s.pause(t, d)
	s.forget(e)
	d.touch()
	d.release()
	s.settle(e.Message)
}

// pause begins the rate delays after a delivery.
func (s *Scheduler) pause(t *Transport, d *Destination) {
	if t.limits.TransportRateDelay > 0 {
		s.after(t.limits.TransportRateDelay, func() {
			t.paused = false
			s.resumed(t)
		})
	}
	if t.limits.DestinationRateDelay > 0 && d.state == ready {
		d.state = suspended
		s.after(t.limits.DestinationRateDelay, func() {
			if d.state == suspended {
				d.state = ready
				d.window = 1
			}
			d.touch()
			d.release()
			s.resumed(t)
		})
	}
}

func (s *Scheduler) resumed(t *Transport) {
	if t.ready > 0 && s.cfg.Work != nil {
		s.cfg.Work(t)
	}
}

// forget takes an entry out of its message and the counts.
func (s *Scheduler) forget(e *Entry) {
	m := e.Message
	s.count(m, e.peer.job.transport, -len(e.Recipients))
	m.entries--
	e.peer.outstanding--
	if e.peer.outstanding == 0 {
		e.peer.job.drop(e.peer)
	}
}

// settle asks for more recipients of m when there is room, and ends it when
// nothing is left.
func (s *Scheduler) settle(m *Message) {
	if m.Unread <= 0 {
		if m.entries == 0 && !m.refilling {
			s.cfg.Finished(m)
		}
		return
	}
	if m.refilling {
		return
	}
	if m.entries == 0 || s.worthReading(m) {
		m.refilling = true
		s.cfg.Refill(m)
	}
}

// worthReading says whether enough recipients of m can be read now that opening
// the queue file pays.
func (s *Scheduler) worthReading(m *Message) bool {
	room := s.Room(m)
	if room <= 0 {
		return false
	}
	for _, j := range m.jobs {
		l := j.transport.limits
		if room >= min(l.RefillLimit, m.Unread) || s.now.Sub(m.refilled) >= l.RefillDelay {
			return true
		}
	}
	return false
}

// Transport returns the transport called name.
func (s *Scheduler) Transport(name string) *Transport {
	t := s.transports[name]
	if t == nil {
		t = &Transport{
			name:   name,
			s:      s,
			limits: s.cfg.Limits(name),
			dests:  make(map[string]*Destination),
			jobs:   list.New(),
			epoch:  1,
		}
		s.transports[name] = t
	}
	return t
}

// Transports returns all transports that have been used.
func (s *Scheduler) Transports() []*Transport {
	all := make([]*Transport, 0, len(s.transports))
	for _, t := range s.transports {
		all = append(all, t)
	}
	return all
}

// ReviveAll forgets which transports and destinations are dead
// (Postfix: the trigger F).
func (s *Scheduler) ReviveAll() {
	for _, t := range s.transports {
		s.reviveTransport(t)
		for _, d := range t.dests {
			if d.state == dead {
				s.success(d)
				d.touch()
				d.release()
			}
		}
	}
}

// Revive forgets that one destination and its transport are dead, for mail that
// is wanted now.
func (s *Scheduler) Revive(target Target) {
	t := s.Transport(target.Transport)
	s.reviveTransport(t)
	name := target.Destination
	if name == "" {
		name = target.Nexthop
	}
	if d := t.dests[name]; d != nil && d.state == dead {
		s.success(d)
		d.touch()
		d.release()
	}
}
