package smtpd

import (
	"strings"
	"unicode/utf8"

	"postern/internal/protocol/smtp"
)

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
	if alone && s.in.Buffered() > 0 && !s.standAlone && n != cmdSTARTTLS && s.synchronization() {
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
