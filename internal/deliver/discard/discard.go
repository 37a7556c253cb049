// Package discard is the delivery agent that throws mail away: discard(8).
package discard

import (
	"context"

	"postern/internal/deliver/agent"
	"postern/internal/mail/dsn"
	"postern/internal/service"
)

// New returns the service.
func New() service.Service { return agent.New(Deliver) }

// Deliver reports every recipient as sent. The next-hop destination is the
// reason for discarding the mail.
func Deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	reason := dsn.Split("2.0.0", req.Nexthop)
	for _, rcpt := range req.Recipients {
		rep.Sent(rcpt, "none", reason)
	}
	return nil
}
