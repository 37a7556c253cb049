package smtpd

import (
	"postern/internal/ipc/anvil"
	"postern/internal/protocol/starttls"
)

const levelEncrypt = starttls.Encrypt

// starttls is STARTTLS (RFC 3207).
func (s *session) starttls(arg string) outcome {
	switch {
	case arg != "":
		return say(ok(501, "5.5.4", "Syntax: STARTTLS"))
	case s.Server.tls.Level() == starttls.None || s.discards["starttls"]:
		return say(ok(502, "5.5.1", "Error: command not implemented"))
	case s.tls != nil:
		return say(ok(554, "5.5.1", "Error: TLS already active"))
	case s.tx != nil:
		return say(ok(503, "5.5.1", "Error: MAIL transaction in progress"))
	case !s.Server.tls.Available():
		return say(ok(454, "4.7.0", "TLS not available due to local problem"))
	}
	if r := s.milterOther(); r.Transient() {
		return say(ok(454, "4.3.0", "Try again later"))
	} else if !r.IsZero() {
		return say(r)
	}
	if s.limitsApply(s.conf.ClientNewTLSRate) {
		c, err := s.counter.Tell(s.ctx, anvil.NewTLSStat, s.name, s.clientKey())
		if err == nil && c.Rate > s.conf.ClientNewTLSRate {
			s.log.Warningf("Refusing STARTTLS request from %s for service %s", s.subject.LogClient, s.name)
			return say(ok(454, "4.7.0", "Error: too many new TLS sessions from "+s.subject.LogClient.String()))
		}
	}
	return outcome{Reply: ok(220, "2.0.0", "Ready to start TLS"), next: s.startTLS}
}

// startTLS makes the handshake. Whatever the client sent in plain text after
// STARTTLS would be taken for sent under TLS: it ends the session.
func (s *session) startTLS() outcome {
	if s.in.Buffered() > 0 {
		s.log.Warningf("plaintext after STARTTLS from %s", s.subject.LogClient)
		s.reason, s.end = reasonLost, true
		return outcome{silent: true, failed: true}
	}
	if !s.handshake() {
		return outcome{silent: true, failed: true}
	}
	return outcome{silent: true}
}

// handshake changes to TLS and forgets what was said before.
func (s *session) handshake() bool {
	t, err := s.Server.tls.Handshake(s.ctx, s.raw, s.subject.LogClient.String(), s.conf.TLS.StartTimeout)
	if err != nil {
		s.reason, s.end = reasonLost, true
		return false
	}
	if !t.Resumed && s.limitsApply(s.conf.ClientNewTLSRate) {
		c, err := s.counter.Tell(s.ctx, anvil.NewTLS, s.name, s.clientKey())
		if err == nil && c.Rate > s.conf.ClientNewTLSRate {
			// Postfix: the session ends without another word.
			s.log.Warningf("New TLS session rate limit exceeded: %d from %s for service %s", c.Rate, s.subject.LogClient, s.name)
			s.end = true
			return false
		}
	}
	s.tls, s.conn = t, t.Conn
	s.in.Reset(t.Conn)
	s.reset()
	s.forgetHelo()
	before := s.subject.Protocol // Postfix: what was ESMTP stays so, without another EHLO
	s.subject.NewSession()
	s.subject.TLS, s.subject.Protocol = t, before
	if t.Refusal != "" {
		s.log.Infof("NOQUEUE: abort: TLS from %s: %s", s.subject.LogClient, t.Refusal)
	}
	s.auth = nil
	s.subject.SASLMethod, s.subject.SASLUsername, s.subject.SASLSender = "", "", ""
	s.subject.PipeliningOK = false
	return true
}

// refuseTLS answers a client that has not shown the certificate that
// smtpd_tls_req_ccert wants, and ends the session. Postfix: when the client says
// something next.
func (s *session) refuseTLS() {
	s.put(ok(421, "4.7.1", s.common.MyHostname+" Error: "+s.tls.Refusal))
	s.end = true
}

// refusedTLS says whether the client lacks that certificate.
func (s *session) refusedTLS() bool { return s.tls != nil && s.tls.Refusal != "" }
