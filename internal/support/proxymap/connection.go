package proxymap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/proxymap"
)

// Serve answers the requests of one client until it closes the connection.
// When the process drains, clients come back to the next one.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	conn := attr.NewConn(c, s.timeout)
	protocol := attr.Protocol(proxymap.Protocol)
	if err := conn.Send(&protocol); err != nil {
		return err
	}
	w := &waiter{conn: conn, done: make(chan struct{})}
	defer close(w.done)
	go w.watch(s.draining)
	for w.request() {
		var req proxymap.Request
		if err := conn.Recv(&req); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read request: %w", err)
		}
		reply := s.answer(ctx, &req)
		if err := conn.Send(&reply); err != nil {
			return err
		}
		if err := conn.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// A waiter waits for the next request, and ends the wait, but not a request
// under way, when the process drains.
type waiter struct {
	conn *attr.Conn
	done chan struct{} // closed with the connection

	mu      sync.Mutex
	waiting bool
	drained bool
}

func (w *waiter) watch(draining <-chan struct{}) {
	select {
	case <-draining:
	case <-w.done:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = true
	if w.waiting {
		w.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// request waits for the first octet of a request; false is the end.
func (w *waiter) request() bool {
	if w.conn.Flush() != nil {
		return false
	}
	w.mu.Lock()
	if w.drained {
		w.mu.Unlock()
		return false
	}
	w.waiting = true
	w.conn.SetReadDeadline(time.Time{})
	w.mu.Unlock()
	_, err := w.conn.R.Peek(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	return err == nil
}
