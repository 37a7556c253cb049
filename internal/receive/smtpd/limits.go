package smtpd

import (
	"postern/internal/ipc/anvil"
	"postern/internal/protocol/smtp"
)

// anvilService is the name of the anvil service.
const anvilService = "anvil"

// tooManyConnections asks anvil.
func (s *session) tooManyConnections() smtp.Reply {
	if !s.limited || s.counter == nil {
		return smtp.Reply{}
	}
	c, err := s.counter.Tell(s.ctx, anvil.Connect, s.name, s.clientKey())
	if err != nil {
		s.log.Warningf("%v", err)
		return smtp.Reply{}
	}
	s.counted, s.connections = true, c.Count
	what, n := "", 0
	switch {
	case s.conf.ClientConnectionCount > 0 && c.Count > s.conf.ClientConnectionCount:
		what, n = "Connection concurrency", c.Count
	case s.conf.ClientConnectionRate > 0 && c.Rate > s.conf.ClientConnectionRate:
		what, n = "Connection rate", c.Rate
	default:
		return smtp.Reply{}
	}
	s.log.Warningf("%s limit exceeded: %d from %s for service %s", what, n, s.subject.LogClient, s.name)
	return ok(421, "4.7.0", s.common.MyHostname+" Error: too many connections from "+s.peer.addr)
}

func (s *session) uncount() {
	if s.counted {
		s.counted = false
		s.counter.Tell(s.ctx, anvil.Disconnect, s.name, s.clientKey())
	}
}

// limitsApply says whether the client is counted for a limit.
func (s *session) limitsApply(limit int) bool { return limit > 0 && s.limited && s.counter != nil }

// overRate tells anvil of an event and says whether there are too many.
func (s *session) overRate(e anvil.Event, limit int, what string) bool {
	if !s.limitsApply(limit) {
		return false
	}
	c, err := s.counter.Tell(s.ctx, e, s.name, s.clientKey())
	if err != nil || c.Rate <= limit {
		return false
	}
	s.log.Warningf("%s limit exceeded: %d from %s for service %s", what, c.Rate, s.subject.LogClient, s.name)
	return true
}

// clientKey is the address by which anvil counts: with IPv6, and where the
// administrator says so, a network.
func (s *session) clientKey() string {
	a := s.peer.ip
	bits := s.conf.IPv6Prefix
	if a.Is4() {
		bits = s.conf.IPv4Prefix
	}
	if !a.IsValid() || bits >= a.BitLen() {
		return s.peer.addr
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return s.peer.addr
	}
	return p.String()
}
