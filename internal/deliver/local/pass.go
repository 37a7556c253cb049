package local

import (
	"strings"

	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
)

// pass hands the present address to another transport, "transport:nexthop",
// whose outcome is the recipient's: it reports and logs by itself.
func (s state) pass(service string) bool {
	s.into(StepTransport, service)
	transport, nexthop, _ := strings.Cut(service, ":")
	if transport == "" {
		s.req.Log.Warningf("%s: no transport in %q", s.req.QueueID, service)
		return s.misconfigured()
	}
	if s.tour != nil {
		return s.sent("handed on to " + service)
	}
	req := s.req.Request
	if nexthop != "" {
		req.Nexthop = nexthop
	}
	s.req.Log.Infof("%s: passing <%s> to transport=%s", s.req.QueueID, s.addr, transport)
	// The recipient is marked done here, with all that it stands for.
	rcpt := *s.part()
	rcpt.Offset = -1
	req.Recipients = []*delivery.Recipient{&rcpt}
	conn, err := s.Env().Endpoint("private", transport, delivery.Protocol).Dial(s.ctx)
	if err == nil {
		defer conn.Close()
		var reply delivery.Reply
		err = delivery.Exchange(s.ctx, conn, &req, &reply, s.Env().Common.DaemonTimeout)
		if err == nil {
			s.rep.Passed(&reply)
			return reply.Status == delivery.Done
		}
	}
	s.req.Log.Warningf("%s: transport %s: %v", s.req.QueueID, transport, err)
	return s.rep.Defer(s.part(), s.relay(), dsn.Make("4.3.0", "mail transport unavailable"))
}
