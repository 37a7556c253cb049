package anvil

import (
	"sync"
	"time"

	ipc "postern/internal/ipc/anvil"
)

// A remote is a client of a server.
type remote struct {
	connections int
	rates       [len(rated)]int // in the time unit that began at start
	start       time.Time
}

// rated are the events that have a rate, with the word that statistics use.
var rated = [...]struct {
	event ipc.Event
	word  string
}{
	{ipc.Connect, "connection"},
	{ipc.Message, "message"},
	{ipc.Recipient, "recipient"},
	{ipc.NewTLS, "newtls"},
	{ipc.Auth, "auth"},
}

func rateIndex(e ipc.Event) int {
	if e == ipc.NewTLSStat {
		e = ipc.NewTLS
	}
	for i, r := range rated {
		if r.event == e {
			return i
		}
	}
	return -1
}

// A counter knows all remotes. It is one per process.
type counter struct {
	unit time.Duration // anvil_rate_time_unit
	now  func() time.Time

	mu      sync.Mutex
	remotes map[string]*remote
	swept   time.Time
	peaks   peaks
}

func newCounter(unit time.Duration, now func() time.Time) *counter {
	return &counter{unit: unit, now: now, remotes: make(map[string]*remote), swept: now()}
}

// A client is one connection of a server; it remembers what to undo when the
// connection ends.
type client struct {
	c    *counter
	held map[string]int // connections per remote
}

func (c *counter) client() *client { return &client{c: c, held: make(map[string]int)} }

// close undoes the connections that the server did not end itself.
func (l *client) close() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for ident, n := range l.held {
		if r := l.c.remotes[ident]; r != nil {
			r.connections -= n
		}
	}
	l.held = nil
}

// tell counts an event. A request that is not known has status Fail.
func (l *client) tell(req ipc.Request) ipc.Counts {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := ipc.Counts{Event: req.Event, Status: ipc.OK}
	now := c.now()
	switch req.Event {
	case ipc.Lookup:
		c.lookup(req.Ident, now, &reply)
	case ipc.NewTLSStat:
		if r := c.find(req.Ident, now); r != nil {
			reply.Rate = r.rates[rateIndex(req.Event)]
		}
	case ipc.Disconnect:
		l.disconnect(req.Ident)
	case ipc.Connect, ipc.Message, ipc.Recipient, ipc.NewTLS, ipc.Auth:
		r := c.add(req.Ident, now)
		i := rateIndex(req.Event)
		r.rates[i]++
		reply.Rate = r.rates[i]
		if req.Event == ipc.Connect {
			r.connections++
			l.held[req.Ident]++
			reply.Count = r.connections
			c.peaks.count.note(r.connections, req.Ident, now)
		}
		c.peaks.rates[i].note(r.rates[i], req.Ident, now)
	default:
		reply.Status = ipc.Fail
	}
	return reply
}

func (l *client) disconnect(ident string) {
	if l.held[ident] == 0 {
		return
	}
	l.held[ident]--
	if l.held[ident] == 0 {
		delete(l.held, ident)
	}
	if r := l.c.remotes[ident]; r != nil {
		r.connections--
	}
}

func (c *counter) lookup(ident string, now time.Time, reply *ipc.Counts) {
	r := c.find(ident, now)
	if r == nil {
		return
	}
	reply.Count, reply.Rate = r.connections, r.rates[0]
	reply.Messages, reply.Recipients = r.rates[1], r.rates[2]
	reply.NewTLS, reply.Auths = r.rates[3], r.rates[4]
}

// find returns the remote with rates of the current time unit, or nil.
func (c *counter) find(ident string, now time.Time) *remote {
	r := c.remotes[ident]
	if r != nil && now.Sub(r.start) > c.unit {
		r.rates = [len(rated)]int{}
		r.start = now
	}
	return r
}

func (c *counter) add(ident string, now time.Time) *remote {
	c.sweep(now)
	r := c.find(ident, now)
	if r == nil {
		r = &remote{start: now}
		c.remotes[ident] = r
		c.peaks.cache.note(len(c.remotes), "", now)
	}
	return r
}

// sweep forgets remotes without connections whose time unit is over. It looks
// at them all, once per time unit.
func (c *counter) sweep(now time.Time) {
	if now.Sub(c.swept) <= c.unit {
		return
	}
	c.swept = now
	for ident, r := range c.remotes {
		if r.connections <= 0 && now.Sub(r.start) > c.unit {
			delete(c.remotes, ident)
		}
	}
}
