package smtpd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"postern/internal/mail/event"
	"postern/internal/protocol/smtp"
)

// Why a session ended, in the words of the log.
const (
	reasonLost    = "lost connection"
	reasonTimeout = "timeout"
	reasonErrors  = "too many errors"
)

// afterMessage is where a session is that has sent a message.
const afterMessage = "END-OF-MESSAGE"

var processID = os.Getpid()

// Serve is one session.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	if s.stressed != nil && s.stress() {
		s = s.stressed
	}
	conf := &s.conf
	n := &session{Server: s, ctx: ctx, conn: c, raw: c, octets: -1, where: "CONNECT",
		bareNewline: s.bareNewline}
	rate := conf.MinDataRate
	if !conf.PerRequestDeadline {
		// Without per-request deadlines a slower client is tolerated, but
		// none may hold a session for ever.
		rate = max(1, rate/10)
	}
	n.in = smtp.NewReader(c, smtp.Limits{Timeout: conf.Timeout, MinRate: rate}, s.buffers)
	defer n.in.Release()
	p := newPeer(c)
	proxyErr := s.readProxyHeader(c, &p)
	s.lookupPeer(ctx, &p)
	n.subject.NewSession()
	n.subject.SASLEnabled = s.sasl != nil
	n.subject.InputWaiting = n.inputWaiting
	n.setPeer(p)
	n.trusted = n.xforwardAllowed()
	if proxyErr != nil {
		n.logProxyHeader(proxyErr)
	}
	n.log.Event(&event.SMTPDConnect{Client: n.subject.LogClient, Service: s.name})
	if proxyErr == nil {
		n.converse()
	} else {
		n.put(ok(421, "4.3.0", s.common.MyHostname+" Server local error"))
		n.write()
	}
	n.reset()
	n.forgetHelo()
	n.milters.Disconnect()
	n.uncount()
	n.disconnected()
	return nil
}

// setPeer makes p the client.
func (s *session) setPeer(p peer) {
	s.peer = p
	b := &s.subject
	b.ClientName, b.ClientAddr, b.ClientPort, b.NameStatus = p.name, p.addr, p.port, p.status
	b.ReverseName, b.ReverseStatus = p.reverse, p.reverseStatus
	b.ServerAddr, b.ServerPort = p.serverAddr, p.serverPort
	b.LogClient = event.Client{Name: p.name, Addr: p.addr}
	if s.conf.ClientPortLogging {
		b.LogClient.Port = p.port
	}
	s.limited = false
	if s.counter != nil && !s.xclientAllowed() {
		exempt, err := s.exceptions.Match(s.ctx, p.name, p.addr)
		s.limited = err != nil || !exempt // Postfix: limits hold where the list cannot be asked
	}
	if s.Server.bareNewline != smtp.AllowBareLF {
		s.bareNewline = s.Server.bareNewline
		if exempt, err := s.bareExclusions.Match(s.ctx, p.name, p.addr); err == nil && exempt {
			s.bareNewline = smtp.AllowBareLF
		}
	}
	s.in.Strict = s.bareNewline != smtp.AllowBareLF
}

// converse is the dialogue, from greeting to end.
func (s *session) converse() {
	if s.conf.TLS.WrapperMode && s.Server.tls != nil {
		if !s.Server.tls.Available() {
			s.log.Warningf("Wrapper-mode request dropped from %s for service %s. TLS context initialization failed. For details see earlier warnings in your logs.",
				s.subject.LogClient, s.name)
			return
		}
		if !s.handshake() {
			if s.reason != "" {
				s.logLost()
			}
			return
		}
		s.where = "CONNECT"
		if s.refusedTLS() {
			s.refuseTLS()
			s.write()
			return
		}
	}
	if !s.standAlone && s.earlyTalker() && s.synchronization() {
		s.write()
		return
	}
	s.chooseDiscards()
	s.put(s.greeting())
	for !s.end {
		if s.errors >= s.conf.HardErrorLimit {
			s.reason = reasonErrors
			s.put(ok(421, "4.7.0", s.common.MyHostname+" Error: too many errors"))
			break
		}
		line, err := s.readCommand()
		if err != nil {
			s.lost(err)
			break
		}
		if s.refusedTLS() {
			s.refuseTLS()
			break
		}
		if line, valid := s.filterCommand(line); valid {
			s.command(line)
		}
	}
	s.write()
	// Postfix: who hangs up after the end of a message has done what it came for.
	if s.reason != "" && (s.reason != reasonLost || s.where != afterMessage) {
		s.logLost()
	}
}

// greeting is the first reply: the banner, unless the client is refused here.
func (s *session) greeting() smtp.Reply {
	s.subject.Stage = s.where // CONNECT or XCLIENT
	s.denied = smtp.Reply{}
	if r := s.tooManyConnections(); !r.IsZero() {
		s.end = true
		return r
	}
	if !s.conf.Restrict.DelayReject && !s.standAlone {
		if r := s.policy.Connect(s.ctx, &s.subject); !r.IsZero() {
			s.denied = r
			s.end = hangsUp(r)
			return r
		}
	}
	if r := s.milterConnect(); !r.IsZero() {
		return r
	}
	return smtp.NewReply(220, "", s.banner)
}

// readCommand sends what waits to be sent, if the client has nothing more to
// say, and reads a line.
func (s *session) readCommand() (string, error) {
	if bytes.IndexByte(s.in.Peek(), '\n') < 0 {
		if err := s.write(); err != nil {
			return "", err
		}
	}
	line, err := s.in.ReadLine(s.common.LineLengthLimit)
	if isTooLong(err) {
		s.log.Warningf("%s: request longer than %d: %.30s...", s.subject.LogClient, s.common.LineLengthLimit, line)
		err = nil
	}
	return string(line), err
}

func isTooLong(err error) bool { return errors.Is(err, smtp.ErrLineTooLong) }

// lost ends the session because of a read error.
func (s *session) lost(err error) outcome {
	s.reason, s.end = reasonLost, true
	if smtp.IsTimeout(err) {
		s.reason = reasonTimeout
		s.put(ok(421, "4.4.2", s.common.MyHostname+" Error: timeout exceeded"))
	}
	if s.tx != nil && s.octets >= 0 {
		s.octets = s.tx.octets
	}
	return outcome{silent: true, failed: true}
}

func (s *session) logLost() {
	s.log.Event(&event.SMTPDLost{QueueID: s.queueID(), Reason: s.reason, Stage: s.where, Octets: s.octets, Client: s.subject.LogClient})
}

// action makes the event of a refusal that no restriction made.
func (s *session) action(what, text string) *event.SMTPDAction {
	a := s.subject.Action(what, text)
	a.Stage = s.where
	return a
}

// disconnected logs the end with the counts of commands.
func (s *session) disconnected() {
	e := &event.SMTPDDisconnect{Client: s.subject.LogClient, Passed: s.passed}
	for i, c := range s.counts {
		if c.Total == 0 {
			continue
		}
		c.Name = "unknown"
		if i < len(commands) {
			c.Name = strings.ToLower(commands[i].verb)
		}
		e.Commands = append(e.Commands, c)
	}
	if s.bareSeen {
		e.Notes = "bare_lf"
	}
	s.log.Event(e)
}
