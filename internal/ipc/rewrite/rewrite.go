// Package rewrite is how services ask trivial-rewrite: make an address
// complete, and say how mail for an address is delivered.
//
// Requests are "rewrite", "resolve" and "verify" on the service private/rewrite
// (rewrite_service_name).
package rewrite

import (
	"context"
	"fmt"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/address"
)

// Protocol is what the service announces.
const Protocol = "trivial_rewrite_protocol"

// The contexts in which an address is rewritten.
const (
	Local  = "local"  // append_at_myorigin, append_dot_mydomain
	Remote = "remote" // remote_header_rewrite_domain
	None   = "none"   // left alone
)

// Flags of a resolved address.
type Flags int

const (
	Final        Flags = 1 << 0  // local or virtual delivery
	Routed       Flags = 1 << 1  // the address still has routing operators
	Error        Flags = 1 << 2  // the address cannot be used
	Fail         Flags = 1 << 3  // a table could not be asked: try again later
	ClassLocal   Flags = 1 << 8  // mydestination and friends
	ClassAlias   Flags = 1 << 9  // virtual_alias_domains
	ClassVirtual Flags = 1 << 10 // virtual_mailbox_domains
	ClassRelay   Flags = 1 << 11 // relay_domains
	ClassDefault Flags = 1 << 12 // anything else
	ClassMask          = ClassLocal | ClassAlias | ClassVirtual | ClassRelay | ClassDefault
)

// Resolved says how mail for an address is delivered.
type Resolved struct {
	Transport string
	Nexthop   string
	Recipient string // the address in internal form, possibly completed
	Flags     Flags
}

// The Server's side of a request. Kind decides which of the others are used.
type Request struct {
	Kind    string // rewrite, resolve, verify
	Ruleset string // rewrite
	Sender  string // resolve, verify
	Address string
}

// Attrs names the attributes of a request.
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("request", &r.Kind)
	switch {
	case c.Err() != nil:
		return
	case r.Kind == "rewrite":
		c.Str("rule", &r.Ruleset)
	case r.Kind == "resolve" || r.Kind == "verify":
		c.Str("sender", &r.Sender)
	default:
		c.Fail(fmt.Errorf("unexpected request %.100q", r.Kind))
	}
	c.Str("address", &r.Address)
	c.End()
}

// A Rewritten is the reply to "rewrite".
type Rewritten struct {
	ServerFlags int
	Address     string
}

// Attrs names the attributes of the reply.
func (r *Rewritten) Attrs(c *attr.Codec) {
	c.Int("flags", &r.ServerFlags)
	c.Str("address", &r.Address)
	c.End()
}

// A Reply is the reply to "resolve" and "verify".
type Reply struct {
	ServerFlags int
	Resolved
}

// Attrs names the attributes of the reply; the first "flags" is the server's
// state, the second the result's.
func (r *Reply) Attrs(c *attr.Codec) {
	c.Int("flags", &r.ServerFlags)
	c.Str("transport", &r.Transport)
	c.Str("nexthop", &r.Nexthop)
	c.Str("recipient", &r.Recipient)
	c.Int("flags", (*int)(&r.Flags))
	c.End()
}

// A Client asks one trivial-rewrite service and remembers its last answers.
// Its methods may be called from several goroutines.
type Client struct {
	ep    *endpoint.Endpoint
	cache *cache
}

// New returns a client of the service at e.
func New(e *endpoint.Endpoint) *Client {
	return &Client{ep: e, cache: newCache()}
}

// Rewrite completes addr, which is in internal form, for the context ruleset.
func (c *Client) Rewrite(ctx context.Context, ruleset, addr string) (string, error) {
	if ruleset == None || addr == "" {
		return addr, nil
	}
	key := ruleset + "\x00" + addr
	if got, ok := c.cache.get(key); ok {
		return got.Recipient, nil
	}
	// On the wire the address is in external form.
	var reply Rewritten
	if err := c.ep.Call(ctx, &Request{Kind: "rewrite", Ruleset: ruleset, Address: address.Quote822(addr)}, &reply); err != nil {
		return "", err
	}
	got := address.Unquote822(reply.Address)
	c.cache.put(key, Resolved{Recipient: got})
	return got, nil
}

// Resolve says how mail from sender to addr is delivered. Both are in
// internal form.
func (c *Client) Resolve(ctx context.Context, sender, addr string) (Resolved, error) {
	return c.resolve(ctx, "resolve", sender, addr)
}

// Verify is Resolve for an address probe, which has routing parameters of its
// own (address_verify_*_transport).
func (c *Client) Verify(ctx context.Context, sender, addr string) (Resolved, error) {
	return c.resolve(ctx, "verify", sender, addr)
}

func (c *Client) resolve(ctx context.Context, kind, sender, addr string) (Resolved, error) {
	key := kind + "\x00" + sender + "\x00" + addr
	if got, ok := c.cache.get(key); ok {
		return got, nil
	}
	var reply Reply
	if err := c.ep.Call(ctx, &Request{Kind: kind, Sender: sender, Address: addr}, &reply); err != nil {
		return Resolved{}, err
	}
	if reply.Flags&Fail == 0 {
		c.cache.put(key, reply.Resolved)
	}
	return reply.Resolved, nil
}
