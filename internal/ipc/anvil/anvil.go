// Package anvil is how servers tell the anvil service what their clients do,
// and learn how often and how many at once.
//
// A client of a server is named by a service and an address. The service
// forgets what was told over a connection when that connection ends, so that a
// server that dies leaves no counts behind; this is why all requests of one
// process travel over one connection.
package anvil

import (
	"context"
	"sync"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
)

// Protocol is what the service announces.
const Protocol = "anvil_protocol"

// Status values of a reply.
const (
	OK   = 0
	Fail = -1
)

// An Event is what a client of a server did, in the words of the wire.
type Event string

// The events.
const (
	Connect    Event = "connect"
	Disconnect Event = "disconnect"
	Message    Event = "message"       // MAIL FROM
	Recipient  Event = "recipient"     // RCPT TO
	NewTLS     Event = "newtls"        // a new TLS session was made
	NewTLSStat Event = "newtls_status" // how many; nothing is counted
	Auth       Event = "auth"          // AUTH
	Lookup     Event = "lookup"        // all counts; nothing is counted
)

// A Request tells an event.
type Request struct {
	Event Event
	Ident string // service:address
}

// Attrs are "request" and "ident".
func (m *Request) Attrs(c *attr.Codec) {
	c.Str("request", (*string)(&m.Event))
	c.Str("ident", &m.Ident)
	c.End()
}

// A Counts is what a reply tells. Which fields are on the wire depends on the
// event, which both sides know.
type Counts struct {
	Event  Event // of the request
	Status int
	Count  int // connections at this moment
	Rate   int // of the event, in the current time unit

	// With Lookup only.
	Messages, Recipients, NewTLS, Auths int
}

// Attrs are "status" and the counts that the event asks for.
func (m *Counts) Attrs(c *attr.Codec) {
	c.Int("status", &m.Status)
	switch m.Event {
	case Connect:
		c.Int("count", &m.Count)
		c.Int("rate", &m.Rate)
	case Disconnect:
	case Lookup:
		c.Int("count", &m.Count)
		c.Int("rate", &m.Rate)
		c.Int("mail", &m.Messages)
		c.Int("rcpt", &m.Recipients)
		c.Int("newtls", &m.NewTLS)
		c.Int("auth", &m.Auths)
	default:
		c.Int("rate", &m.Rate)
	}
	c.End()
}

// A Client speaks for one process. It may be used from several goroutines.
type Client struct {
	ep *endpoint.Endpoint

	mu   sync.Mutex
	conn *attr.Conn
}

// NewClient returns a client for ep, an endpoint made with Protocol.
func NewClient(ep *endpoint.Endpoint) *Client { return &Client{ep: ep} }

// Tell reports an event and returns the counts. An error says nothing about
// the client: a server then goes on without limits (Postfix: the same).
func (c *Client) Tell(ctx context.Context, e Event, service, addr string) (Counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := Request{Event: e, Ident: service + ":" + addr}
	reply := Counts{Event: e}
	if c.conn != nil {
		if err := exchange(c.conn, &req, &reply); err == nil {
			return reply, nil
		}
		c.drop()
		if e == Disconnect { // the service has forgotten it with the connection
			return reply, nil
		}
	}
	conn, err := c.ep.Dial(ctx)
	if err != nil {
		return reply, err
	}
	if err := exchange(conn, &req, &reply); err != nil {
		conn.Close()
		return reply, err
	}
	c.conn = conn
	return reply, nil
}

func exchange(conn *attr.Conn, req, reply attr.Message) error {
	if err := conn.Send(req); err != nil {
		return err
	}
	return conn.Recv(reply)
}

func (c *Client) drop() {
	c.conn.Close()
	c.conn = nil
}

// Close ends the connection; the service forgets what it was told.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.drop()
	}
	return nil
}
