// Package verify is how the service that remembers which addresses are
// deliverable is asked, and told the outcome of a probe.
//
// Postfix: address_verification_prrotocol, spelled so on the wire; requests
// "query" and "update".
package verify

import (
	"context"
	"fmt"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
)

// Protocol is what the service announces.
const Protocol = "address_verification_prrotocol"

// States of an address, the attribute recipient_status.
const (
	OK     = 0 // deliverable
	Defer  = 1 // temporarily not
	Bounce = 2 // undeliverable
	Todo   = 3 // a probe is under way
)

// The kinds of a request.
const (
	KindQuery  = "query"
	KindUpdate = "update"
	KindPeek   = "peek" // a query that sends no probe; Postfix does not know it
)

// A Request asks about an address, or tells a probe's outcome.
type Request struct {
	Kind    string
	Address string
	Status  int    // of an update
	Reason  string // of an update
}

// Attrs names the attributes; which there are depends on the kind.
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("request", &r.Kind)
	c.Str("address", &r.Address)
	switch {
	case c.Err() != nil:
	case r.Kind == KindUpdate:
		c.Int("recipient_status", &r.Status)
		c.Str("reason", &r.Reason)
	case r.Kind != KindQuery && r.Kind != KindPeek:
		c.Fail(fmt.Errorf("unexpected request %.100q", r.Kind))
	}
	c.End()
}

// An Update is a probe's outcome.
type Update struct {
	Address string
	Status  int
	Reason  string
}

// An Answer is what is known of an address.
type Answer struct {
	ServerStatus int // 0, or the service failed
	Status       int
	Reason       string
}

// Attrs names the attributes of the reply to a query.
func (a *Answer) Attrs(c *attr.Codec) {
	c.Int("status", &a.ServerStatus)
	c.Int("recipient_status", &a.Status)
	c.Str("reason", &a.Reason)
	c.End()
}

// Send tells the service at e the outcome of a probe.
func Send(ctx context.Context, e *endpoint.Endpoint, u Update) error {
	var status attr.Status
	r := Request{Kind: KindUpdate, Address: u.Address, Status: u.Status, Reason: u.Reason}
	if err := e.Call(ctx, &r, &status); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("service %s failed, status %d", e.Path(), status)
	}
	return nil
}

// Query asks the service at e about an address.
func Query(ctx context.Context, e *endpoint.Endpoint, address string) (Answer, error) {
	return ask(ctx, e, KindQuery, address)
}

// Peek asks the service at e what it knows of an address, without a probe.
func Peek(ctx context.Context, e *endpoint.Endpoint, address string) (Answer, error) {
	return ask(ctx, e, KindPeek, address)
}

func ask(ctx context.Context, e *endpoint.Endpoint, kind, address string) (Answer, error) {
	var a Answer
	if err := e.Call(ctx, &Request{Kind: kind, Address: address}, &a); err != nil {
		return a, err
	}
	if a.ServerStatus != 0 {
		return a, fmt.Errorf("service %s failed, status %d", e.Path(), a.ServerStatus)
	}
	return a, nil
}
