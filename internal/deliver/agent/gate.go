package agent

import (
	"context"
	"sync"
	"time"

	"postern/internal/ipc/attr"
)

// A gate lets a connection wait for its next request for as long as the process
// accepts work; then it ends the wait, but not a request that has begun.
type gate struct {
	done chan struct{} // closed with the connection

	mu      sync.Mutex
	waiting bool
	shut    bool
}

func newGate(ctx context.Context, draining <-chan struct{}, c *attr.Conn) *gate {
	g := &gate{done: make(chan struct{})}
	go func() {
		select {
		case <-ctx.Done():
		case <-draining:
		case <-g.done:
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = true
		if g.waiting {
			c.SetReadDeadline(time.Unix(1, 0))
		}
	}()
	return g
}

// idle waits for the first octet of a request; false is the end.
func (g *gate) idle(c *attr.Conn) bool {
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return false
	}
	g.waiting = true
	c.SetReadDeadline(time.Time{})
	g.mu.Unlock()
	_, err := c.R.Peek(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = false
	return err == nil
}

func (g *gate) close() { close(g.done) }
