package attr

import (
	"bufio"
	"fmt"
	"net"
	"time"
)

// A Conn is a connection on which attribute lists, and between them raw record
// streams, travel. Each Send and Recv is bounded by Timeout.
type Conn struct {
	net.Conn
	R       *bufio.Reader
	W       *bufio.Writer
	Timeout time.Duration // ipc_timeout; 0 means no limit
}

// NewConn wraps c.
func NewConn(c net.Conn, timeout time.Duration) *Conn {
	return &Conn{Conn: c, R: bufio.NewReaderSize(c, 4096), W: bufio.NewWriterSize(c, 4096), Timeout: timeout}
}

// Send writes m into the buffer; Flush or Recv sends it off.
func (c *Conn) Send(m Message) error {
	return NewWriter(c.W).Do(m)
}

// Flush sends what is buffered.
func (c *Conn) Flush() error {
	if c.W.Buffered() == 0 {
		return nil
	}
	c.deadline()
	return c.W.Flush()
}

// Recv flushes what is buffered and reads m.
func (c *Conn) Recv(m Message) error {
	if err := c.Flush(); err != nil {
		return err
	}
	c.deadline()
	return NewReader(c.R).Do(m)
}

func (c *Conn) deadline() {
	if c.Timeout > 0 {
		c.SetDeadline(time.Now().Add(c.Timeout))
	}
}

// A Protocol is the list with which each service announces what it speaks
// (Postfix: since 3.6 the server sends protocol=<name> first).
type Protocol string

// Attrs sends the name, or receives a name and compares it.
func (p *Protocol) Attrs(c *Codec) {
	got := string(*p)
	c.Str("protocol", &got)
	c.End()
	if c.Err() == nil && got != string(*p) {
		c.Fail(fmt.Errorf("peer speaks protocol %.100q, not %q", got, string(*p)))
	}
}

// Status is the reply of services that answer with a number only.
type Status int

// Attrs is the single attribute "status".
func (s *Status) Attrs(c *Codec) {
	c.Int("status", (*int)(s))
	c.End()
}
