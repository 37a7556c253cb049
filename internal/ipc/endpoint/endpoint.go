// Package endpoint is how a program asks another service of the same Postern
// instance: it dials the service's Unix-domain socket below the queue
// directory, keeps idle connections open, and tries again over a fresh
// connection when a kept one turns out to be dead.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"postern/internal/ipc/attr"
)

// An Endpoint is one service that can be asked. Its methods may be called from
// several goroutines; each call has a connection of its own.
type Endpoint struct {
	path     string
	protocol attr.Protocol
	timeout  time.Duration
	maxIdle  time.Duration

	mu   sync.Mutex
	idle []*conn
}

type conn struct {
	*attr.Conn
	since time.Time // when it became idle
}

// Times bound the use of an endpoint.
type Times struct {
	Timeout time.Duration // ipc_timeout: for one send or receive
	Idle    time.Duration // ipc_idle: a kept connection is closed after this
}

// New names the service class/service ("private/rewrite") below queueDir.
// protocol is what the service announces first, "" when it announces nothing.
func New(queueDir, class, service, protocol string, t Times) *Endpoint {
	return &Endpoint{
		path:     filepath.Join(queueDir, class, service),
		protocol: attr.Protocol(protocol),
		timeout:  t.Timeout,
		maxIdle:  t.Idle,
	}
}

// Path returns the socket's path.
func (e *Endpoint) Path() string { return e.path }

// Dial opens a connection of the caller's own and reads the announcement. The
// caller closes it. While the socket is missing or refuses (the service is
// being restarted), Dial tries again until ctx ends.
func (e *Endpoint) Dial(ctx context.Context) (*attr.Conn, error) {
	c, err := e.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to service %s: %w", e.path, err)
	}
	return c.Conn, nil
}

func (e *Endpoint) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "unix", e.path)
		if err == nil {
			c := &conn{Conn: attr.NewConn(nc, e.timeout)}
			if e.protocol != "" {
				if err := c.Recv(&e.protocol); err != nil {
					nc.Close()
					return nil, err
				}
			}
			return c, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Call sends req and receives reply over a kept or a new connection. A kept
// connection that fails is replaced once, so a request must be safe to repeat.
func (e *Endpoint) Call(ctx context.Context, req, reply attr.Message) error {
	if c := e.take(); c != nil {
		if err := exchange(c, req, reply); err == nil {
			e.keep(c)
			return nil
		}
		c.Close()
		e.Close()
	}
	c, err := e.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to service %s: %w", e.path, err)
	}
	if err := exchange(c, req, reply); err != nil {
		c.Close()
		return fmt.Errorf("ask service %s: %w", e.path, err)
	}
	e.keep(c)
	return nil
}

func exchange(c *conn, req, reply attr.Message) error {
	if err := c.Send(req); err != nil {
		return err
	}
	return c.Recv(reply)
}

// Close closes the idle connections. The endpoint can be used afterwards.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.idle {
		c.Close()
	}
	e.idle = nil
	return nil
}

func (e *Endpoint) take() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.idle) > 0 {
		c := e.idle[len(e.idle)-1]
		e.idle = e.idle[:len(e.idle)-1]
		if e.maxIdle <= 0 || time.Since(c.since) < e.maxIdle {
			return c
		}
		c.Close()
	}
	return nil
}

func (e *Endpoint) keep(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.since = time.Now()
	e.idle = append(e.idle, c)
}
