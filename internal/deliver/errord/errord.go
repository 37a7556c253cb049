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

// Bounce returns the mail, whatever status the next hop begins with.
func Bounce(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	res := reason(req, "bounce_append", "5.0.0")
	for _, rcpt := range req.Recipients {
		rep.Bounce(rcpt, "none", res)
	}
	return nil
}

// Retry defers the mail, whatever status the next hop begins with.
func Retry(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	res := reason(req, "defer_append", "4.0.0")
	for _, rcpt := range req.Recipients {
		rep.Defer(rcpt, "none", res)
	}
	return nil
}

// reason is what the next hop says. A status of another class than that of def
// is named and passed over.
func reason(req *agent.Request, what string, def dsn.Status) dsn.Result {
	res := dsn.Split(def, req.Nexthop)
	if res.Status.Class() != def.Class() {
		req.Log.Warningf("%s: ignoring dsn code %q", what, string(res.Status))
		res.Status = def
	}
	return res
}
