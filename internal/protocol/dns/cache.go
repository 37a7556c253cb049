package dns

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Cache is a Resolver that remembers what another one has answered, for as
// long as the records, or the SOA record of a negative answer, allow. Failures
// are not remembered. One process that serves many clients asks for the same
// names again and again.
type Cache struct {
	next  Resolver
	limit int // entries
	now   func() time.Time

	mu      sync.Mutex
	entries map[question]entry
}

type question struct {
	name string
	t    Type
}

type entry struct {
	answer Answer
	until  time.Time
}

// maxLife bounds how long an answer is believed whatever it says.
const maxLife = time.Hour

// NewCache returns a cache of limit answers before next.
func NewCache(next Resolver, limit int) *Cache {
	return &Cache{next: next, limit: limit, now: time.Now, entries: map[question]entry{}}
}

// Lookup implements Resolver.
func (c *Cache) Lookup(ctx context.Context, name string, t Type) Answer {
	q := question{strings.ToLower(trimDot(name)), t}
	now := c.now()
	c.mu.Lock()
	e, ok := c.entries[q]
	c.mu.Unlock()
	if ok && now.Before(e.until) {
		// The caller may change its records.
		e.answer.Records = slices.Clone(e.answer.Records)
		return e.answer
	}
	a := c.next.Lookup(ctx, name, t)
	if life := min(a.TTL, maxLife); life > 0 && (a.Class == OK || a.Class == NotFound) {
		kept := a
		kept.Records = slices.Clone(a.Records)
		c.keep(q, entry{kept, now.Add(life)}, now)
	}
	return a
}

// keep adds an entry. A full cache loses what is too old, or else a part.
func (c *Cache) keep(q question, e entry, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.limit {
		for k, old := range c.entries {
			if !now.Before(old.until) {
				delete(c.entries, k)
			}
		}
		left := c.limit - c.limit/4
		for k := range c.entries {
			if len(c.entries) <= left {
				break
			}
			delete(c.entries, k)
		}
	}
	c.entries[q] = e
}
