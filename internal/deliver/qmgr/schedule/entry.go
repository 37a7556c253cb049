package schedule

import "container/list"

// An Entry is one delivery: some recipients of a message for one destination.
type Entry struct {
	Message    *Message
	Dest       *Destination
	Recipients []any

	peer    *peer
	waiting *list.Element // in the destination's list, nil once chosen
	queued  *list.Element // in the peer's list, nil once chosen
}

// A peer is what a job has for one destination.
type peer struct {
	job         *job
	dest        *Destination
	entries     list.List // of *Entry, not chosen yet
	outstanding int       // entries that are not finished, chosen or not
	place       *list.Element
}

func (p *peer) push(e *Entry) {
	e.queued = p.entries.PushBack(e)
	e.waiting = p.dest.todo.PushBack(e)
	p.outstanding++
	p.job.read++
}

// choose takes the first entry.
func (p *peer) choose() *Entry {
	e := p.entries.Remove(p.entries.Front()).(*Entry)
	e.queued = nil
	p.job.chosen++
	return e
}

// remove takes back an entry that was not chosen.
func (p *peer) remove(e *Entry) {
	p.entries.Remove(e.queued)
	e.queued = nil
	p.job.read--
}

// peer returns the job's peer for d.
func (j *job) peer(d *Destination) *peer {
	p := j.byDest[d]
	if p == nil {
		p = &peer{job: j, dest: d}
		p.place = j.peers.PushBack(p)
		j.byDest[d] = p
	}
	return p
}

// drop removes a peer whose entries are finished, and the job with its last
// peer.
func (j *job) drop(p *peer) {
	j.peers.Remove(p.place)
	delete(j.byDest, p.dest)
	if len(j.byDest) > 0 {
		return
	}
	j.transport.unlink(j)
	m := j.message
	for i, other := range m.jobs {
		if other == j {
			m.jobs = append(m.jobs[:i], m.jobs[i+1:]...)
			return
		}
	}
}
