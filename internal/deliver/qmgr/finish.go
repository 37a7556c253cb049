package qmgr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// A fate is what the loop knows of a message when every recipient was tried.
type fate struct {
	deferred bool // somebody is left
	look     bool // there may be a bounce log
}

// finished ends a message whose recipients have all been tried.
func (m *manager) finished(msg *message) {
	if msg.probe {
		m.probes.Add(-1)
	}
	end := fate{deferred: msg.deferred, look: msg.bounced || !msg.fresh}
	m.workers.do(func() {
		m.finishes <- struct{}{}
		reports := m.reports(msg, end)
		<-m.finishes
		// Sending a notice may take long: others go on meanwhile.
		for _, report := range reports {
			if !report() {
				end.deferred = true
			}
		}
		if end.deferred {
			end.deferred = m.expire(msg)
		}
		for !m.leave(msg, end) {
			select {
			case <-time.After(m.patience):
			case <-m.stopped: // the next queue manager begins with it
				return
			}
		}
		m.post(func() { delete(m.active, msg.id) })
	})
}

// reports are the notices that a message needs before it leaves the active
// queue, whether some recipients are left or not.
func (m *manager) reports(msg *message, end fate) []func() bool {
	var list []func() bool
	if end.look && m.exists(queue.Bounce, msg.id) {
		list = append(list, func() bool { return m.flush(m.logs.bounce, msg) })
	}
	if m.traced(msg) && m.exists(queue.Trace, msg.id) {
		list = append(list, func() bool {
			ctx, cancel := m.reporting()
			defer cancel()
			return m.reported(msg, "trace", m.logs.trace.Trace(ctx, m.about(msg), msg.env.TraceFlags&delivery.TraceFlags))
		})
	}
	return list
}

// exists says whether there is a log. An earlier queue manager, or an attempt
// to send a notice that failed, may have left one. One that cannot be looked at is
// there: who finds out that it cannot be read, either, has the message wait.
func (m *manager) exists(q queue.Name, id queue.ID) bool {
	info, err := m.store.Stat(q, id)
	if err != nil {
		if missing(err) {
			return false
		}
		m.env.Log.Warningf("%v", err)
		return true
	}
	return info.Size > 0
}

// traced says whether somebody wants to know of deliveries. The hints of the
// size record cover recipients that are done already.
func (m *manager) traced(msg *message) bool {
	const report = delivery.FlagUserVerify | delivery.FlagRecord | delivery.FlagRecDlySent
	return msg.env.TraceFlags&report != 0 || msg.env.Sizes.Flags>>1&dsn.NotifySuccess != 0
}

func (m *manager) about(msg *message) bounce.Message {
	env := msg.env
	about := bounce.Message{
		QueueName: queue.Active, QueueID: msg.id, Encoding: env.Encoding, SendOpts: env.Sizes.SendOpts,
		Sender: env.Sender, EnvelopeID: env.EnvelopeID, RetFlags: env.RetFlags,
	}
	if !m.cfg.DisableVerpBounces && env.Sender != "" {
		about.Verp = env.Verp
	}
	return about
}

func (m *manager) reporting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), m.env.Common.IPCTimeout)
}

// flush has a log reported to the sender, and removed.
func (m *manager) flush(c *bounce.Client, msg *message) bool {
	ctx, cancel := m.reporting()
	defer cancel()
	about := m.about(msg)
	what := "bounce"
	if about.Verp != "" {
		what = "verp"
	}
	return m.reported(msg, what, c.Flush(ctx, about, 0))
}

// reported says in the log that a notice could not be sent, and that the message
// waits until it can.
func (m *manager) reported(msg *message, what string, err error) bool {
	if err != nil {
		m.env.Log.Warningf("%s: %v", msg.id, err)
		m.env.Log.Infof("%s: status=deferred (%s failed)", msg.id, what)
	}
	return err == nil
}

// expire returns a message that is too old, or warns its sender. It says
// whether the message stays.
func (m *manager) expire(msg *message) bool {
	env := msg.env
	age := m.now().Sub(env.CreateTime)
	lifetime := m.cfg.MaxLifetime
	if env.Sender == "" {
		lifetime = m.cfg.BounceLifetime
	}
	switch {
	case msg.expire || age >= lifetime:
		m.env.Log.Event(&event.QueueExpired{QueueID: string(msg.id), Sender: m.logged(env.Sender), Forced: msg.expire && age < lifetime})
		return !m.flush(m.logs.deferred, msg)
	case !env.WarnTime.IsZero() && !m.now().Before(env.WarnTime.Add(-time.Second)):
		about := m.about(msg)
		about.Verp = ""
		ctx, cancel := m.reporting()
		defer cancel()
		if m.reported(msg, "delay warning", m.logs.deferred.Warn(ctx, about)) {
			m.warned(msg)
		}
	}
	return true
}

// warned notes in the queue file that the sender has been told of the delay:
// the time of the warning record becomes 0, in place.
func (m *manager) warned(msg *message) {
	f, err := m.store.Open(queue.Active, msg.id)
	if err != nil {
		m.env.Log.Warningf("%v", err)
		return
	}
	defer f.Close()
	none := record.Append(nil, record.Warn, fmt.Sprintf("%15d", 0))
	old := make([]byte, len(none))
	if _, err = f.ReadAt(old, msg.env.WarnOffset); err == nil {
		if old[0] != none[0] || old[1] != none[1] {
			err = errors.New("warning record is not of the usual length")
		} else {
			_, err = f.WriteAt(none, msg.env.WarnOffset)
		}
	}
	if err != nil {
		m.env.Log.Warningf("%s: %v", msg.id, err)
	}
}

// leave takes the message out of the active queue. When the file system does
// not let it, the message stays, to be tried again later.
func (m *manager) leave(msg *message, end fate) bool {
	m.finishes <- struct{}{}
	defer func() { <-m.finishes }()
	if !end.deferred {
		err := m.store.Recycle(queue.Active, msg.id)
		if err == nil {
			m.env.Log.Event(&event.QueueRemoved{QueueID: string(msg.id)})
			return true
		}
		m.env.Log.Warningf("%s: %v", msg.id, err)
		return missing(err)
	}
	err := m.store.SetNextTry(queue.Active, msg.id, m.now().Add(m.backoff(msg)))
	if err == nil {
		err = m.store.Move(msg.id, queue.Active, queue.Deferred)
	}
	if err == nil {
		return true
	}
	m.env.Log.Warningf("%s: %v", msg.id, err)
	return missing(err) && !m.exists(queue.Active, msg.id)
}

// backoff is how long a message waits: as long as it has waited so far, within
// the limits. The times of many messages spread out by themselves.
func (m *manager) backoff(msg *message) time.Duration {
	age := m.now().Sub(msg.env.CreateTime)
	return min(max(age, m.cfg.MinBackoff), m.cfg.MaxBackoff)
}
