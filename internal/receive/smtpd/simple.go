package smtpd

import (
	"strings"

	"postern/internal/mail/dsn"
	"postern/internal/protocol/smtp"
)

func statusOf(s string) dsn.Status { return dsn.Status(s) }

func (s *session) rset(arg string) outcome {
	if arg != "" {
		return say(ok(501, "5.5.4", "Syntax: RSET"))
	}
	s.reset()
	return say(ok(250, "2.0.0", "Ok"))
}

func (s *session) noop(string) outcome { return say(ok(250, "2.0.0", "Ok")) }

func (s *session) quit(string) outcome {
	s.end = true
	return say(ok(221, "2.0.0", "Bye"))
}

// help answers with where to read. Postfix has no HELP before 3.11.
func (s *session) help(string) outcome {
	return say(ok(214, "2.0.0", "Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT"))
}

// vrfy says whether mail for an address would be taken (RFC 5321 3.5.1).
func (s *session) vrfy(arg string) outcome {
	switch {
	case s.conf.DisableVRFY:
		return say(ok(502, "5.5.1", "VRFY command is disabled"))
	case arg == "" || s.knowsUTF8() && strings.EqualFold(arg, "SMTPUTF8"):
		text := "Syntax: VRFY address"
		if s.common.SMTPUTF8Enable {
			text += " [SMTPUTF8]"
		}
		return say(ok(501, "5.5.4", text))
	}
	if r := s.milterOther(); !r.IsZero() {
		return say(r)
	}
	unicode := false
	if i := len(arg) - len(" SMTPUTF8"); i > 0 && strings.EqualFold(arg[i:], " SMTPUTF8") && s.knowsUTF8() {
		arg, unicode = strings.TrimRight(arg[:i], " "), true
	}
	addr, valid := s.path(arg, "VRFY", pathVerify, unicode)
	if !valid {
		return say(ok(501, "5.1.3", "Bad recipient address syntax"))
	}
	if s.common.StrictSMTPUTF8 && !unicode && !ascii(addr) {
		return say(ok(553, "5.6.7", "Must declare SMTPUTF8 to send unicode address"))
	}
	s.subject.Recipient, s.subject.HasRecipient = addr, true
	defer func() { s.subject.Recipient, s.subject.HasRecipient = "", false }()
	if s.standAlone {
		return say(ok(252, "2.0.0", arg))
	}
	if r := s.policy.To(s.ctx, &s.subject); !r.IsZero() {
		return say(r)
	}
	return say(ok(252, "2.0.0", arg))
}

// etrn asks for the queue of a domain to be sent (RFC 1985).
func (s *session) etrn(arg string) outcome {
	switch {
	case s.conf.HeloRequired && !s.subject.HasHelo:
		return say(ok(503, "", "Error: send HELO/EHLO first"))
	case s.tx != nil:
		return say(ok(503, "", "Error: MAIL transaction in progress"))
	case arg == "" || strings.ContainsAny(arg, " \t"):
		return say(ok(500, "", "Syntax: ETRN domain"))
	}
	if r := s.milterOther(); !r.IsZero() {
		return say(r)
	}
	name := arg
	if name[0] == '@' || name[0] == '#' {
		name = name[1:]
	}
	if !validDomain(name) {
		return say(ok(501, "", "Error: invalid parameter syntax"))
	}
	s.subject.ETRNDomain = name
	defer func() { s.subject.ETRNDomain = "" }()
	if s.standAlone { // Postfix: a user does not reach the service
		return say(ok(458, "", "Unable to queue messages"))
	}
	if r := s.policy.Flush(s.ctx, &s.subject); !r.IsZero() {
		return say(r)
	}
	served, err := s.flushDomains.MatchDomain(s.ctx, name)
	if err != nil {
		return say(ok(459, "", "<"+name+">: service unavailable"))
	}
	if !served {
		s.log.Warningf("reject: ETRN %.100s... from %s", name, s.subject.LogClient)
		return say(ok(459, "", "<"+name+">: service unavailable"))
	}
	return s.flush(name)
}

// refuse logs a refusal and makes a reply of it.
func (s *session) refuse(code int, status, text string) outcome {
	return say(s.policy.Refuse(&s.subject, smtp.NewReply(code, statusOf(status), text)))
}
