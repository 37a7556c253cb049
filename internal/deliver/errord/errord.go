// Package errord is the delivery agent that delivers to nobody: error(8), also
// known as retry. The next-hop destination is the reason that the sender reads.
package errord

import (
	"context"
	"net"

	"postern/internal/deliver/agent"
	"postern/internal/mail/dsn"
	"postern/internal/service"
)

// New returns the service.
func New() service.Service { return &server{} }

type server struct {
	agent.Kit
}

// Serve answers with the failure that the name of the service stands for.
func (s *server) Serve(ctx context.Context, c net.Conn) error {
	if s.Env().Name == "retry" {
		return s.Kit.Serve(ctx, c, Retry)
	}
	return s.Kit.Serve(ctx, c, Bounce)
}

// Bounce returns the mail, or defers it when the next hop begins with a 4.x.x
// status.
func Bounce(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	return report(req, rep, "5.0.0")
}

// Retry defers the mail, or returns it when the next hop begins with a 5.x.x
// status.
func Retry(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	return report(req, rep, "4.0.0")
}

func report(req *agent.Request, rep *agent.Report, def dsn.Status) error {
	res := dsn.Split(def, req.Nexthop)
	if res.Status.Class() == '2' {
		res.Status = def // Postfix: a success is not the business of error(8)
	}
	for _, rcpt := range req.Recipients {
		if res.Status.Permanent() {
			rep.Bounce(rcpt, "none", res)
		} else {
			rep.Defer(rcpt, "none", res)
		}
	}
	return nil
}
