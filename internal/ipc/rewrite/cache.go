package rewrite

import (
	"sync"
	"time"
)

// Postfix's clients remember one answer for as long as their connection
// lives; a process of ours serves many sessions, so it remembers a few more.
const (
	cacheSize = 8192
	cacheLife = 5 * time.Second
)

// A cache keeps answers in two generations; when the young one is full or
// old, it takes the place of the other.
type cache struct {
	mu       sync.Mutex
	young    map[string]Resolved
	old      map[string]Resolved
	since    time.Time
	now      func() time.Time
	lifetime time.Duration
}

func newCache() *cache {
	return &cache{young: map[string]Resolved{}, now: time.Now, lifetime: cacheLife}
}

func (c *cache) get(key string) (Resolved, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	if r, ok := c.young[key]; ok {
		return r, true
	}
	r, ok := c.old[key]
	return r, ok
}

func (c *cache) put(key string, r Resolved) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
	c.young[key] = r
}

func (c *cache) turn() {
	now := c.now()
	age := now.Sub(c.since)
	if age < c.lifetime/2 && len(c.young) < cacheSize/2 {
		return
	}
	c.old = c.young
	if age >= c.lifetime {
		c.old = nil
	}
	c.young = map[string]Resolved{}
	c.since = now
}
