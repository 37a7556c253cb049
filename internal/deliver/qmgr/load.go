package qmgr

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"postern/internal/deliver/qmgr/schedule"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/envelope"
	"postern/internal/mail/event"
	"postern/internal/mail/queue"
)

// A message is one in the active queue.
type message struct {
	id       queue.ID
	env      *envelope.Envelope
	sched    *schedule.Message
	fresh    bool // nobody has worked on it before, so it has no logs yet
	flush    bool // mail for defer_transports is wanted too
	expire   bool // the administrator wants it returned
	revive   bool // its destinations are to be tried whatever is known of them
	probe    bool // an address probe
	deferred bool // some recipient must be tried again
	bounced  bool // something was written to the bounce log
}

// lockedRetry is when a message is looked at again that somebody else has
// locked: an agent of an earlier queue manager, or postsuper.
const lockedRetry = time.Minute

// load takes a message into the active queue.
func (m *manager) load(ctx context.Context, c candidate) {
	if m.active[c.id] != nil {
		return
	}
	msg := &message{id: c.id, flush: c.flush}
	m.active[c.id] = msg
	m.loads++
	room := max(m.cfg.RecipientMinimum, m.cfg.RecipientLimit-m.sched.Recipients())
	m.workers.do(func() {
		targets, err := m.open(ctx, msg, c, room)
		m.post(func() {
			m.loads--
			m.loaded(msg, targets, err)
		})
	})
}

// errSkip is why a message does not enter the active queue, when that is not
// worth a line in the log.
var errSkip = errors.New("not now")

// open claims the message's file, reads its envelope, moves it to the active
// queue and finds out where its recipients go. The lock is held meanwhile, so
// that nobody else works on it.
func (m *manager) open(ctx context.Context, msg *message, c candidate, room int) ([]schedule.Target, error) {
	f, err := m.store.Open(c.queue, c.id)
	if err != nil {
		if missing(err) {
			return nil, errSkip
		}
		return nil, err
	}
	defer f.Close()
	info := f.Info()
	if !info.Ready() || !c.all && !ripe(info, m.now()) {
		return nil, errSkip
	}
	if err := f.Lock(); err != nil {
		if errors.Is(err, queue.ErrBusy) {
			m.env.Log.Infof("%s: skipped, still being delivered", c.id)
			m.store.SetNextTry(c.queue, c.id, m.now().Add(lockedRetry))
			return nil, errSkip
		}
		return nil, err
	}
	msg.env, err = envelope.Read(f, room)
	if err == nil {
		err = sane(msg.env)
	}
	if err != nil {
		return nil, m.unreadable(c, f, err)
	}
	if err := m.store.Move(c.id, c.queue, queue.Active); err != nil {
		return nil, err
	}
	msg.fresh = c.fresh && m.untouched(msg.env)
	msg.expire, msg.revive = info.ForcedExpiry(), info.Unthrottled()
	// Postfix: what the administrator wants returned is returned with the reason
	// of its delay, if there is one, and not tried again.
	logged := msg.expire && m.exists(queue.Defer, c.id)
	if !msg.fresh && !logged {
		// The log tells why recipients were deferred that are tried again now.
		if err := m.store.Remove(queue.Defer, c.id); err != nil && !missing(err) {
			m.env.Log.Warningf("%v", err)
		}
	}
	if msg.env.WarnOffset > 0 && msg.env.WarnTime.IsZero() && m.cfg.ConfirmDelayCleared {
		msg.env.TraceFlags |= delivery.FlagRecDlySent // the sender was told of a delay
	}
	msg.probe = msg.env.TraceFlags&delivery.FlagMTAVerify != 0
	now := m.now()
	msg.sched = &schedule.Message{Data: msg, Queued: now}
	m.env.Log.Event(&event.QueueActive{
		QueueID: string(c.id), Sender: m.logged(msg.env.Sender),
		Size: msg.env.Sizes.Content, Recipients: msg.env.Sizes.Recipients,
	})
	if logged {
		msg.deferred, msg.env.Next = true, 0
		return nil, nil
	}
	return m.routes(ctx, msg), nil
}

// untouched says whether nobody can have worked on a message that cleanup has
// announced. A message may be announced to one queue manager after another, and
// the first may have left logs that tell what the sender must know.
func (m *manager) untouched(e *envelope.Envelope) bool {
	return e.Arrival.After(m.started) && (e.Next != 0 || len(e.Recipients) == e.Sizes.Recipients)
}

// sane checks what the envelope must have.
func sane(e *envelope.Envelope) error {
	switch {
	case e.Sizes.ContentOffset == 0:
		return fmt.Errorf("%w: no message size record", envelope.ErrCorrupt)
	case e.Arrival.IsZero():
		return fmt.Errorf("%w: no arrival time record", envelope.ErrCorrupt)
	case len(e.Verp) != 0 && len(e.Verp) != 2:
		return fmt.Errorf("%w: bad VERP delimiters %q", envelope.ErrCorrupt, e.Verp)
	}
	return nil
}

// unreadable deals with a file whose envelope cannot be read. Where the system
// failed the file stays; else it goes to the corrupt queue.
func (m *manager) unreadable(c candidate, f *queue.File, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) || !errors.Is(err, envelope.ErrCorrupt) {
		return fmt.Errorf("%s: %w", c.id, err)
	}
	m.env.Log.Warningf("%s: %v", c.id, err)
	m.env.Log.Warningf("saving corrupt file %q from queue %q to queue %q", c.id, c.queue, queue.Corrupt)
	if err := f.MarkCorrupt(); err != nil {
		m.env.Log.Warningf("%v", err)
	}
	if err := m.store.Move(c.id, c.queue, queue.Corrupt); err != nil {
		return err
	}
	return errSkip
}

// loaded takes over what open has found.
func (m *manager) loaded(msg *message, targets []schedule.Target, err error) {
	if err != nil {
		delete(m.active, msg.id)
		if !errors.Is(err, errSkip) {
			m.env.Log.Warningf("%v", err)
			m.later(msg.id)
		}
		return
	}
	if msg.probe {
		m.probes.Add(1)
	}
	m.schedule(msg, targets)
}

// later makes a message that could not be opened be looked at again.
func (m *manager) later(id queue.ID) {
	at := m.now().Add(m.cfg.MinBackoff)
	for _, q := range [...]queue.Name{queue.Incoming, queue.Deferred} {
		if m.store.SetNextTry(q, id, at) == nil {
			return
		}
	}
}

func (m *manager) schedule(msg *message, targets []schedule.Target) {
	unread := 0
	if msg.env.Next != 0 {
		unread = max(1, msg.env.Sizes.Recipients-msg.sched.Recipients())
	}
	if msg.revive {
		for _, t := range targets {
			m.sched.Revive(t)
		}
	}
	for _, t := range m.sched.Add(msg.sched, targets, unread) {
		m.pump(t)
		m.warnClogged(t, targets)
	}
}

// refill reads more recipients of a message that has more than fit into memory.
func (m *manager) refill(sm *schedule.Message) {
	msg := sm.Data.(*message)
	room := max(m.sched.Room(sm), 1)
	go func() {
		targets, err := m.more(msg, room)
		m.post(func() {
			if err == nil {
				m.schedule(msg, targets)
				return
			}
			m.env.Log.Warningf("%s: %v", msg.id, err)
			msg.deferred = true
			msg.env.Next = 0
			m.schedule(msg, nil)
		})
	}()
}

func (m *manager) more(msg *message, room int) ([]schedule.Target, error) {
	f, err := m.store.Open(queue.Active, msg.id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := msg.env.More(f, room); err != nil {
		return nil, err
	}
	return m.routes(context.Background(), msg), nil
}

// logged is an address as the log shows it, info_log_address_format.
func (m *manager) logged(addr string) string {
	if m.env.Common.InfoLogAddressFormat == "internal" {
		return addr
	}
	return address.Quote822(addr)
}

// warnClogged warns when one destination takes most of a full active queue.
// Postfix: qmgr_clog_warn_time.
func (m *manager) warnClogged(t *schedule.Transport, targets []schedule.Target) {
	if m.cfg.ClogWarnTime == 0 || !m.cfg.HelpfulWarnings || len(m.active) < m.cfg.ActiveLimit/2 {
		return
	}
	for _, target := range targets {
		d := t.Destination(target.Destination)
		if d == nil || d.Waiting() <= len(m.active)/2 || m.now().Before(m.clogged[d.Name()]) {
			continue
		}
		if len(m.clogged) > 1000 {
			clear(m.clogged)
		}
		m.clogged[d.Name()] = m.now().Add(m.cfg.ClogWarnTime)
		m.env.Log.Warningf("mail for %s is using up %d of %d active queue entries", d.Nexthop(), d.Waiting(), len(m.active))
		m.env.Log.Warningf("this may slow down other mail deliveries; %s_destination_concurrency_limit is %d", t.Name(), t.Limits().Concurrency)
	}
}
