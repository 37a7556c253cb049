// Package verify is how an address probe's outcome is told to the service that
// remembers which addresses are deliverable.
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

// An Update is a probe's outcome.
type Update struct {
	Address string
	Status  int
	Reason  string
}

// Attrs names the attributes of an update.
func (u *Update) Attrs(c *attr.Codec) {
	request := "update"
	c.Str("request", &request)
	c.Str("address", &u.Address)
	c.Int("recipient_status", &u.Status)
	c.Str("reason", &u.Reason)
	c.End()
	if c.Err() == nil && request != "update" {
		c.Fail(fmt.Errorf("unexpected request %.100q", request))
	}
}

// Send tells the service at e the outcome of a probe.
func Send(ctx context.Context, e *endpoint.Endpoint, u Update) error {
	var status attr.Status
	if err := e.Call(ctx, &u, &status); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("service %s failed, status %d", e.Path(), status)
	}
	return nil
}
