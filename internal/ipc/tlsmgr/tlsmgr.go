// Package tlsmgr is how servers ask the tlsmgr service for the keys of session
// tickets, so that a TLS session that one process began can be resumed in
// another one.
package tlsmgr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
)

// Protocol is what the service announces.
const Protocol = "tlsmgr_protocol"

// TicketKeys is the request for keys (Postfix: the same word).
const TicketKeys = "tktkey"

// Status values of a reply.
const (
	OK   = 0
	Fail = -1
)

// KeySize is the size of a key in octets.
const KeySize = 32

// A Request asks for something; TicketKeys is what there is.
type Request struct {
	Kind string
}

// Attrs are "request".
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("request", &r.Kind)
	c.End()
}

// A Reply has the keys, the one for new tickets first, one after the other, and
// the seconds until there will be a new one.
type Reply struct {
	Status  int
	Keys    []byte
	Seconds int
}

// Attrs are "status", "keybuf" and "timeout".
func (r *Reply) Attrs(c *attr.Codec) {
	c.Int("status", &r.Status)
	c.Bytes("keybuf", &r.Keys)
	c.Int("timeout", &r.Seconds)
	c.End()
}

// A Client asks for one process.
type Client struct {
	ep *endpoint.Endpoint
}

// NewClient returns a client of the service with the given name in the queue
// directory dir.
func NewClient(dir, name string) *Client {
	return &Client{endpoint.New(dir, "private", name, Protocol, endpoint.Times{Timeout: patience, Idle: patience})}
}

// patience is how long a handshake may wait for keys: far less than services
// wait for one another.
const patience = 2 * time.Second

var errRefused = errors.New("the service has no keys")

// TicketKeys returns the keys and how long the first one is used for new
// tickets. Where master.cf has no such service it fails at once.
func (c *Client) TicketKeys(ctx context.Context) ([][KeySize]byte, time.Duration, error) {
	if _, err := os.Lstat(c.ep.Path()); err != nil {
		return nil, 0, fmt.Errorf("no service tlsmgr: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var reply Reply
	if err := c.ep.Call(ctx, &Request{Kind: TicketKeys}, &reply); err != nil {
		return nil, 0, err
	}
	if reply.Status != OK || len(reply.Keys) == 0 || len(reply.Keys)%KeySize != 0 {
		return nil, 0, fmt.Errorf("ask service %s: %w", c.ep.Path(), errRefused)
	}
	var keys [][KeySize]byte
	for b := reply.Keys; len(b) > 0; b = b[KeySize:] {
		keys = append(keys, [KeySize]byte(b))
	}
	return keys, time.Duration(max(reply.Seconds, 1)) * time.Second, nil
}
