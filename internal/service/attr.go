package service

import (
	"context"
	"net"
	"sync"
	"time"

	"postern/internal/ipc/attr"
)

// ServeAttr serves a client that sends attribute lists one after the other: it
// announces protocol (unless that is empty) and calls handle for each request
// until the client closes, is idle for max_idle, or the process drains between
// two requests. handle reads the request from c and sends the reply.
func (e *Env) ServeAttr(ctx context.Context, nc net.Conn, protocol string, handle func(ctx context.Context, c *attr.Conn) error) error {
	c := attr.NewConn(nc, e.Common.IPCTimeout)
	if protocol != "" {
		p := attr.Protocol(protocol)
		if err := c.Send(&p); err != nil {
			return err
		}
	}
	w := waiter{c: c, limit: e.Common.MaxIdle}
	served := make(chan struct{})
	defer close(served)
	go func() {
		select {
		case <-e.Draining:
			w.drain()
		case <-served:
		}
	}()
	for {
		if err := c.Flush(); err != nil {
			return err
		}
		if !w.wait() || ctx.Err() != nil {
			return nil
		}
		if err := handle(ctx, c); err != nil {
			return err
		}
	}
}

// A waiter waits for the first octet of the next request, and can be told that
// there is to be none.
type waiter struct {
	c     *attr.Conn
	limit time.Duration

	mu       sync.Mutex
	idle     bool
	draining bool
}

// wait returns false when the connection is to be closed.
func (w *waiter) wait() bool {
	w.mu.Lock()
	if w.draining {
		w.mu.Unlock()
		return false
	}
	w.idle = true
	w.c.SetReadDeadline(time.Now().Add(w.limit))
	w.mu.Unlock()
	_, err := w.c.R.Peek(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = false
	return err == nil
}

func (w *waiter) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	if w.idle {
		w.c.SetReadDeadline(time.Unix(1, 0))
	}
}
