package smtpclient

import (
	"sync"
	"time"
)

// A demand decides when sessions are worth keeping
// (smtp_connection_cache_on_demand): for destinations that get one delivery
// after the other. Postfix: its queue manager decides so and tells by flags in
// the delivery request, which count here too; one process sees enough to
// decide for itself.
type demand struct {
	mu    sync.Mutex
	flows map[string]*flow
	now   func() time.Time // for tests; nil: time.Now
}

// A flow is the deliveries to one destination.
type flow struct {
	busy  int
	last  time.Time // when a delivery ended
	load  bool      // idle sessions are taken: once there may be some
	store bool      // sessions are kept
}

// backToBack is how soon a delivery follows another one that keeps the flow
// going, and quiet how long a flow is remembered.
const (
	backToBack = time.Second
	quiet      = time.Minute
	manyFlows  = 1000
)

func (d *demand) time() time.Time {
	if d.now != nil {
		return d.now()
	}
	return time.Now()
}

// begin says whether a delivery should look for an idle session, and keep its
// own.
func (d *demand) begin(destination string) (load, store bool) {
	now := d.time()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flows == nil {
		d.flows = map[string]*flow{}
	}
	f := d.flows[destination]
	if f == nil {
		d.sweep(now)
		f = &flow{}
		d.flows[destination] = f
	}
	f.busy++
	soon := now.Sub(f.last) <= backToBack
	switch {
	case soon:
		f.load, f.store = true, true
	case f.busy <= 1:
		f.store = false
	}
	return f.load, f.store
}

// end says that a delivery is over.
func (d *demand) end(destination string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flows[destination]; f != nil {
		f.busy--
		f.last = d.time()
	}
}

// sweep forgets flows that have dried up, when there are many.
func (d *demand) sweep(now time.Time) {
	if len(d.flows) < manyFlows {
		return
	}
	for k, f := range d.flows {
		if f.busy == 0 && now.Sub(f.last) > quiet {
			delete(d.flows, k)
		}
	}
}
