package smtpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"postern/internal/ipc/anvil"
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

// anvilService is the name of the anvil service.
const anvilService = "anvil"

var processID = os.Getpid()

// Serve is one session.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	conf, rules := s.current()
	n := &session{Server: s, conf: conf, rules: rules, ctx: ctx, conn: c, raw: c, octets: -1, where: "CONNECT",
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
	if s.conf.ForbidUnauthPipelining && !s.standAlone && s.earlyTalker() {
		s.synchronization()
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
		if r := s.rules.Connect(s.ctx, &s.subject); !r.IsZero() {
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

// command runs one command line.
func (s *session) command(line string) {
	if s.in.BareLF {
		switch s.bareNewline {
		case smtp.NoteBareLF:
			s.bareSeen = true
		case smtp.RejectBareLF:
			s.put(s.bareLF())
			s.end = true
			return
		}
	}
	if s.common.SMTPUTF8Enable && !utf8.ValidString(line) {
		s.complain(ok(500, "5.5.2", "Error: bad UTF-8 syntax"))
		return
	}
	// Postfix: a command ends at a NUL octet, and blanks are those of C.
	raw := line
	line, _, _ = strings.Cut(line, "\x00")
	s.line = strings.Trim(line, blanks)
	verb, arg := splitCommand(line)
	if verb == "" {
		s.complain(ok(500, "5.5.2", "Error: bad syntax"))
		return
	}
	if s.isNoop(verb) {
		s.put(ok(250, "2.0.0", "Ok"))
		s.countJunk()
		return
	}
	n := lookup(verb)
	s.counts[n].Total++
	if n == cmdUnknown && s.isForeign(verb) {
		s.log.Warningf("non-SMTP command from %s: %s", s.subject.LogClient, escape([]byte(raw), maxLogged))
		s.put(ok(221, "2.7.0", "Error: I can break rules, too. Goodbye."))
		s.end = true
		return
	}
	s.dispatch(n, verb, arg)
}

// complain is a reply that counts as an error.
func (s *session) complain(r smtp.Reply) {
	s.put(r)
	s.errors++
}

// blanks separate the words of a command.
const blanks = " \t\r\n\v\f"

func splitCommand(line string) (verb, arg string) {
	line = strings.Trim(line, blanks)
	if i := strings.IndexAny(line, blanks); i >= 0 {
		return line[:i], strings.Trim(line[i:], blanks)
	}
	return line, ""
}

func (s *session) isNoop(verb string) bool {
	if s.noops.Empty() {
		return false
	}
	ok, err := s.noops.MatchString(s.ctx, verb)
	return err == nil && ok
}

// isForeign says that the client speaks another protocol, or sends a message
// header: nobody is there who could understand a reply.
func (s *session) isForeign(verb string) bool {
	if i := strings.IndexByte(verb, ':'); i > 0 && headerName(verb[:i]) {
		return true
	}
	ok, err := s.forbidden.MatchString(s.ctx, verb)
	return err == nil && ok
}

func headerName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// dispatch runs the command with the number n.
func (s *session) dispatch(n int, verb, arg string) {
	if !s.denied.IsZero() && n != cmdQUIT {
		s.complain(ok(503, "5.7.0", "Error: access denied for "+s.subject.LogClient.String()))
		return
	}
	if n == cmdUnknown {
		s.complain(s.unknown(verb))
		return
	}
	c := &commands[n]
	if s.mustEncrypt() && c.flags&preTLS == 0 {
		s.complain(ok(530, "5.7.0", "Must issue a STARTTLS command first"))
		return
	}
	s.where, s.subject.Stage = c.verb, c.verb
	alone := c.flags&last != 0 || s.subject.Protocol != "ESMTP" // without EHLO there is no pipelining
	if alone && s.in.Buffered() > 0 && !s.standAlone && n != cmdSTARTTLS && s.conf.ForbidUnauthPipelining {
		s.synchronization()
		return
	}
	o := c.run(s, arg)
	for {
		if !o.silent {
			s.put(o.Reply)
		}
		if o.next == nil {
			break
		}
		if s.write() != nil {
			s.reason, s.end = reasonLost, true
			break
		}
		o = o.next()
	}
	refused := !o.silent && !o.Positive()
	tooMany := n == cmdRCPT && o.Code == 452 // Postfix: no error of the client
	if o.failed || refused && !tooMany {
		s.errors++
	} else if !o.uncounted {
		s.counts[n].Good++
	}
	if c.flags&junk != 0 {
		s.countJunk()
	}
}

// mustEncrypt says that only a few commands are allowed before STARTTLS.
func (s *session) mustEncrypt() bool {
	return s.tls == nil && s.Server.tls.Level() == levelEncrypt && !s.standAlone
}

func (s *session) countJunk() {
	if s.junk++; s.junk > s.conf.JunkCommandLimit+1 {
		s.errors++
	}
}

// synchronization ends the session of a client that talks out of turn (RFC 2920
// 3.1).
func (s *session) synchronization() {
	if s.in.Buffered() == 0 {
		s.in.WaitReadable(s.conf.Timeout) // what waits in the socket is shown
	}
	s.log.Infof("improper command pipelining after %s from %s: %s", s.where, s.subject.LogClient, escape(s.in.Peek(), maxLogged))
	s.put(ok(554, "5.5.0", "Error: SMTP protocol synchronization"))
	s.end = true
}

// maxLogged bounds what the log shows of what a client has sent.
const maxLogged = 100

// escape shows octets as C does, limit of them.
func escape(b []byte, limit int) string {
	var t strings.Builder
	for _, c := range b[:min(len(b), limit)] {
		switch c {
		case '\r':
			t.WriteString(`\r`)
		case '\n':
			t.WriteString(`\n`)
		case '\t':
			t.WriteString(`\t`)
		case '\a':
			t.WriteString(`\a`)
		case '\b':
			t.WriteString(`\b`)
		case '\f':
			t.WriteString(`\f`)
		case '\v':
			t.WriteString(`\v`)
		case '\\':
			t.WriteString(`\\`)
		default:
			if c < ' ' || c >= 0x7f {
				fmt.Fprintf(&t, `\%03o`, c)
			} else {
				t.WriteByte(c)
			}
		}
	}
	return t.String()
}

// earlyTalker says whether the client talks before the greeting.
func (s *session) earlyTalker() bool {
	return s.inputWaiting()
}

// inputWaiting says whether the client has sent more than was read. Below TLS
// it cannot be told from what the protocol itself sends.
func (s *session) inputWaiting() bool {
	return s.in.Buffered() > 0 || s.tls == nil && readable(s.raw)
}

// readable says whether octets wait in the socket; it does not wait for them.
func readable(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	waiting := false
	raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting = err == nil && n > 0
		return true
	})
	return waiting
}

// put adds a reply to what is sent at the next chance. A client with many
// errors waits for each.
func (s *session) put(r smtp.Reply) {
	if s.subject.Hangup { // access(5): nothing is said any more
		s.end = true
		return
	}
	if s.errors >= s.conf.SoftErrorLimit && s.conf.ErrorSleepTime > 0 && !s.standAlone {
		s.write()
		s.sleep(s.ctx, s.conf.ErrorSleepTime)
	}
	if r.Code >= 400 {
		r = s.filterReject(r)
		s.addFooter(&r)
		if s.common.SoftBounce {
			r = softened(r)
		}
	}
	if hangsUp(r) {
		s.end = true
	}
	s.out = r.AppendTo(s.out)
	if len(s.out) > maxPending {
		s.write()
	}
}

// maxPending bounds the replies that wait.
const maxPending = 4096

// hangsUp says that a reply announces the end of the session.
func hangsUp(r smtp.Reply) bool { return r.Code == 421 || r.Code == 521 }

// write sends the replies that wait.
func (s *session) write() error {
	if len(s.out) == 0 {
		return nil
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.conf.Timeout))
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	if cap(s.out) > maxPending {
		s.out = nil
	}
	return err
}

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
