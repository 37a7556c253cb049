// Package cleanup is how smtpd, pickup, bounce and others hand a message to
// the cleanup service.
//
// The service announces its protocol once per connection. Then, for each
// message: the client sends flags, the service creates the queue file and
// sends queue_id, the client sends the records of the message (envelope,
// content, extracted, end), the service sends status and reason. A status of
// zero promises that the message is on stable storage. After the status the
// connection is ready for the next message. A client that gives up closes the
// connection; the service then removes the queue file. When the service cannot
// create a file, queue_id is empty, the status follows at once, and the service
// closes the connection.
//
// Postfix: it sends the queue id before it has the flags, and takes one
// message per connection.
package cleanup

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/record"
)

// Protocol is what the service announces.
const Protocol = "cleanup_protocol"

// A Start opens a message.
type Start struct {
	Flags Flags
}

// Attrs is the attribute "flags".
func (m *Start) Attrs(c *attr.Codec) {
	c.Int("flags", (*int)(&m.Flags))
	c.End()
}

// A Created names the queue file.
type Created struct {
	QueueID string // "" when it cannot be created; the final status tells why
}

// Attrs is the attribute "queue_id".
func (m *Created) Attrs(c *attr.Codec) {
	c.Str("queue_id", &m.QueueID)
	c.End()
}

// A Result ends a message.
type Result struct {
	Status Status
	Reason string // for people; an SMTP reply without its code when the flags ask for that
}

// Attrs are "status" and "reason".
func (m *Result) Attrs(c *attr.Codec) {
	c.Int("status", (*int)(&m.Status))
	c.Str("reason", &m.Reason)
	c.End()
}

// A Client hands messages to one cleanup service. It may be used from several
// goroutines. Connections that finished a message are kept for the next one.
type Client struct {
	ep   *endpoint.Endpoint
	idle time.Duration

	mu   sync.Mutex
	kept []keptConn
}

type keptConn struct {
	*attr.Conn
	since time.Time
}

const (
	maxKept    = 100
	bufferSize = 32 << 10
)

// NewClient returns a client for ep, an endpoint made with Protocol. idle
// (ipc_idle) limits how long a connection is kept; zero keeps none.
func NewClient(ep *endpoint.Endpoint, idle time.Duration) *Client {
	return &Client{ep: ep, idle: idle}
}

// A Session is one message on its way into the queue. It belongs to one
// goroutine.
type Session struct {
	QueueID string
	W       *record.Writer // the record stream; End is the last record

	client *Client
	conn   *attr.Conn
}

// Dial opens a session on a connection of its own that serves one message.
func Dial(ctx context.Context, ep *endpoint.Endpoint, flags Flags) (*Session, error) {
	return NewClient(ep, 0).Open(ctx, flags)
}

// Open starts a message and returns with its queue id.
func (c *Client) Open(ctx context.Context, flags Flags) (*Session, error) {
	if conn := c.take(); conn != nil {
		if s, err := c.start(conn, flags); err == nil {
			return s, nil
		}
		conn.Close()
	}
	conn, err := c.ep.Dial(ctx)
	if err != nil {
		return nil, err
	}
	conn.R = bufio.NewReaderSize(conn.Conn, 512)
	conn.W = bufio.NewWriterSize(deadlineWriter{conn.Conn, conn.Timeout}, bufferSize)
	s, err := c.start(conn, flags)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask service %s: %w", c.ep.Path(), err)
	}
	return s, nil
}

func (c *Client) start(conn *attr.Conn, flags Flags) (*Session, error) {
	if err := conn.Send(&Start{flags}); err != nil {
		return nil, err
	}
	var created Created
	if err := conn.Recv(&created); err != nil {
		return nil, err
	}
	return &Session{QueueID: created.QueueID, W: record.NewWriter(conn.W), client: c, conn: conn}, nil
}

// Finish sends what is buffered, waits for the outcome and ends the session.
// The caller has written the End record. An error says that the outcome is
// not known; a client then reports a temporary failure.
func (s *Session) Finish(ctx context.Context) (Status, string, error) {
	if s.conn == nil {
		return StatusWrite, "", net.ErrClosed
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	var result Result
	err := s.W.Flush()
	if err == nil {
		err = conn.Recv(&result)
	} else if attr.NewReader(conn.R).Do(&result) == nil && result.Status != 0 {
		// The service has said why it does not read on.
		s.Close()
		stop()
		return result.Status, result.Reason, nil
	}
	if !stop() || err != nil {
		s.Close()
	}
	if err != nil {
		return StatusWrite, "", fmt.Errorf("ask service %s: %w", s.client.ep.Path(), err)
	}
	if s.conn != nil {
		s.client.keep(s.conn)
		s.conn = nil
	}
	return result.Status, result.Reason, nil
}

// Close gives the message up unless it was finished; the service removes what
// it has of it.
func (s *Session) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// Close closes the kept connections. The client can be used afterwards.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kept {
		k.Close()
	}
	c.kept = nil
	return nil
}

func (c *Client) take() *attr.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.kept) > 0 {
		k := c.kept[len(c.kept)-1]
		c.kept = c.kept[:len(c.kept)-1]
		if time.Since(k.since) < c.idle {
			return k.Conn
		}
		k.Close()
	}
	return nil
}

func (c *Client) keep(conn *attr.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle <= 0 || len(c.kept) >= maxKept {
		conn.Close()
		return
	}
	c.kept = append(c.kept, keptConn{conn, time.Now()})
}

// A deadlineWriter gives each write its own deadline.
type deadlineWriter struct {
	net.Conn
	timeout time.Duration
}

func (w deadlineWriter) Write(b []byte) (int, error) {
	if w.timeout > 0 {
		w.SetWriteDeadline(time.Now().Add(w.timeout))
	}
	return w.Conn.Write(b)
}
