// Package flush is how the fast flush service is asked: to note that a message
// waits for a destination, and to have such messages delivered now.
package flush

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
)

// Protocol is what the service announces.
const Protocol = "queue_flush_protocol"

// Requests that the service knows.
const (
	Add      = "add"       // the message QueueID waits for Site
	SendSite = "send_site" // deliver what waits for Site
	SendFile = "send_file" // deliver the message QueueID
	Refresh  = "rfrsh"     // look after old logs
	Purge    = "purge"     // look after all logs
)

// A Request asks for one of the above. Each has only the attributes that it
// needs.
type Request struct {
	Kind    string
	Site    string // a domain, or an address literal in brackets
	QueueID string
}

// Attrs are "request" and, depending on it, "site" and "queue_id".
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("request", &r.Kind)
	switch r.Kind {
	case Add:
		c.Str("site", &r.Site)
		c.Str("queue_id", &r.QueueID)
	case SendSite:
		c.Str("site", &r.Site)
	case SendFile:
		c.Str("queue_id", &r.QueueID)
	case Refresh, Purge:
	default:
		if c.Err() == nil {
			c.Fail(fmt.Errorf("unknown flush request %.100q", r.Kind))
		}
	}
	c.End()
}

// A Status is the answer.
type Status int

// The answers. Postfix: the numbers on the wire.
const (
	StatusOK   Status = 0 // done, or on its way
	StatusFail Status = 1
	StatusBad  Status = 3 // not a request, a site or a queue id
	StatusDeny Status = 4 // the site is not in fast_flush_domains
)

// Errors for the answers that are not StatusOK.
var (
	ErrFailed = errors.New("flush service failed")
	ErrBad    = errors.New("invalid flush request")
	ErrDenied = errors.New("flush service is not configured for the destination")
)

// Err returns the answer as an error, nil for StatusOK.
func (s Status) Err() error {
	switch s {
	case StatusOK:
		return nil
	case StatusBad:
		return ErrBad
	case StatusDeny:
		return ErrDenied
	}
	return ErrFailed
}

// Ask sends the request to the service at ep, an endpoint of
// public/flush_service_name with Protocol.
func Ask(ctx context.Context, ep *endpoint.Endpoint, r Request) error {
	var status attr.Status
	if err := ep.Call(ctx, &r, &status); err != nil {
		return err
	}
	return Status(status).Err()
}
