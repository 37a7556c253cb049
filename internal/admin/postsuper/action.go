package postsuper

import (
	"bufio"
	"errors"
	"io/fs"
	"time"

	"postern/internal/mail/queue"
)

// An action works on a message that is in a queue. It says what it has done in
// words for the log; no words mean that there was nothing to do.
type action struct {
	counters []counter
	from     func(q queue.Name) bool // queues in which messages are looked for
	do       func(p *postsuper, q queue.Name, id queue.ID, info queue.Info) ([]result, error)
}

type result struct {
	what counter
	text string
}

var actions = map[byte]action{
	'd': {[]counter{deleted}, anywhere, (*postsuper).remove},
	'e': {[]counter{expired}, notMaildrop, (*postsuper).expire},
	'f': {[]counter{expired, released}, notMaildrop, (*postsuper).expireAndRelease},
	'h': {[]counter{held}, func(q queue.Name) bool { return notMaildrop(q) && q != queue.Hold }, (*postsuper).hold},
	'H': {[]counter{released}, func(q queue.Name) bool { return q == queue.Hold }, (*postsuper).release},
	'r': {[]counter{requeued}, notMaildrop, (*postsuper).requeue},
}

func anywhere(queue.Name) bool { return true }

func notMaildrop(q queue.Name) bool { return q != queue.Maildrop }

// obey does what one option asks for.
func (p *postsuper) obey(o order) error {
	a := actions[o.option]
	for _, c := range a.counters {
		p.ordered[c] = true
	}
	switch o.id {
	case "ALL":
		if err := p.all(a); err != nil || o.option != 'd' {
			return err
		}
		return p.removeLogs()
	case "-":
		lines := bufio.NewScanner(p.In)
		for lines.Scan() {
			if err := p.one(a, lines.Text()); err != nil {
				return err
			}
		}
		return lines.Err()
	}
	return p.one(a, o.id)
}

// one works on a single message, wherever it is.
func (p *postsuper) one(a action, name string) error {
	id, err := queue.ParseID(name)
	if err != nil {
		p.Log.Warningf("invalid mail queue id: %.100s", name)
		return nil
	}
	for _, q := range p.queues {
		if !isMessageQueue(q) || !a.from(q) {
			continue
		}
		done, err := p.apply(a, q, id)
		if err != nil {
			return err
		}
		for _, r := range done {
			p.Log.Infof("%s: %s", id, r.text)
		}
		if len(done) > 0 {
			return nil
		}
	}
	return nil
}

// all works on every message of the chosen queues.
func (p *postsuper) all(a action) error {
	for _, q := range p.queues {
		if !isMessageQueue(q) || !a.from(q) {
			continue
		}
		for id, err := range p.store.Scan(q) {
			if err != nil {
				return err
			}
			if _, err := p.apply(a, q, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeLogs removes all logs in the chosen queues, once their messages are
// gone.
func (p *postsuper) removeLogs() error {
	for _, q := range p.queues {
		if isMessageQueue(q) {
			continue
		}
		for id, err := range p.store.Scan(q) {
			if err != nil {
				return err
			}
			if err := p.store.Remove(q, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// apply works on a message if it is in the queue and complete.
func (p *postsuper) apply(a action, q queue.Name, id queue.ID) ([]result, error) {
	info, err := p.store.Stat(q, id)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Ready() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	done, err := a.do(p, q, id, info)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // somebody else was faster
	}
	for _, r := range done {
		p.done[r.what]++
	}
	return done, err
}

func isMessageQueue(q queue.Name) bool {
	for _, m := range messageQueues {
		if m == q {
			return true
		}
	}
	return false
}

// remove removes the logs first: once the message is gone its id can be that
// of another one.
func (p *postsuper) remove(q queue.Name, id queue.ID, _ queue.Info) ([]result, error) {
	for _, log := range [...]queue.Name{queue.Bounce, queue.Defer, queue.Trace} {
		if err := p.store.Remove(log, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.Log.Warningf("%v", err)
		}
	}
	if err := p.store.Remove(q, id); err != nil {
		return nil, err
	}
	return []result{{deleted, "removed"}}, nil
}

func (p *postsuper) expire(q queue.Name, id queue.ID, info queue.Info) ([]result, error) {
	if info.ForcedExpiry() {
		return nil, nil
	}
	if err := p.store.SetMode(q, id, info.Mode.Perm()|queue.ForceExpire); err != nil {
		return nil, err
	}
	return []result{{expired, "expired"}}, nil
}

func (p *postsuper) expireAndRelease(q queue.Name, id queue.ID, info queue.Info) ([]result, error) {
	done, err := p.expire(q, id, info)
	if err != nil || q != queue.Hold {
		return done, err
	}
	more, err := p.release(q, id, info)
	return append(done, more...), err
}

func (p *postsuper) hold(q queue.Name, id queue.ID, _ queue.Info) ([]result, error) {
	if err := p.store.Move(id, q, queue.Hold); err != nil {
		return nil, err
	}
	return []result{{held, "placed on hold"}}, nil
}

func (p *postsuper) release(q queue.Name, id queue.ID, _ queue.Info) ([]result, error) {
	if err := p.store.Move(id, q, queue.Deferred); err != nil {
		return nil, err
	}
	return []result{{released, "released from hold"}}, nil
}

// requeue puts a message back to where local mail arrives, from where it goes
// through cleanup again as if it were new.
func (p *postsuper) requeue(q queue.Name, id queue.ID, _ queue.Info) ([]result, error) {
	if err := p.store.Move(id, q, queue.Maildrop); err != nil {
		return nil, err
	}
	if err := p.store.SetNextTry(queue.Maildrop, id, time.Now()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Log.Warningf("%s: reset time stamps: %v", id, err)
	}
	return []result{{requeued, "requeued"}}, nil
}
