package schedule

import (
	"container/list"
	"time"
)

// A job is what a message has for one transport.
//
// Jobs stand in a list and deliveries come from its first one. So that mail to
// one recipient does not wait behind a mailing list, a job earns a delivery
// slot with every SlotCost deliveries; another job may overtake it when the
// slots (with a loan and a discount) are enough for all of its deliveries. The
// one that overtakes stands before the one that it overtook, may itself be
// overtaken, and gives back what it did not use when it ends. In this way no
// message is delayed by more than the SlotCost-th part of its own length.
type job struct {
	message   *Message
	transport *Transport
	peers     list.List // of *peer; the next to be asked first
	byDest    map[*Destination]*peer
	place     *list.Element // in the transport's list, nil when not in it

	read   int // entries that were made of recipients read so far
	chosen int // of these

	parent   *job // whom it has overtaken
	children []*job
	level    int // how many overtakings it is part of; 0: stands by its age
	earned   int // deliveries towards slots, less what was lent
	used     int // deliveries since it overtook, less what it was lent

	blocked int // epoch in which it was found to wait for destinations only
}

func (j *job) left() int { return j.read - j.chosen }

// most is the number of entries when all recipients were read, each alone.
func (j *job) most() int { return j.read + max(j.message.Unread, 0) }

// job returns m's job for the transport.
func (t *Transport) job(m *Message) *job {
	for _, j := range m.jobs {
		if j.transport == t {
			return j
		}
	}
	j := &job{message: m, transport: t, byDest: make(map[*Destination]*peer)}
	m.jobs = append(m.jobs, j)
	return j
}

// link puts a job with work into the list, by the age of its message.
func (t *Transport) link(j *job) {
	t.best.current = nil
	j.blocked = 0
	if j.place != nil {
		t.current = t.jobs.Front()
		return
	}
	passed := t.current == nil // the job comes before the current one
	at := t.jobs.Back()
	for ; at != nil; at = at.Prev() {
		other := at.Value.(*job)
		if other.level == 0 && !other.message.Queued.After(j.message.Queued) {
			break
		}
		passed = passed || at == t.current
	}
	if at == nil {
		j.place = t.jobs.PushFront(j)
	} else {
		j.place = t.jobs.InsertAfter(j, at)
	}
	if passed {
		t.current = j.place
	}
}

// unlink takes a job out of the list. Those that overtook it now stand before
// whom it had overtaken.
func (t *Transport) unlink(j *job) {
	if j.place == nil {
		return
	}
	if t.best.current == j || t.best.job == j {
		t.best.current = nil
	}
	if t.current == j.place {
		t.current = j.place.Next()
	}
	parent := j.parent
	t.leave(j)
	for _, child := range j.children {
		child.parent = parent
	}
	if parent != nil {
		parent.children = append(parent.children, j.children...)
	}
	j.children = nil
	t.jobs.Remove(j.place)
	j.place = nil
}

// leave ends an overtaking: the slots that were lent and not used go back to
// the job that lent them, if that is still there.
func (t *Transport) leave(j *job) {
	p := j.parent
	if p != nil {
		for i, c := range p.children {
			if c == j {
				p.children = append(p.children[:i], p.children[i+1:]...)
				break
			}
		}
		if p.level+1 == j.level {
			p.earned -= j.used * t.limits.SlotCost
		}
	}
	j.parent, j.level = nil, 0
}

// choose takes the next entry.
func (t *Transport) choose(now time.Time) *Entry {
	if t.current == nil {
		return nil
	}
	at := t.current
	if t.limits.SlotCost >= 2 {
		at = t.preempt(at.Value.(*job), now).place
	}
	for at != nil {
		j := at.Value.(*job)
		next := at.Next()
		if j.blocked != t.epoch {
			if e := j.choose(); e != nil {
				t.current = at
				j.count()
				if j.left() == 0 && j.message.Unread <= 0 {
					t.unlink(j)
				}
				return e
			}
			if j.left() > 0 {
				j.block()
			} else { // its recipients are still to be read: out of the way
				t.unlink(j)
			}
		}
		at = next
	}
	t.current = nil
	return nil
}

// choose takes an entry from the first peer whose destination has room; the
// peer then goes behind the others.
func (j *job) choose() *Entry {
	for at := j.peers.Front(); at != nil; at = at.Next() {
		p := at.Value.(*peer)
		if p.entries.Len() > 0 && p.dest.Window() > p.dest.busy {
			j.peers.MoveToBack(at)
			return p.choose()
		}
	}
	return nil
}

// count books a delivery.
func (j *job) count() {
	j.earned++
	j.used++
	if j != j.transport.best.current {
		j.transport.best.current = nil
	}
}

// block remembers that the job waits for its destinations only.
func (j *job) block() {
	epoch := j.transport.epoch
	j.blocked = epoch
	for at := j.peers.Front(); at != nil; at = at.Next() {
		if p := at.Value.(*peer); p.entries.Len() > 0 {
			p.dest.blocking = epoch
		}
	}
}

// preempt returns the job to deliver from: the current one, or one that
// overtakes it now.
func (t *Transport) preempt(current *job, now time.Time) *job {
	l := &t.limits
	if current.earned <= 0 || current.most() < l.MinSlots*l.SlotCost {
		return current
	}
	j := t.candidate(current, now)
	if j == nil {
		return current
	}
	need := j.most() - j.chosen
	have := float64(current.earned/l.SlotCost + l.SlotLoan)
	if have < float64(need)*float64(l.SlotDiscount)/100 {
		return current
	}
	t.leave(j)
	t.jobs.MoveBefore(j.place, current.place)
	j.parent, j.level = current, current.level+1
	current.children = append(current.children, j)
	current.earned -= need * l.SlotCost
	j.used = -need
	t.current = j.place
	t.best.current = nil
	return j
}

// candidate looks behind the current job for the one that has waited longest
// for its size and that fits into the slots that the current job can ever earn.
func (t *Transport) candidate(current *job, now time.Time) *job {
	c := &t.best
	if c.current == current && (c.job == nil || c.at.Equal(now)) {
		return c.job
	}
	*c = candidate{current: current, at: now}
	slots := (current.left() + current.earned) / t.limits.SlotCost
	if slots <= 0 {
		return nil
	}
	best := 0.0
	for at := current.place.Next(); at != nil; at = at.Next() {
		j := at.Value.(*job)
		if len(j.children) > 0 || j.blocked == t.epoch || j.left() == 0 {
			continue
		}
		if j.most()-j.chosen > slots {
			continue
		}
		score := float64(now.Sub(j.message.Queued)/time.Second+1) / float64(j.most())
		if score > best {
			best, c.job = score, j
		}
	}
	return c.job
}
