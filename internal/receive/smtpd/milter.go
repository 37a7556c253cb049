package smtpd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/config/param"
	"postern/internal/ipc/cleanup"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
	"postern/internal/protocol/smtp"
	"postern/internal/receive/smtpd/restrict"
	"postern/internal/service"
	"postern/internal/table"
)

// milterConfig holds the parameters of milters.
type milterConfig struct {
	milter.Params
	Milters    string // smtpd_milters
	MilterMaps string // smtpd_milter_maps
}

func (c *milterConfig) params(s *param.Set) {
	c.Params.Params(s)
	s.Str(&c.Milters, "smtpd_milters", "")
	s.Str(&c.MilterMaps, "smtpd_milter_maps", "")
}

// milterServer is the milters of all sessions.
type milterServer struct {
	settings *milter.Settings
	services []*milter.Service
	maps     *table.Maps // of a client's address
	off      bool        // receive_override_options = no_milters
}

func (s *Server) openMilters(e *service.Env) (err error) {
	c, m := &s.conf.Milter, &s.milters
	if m.settings, err = c.Parse(); err != nil {
		return err
	}
	if m.services, err = m.settings.Services(c.Milters); err != nil {
		return fmt.Errorf("smtpd_milters: %w", err)
	}
	for _, w := range param.Split(s.conf.ReceiveOverrideOptions) {
		m.off = m.off || w == "no_milters"
	}
	m.maps, err = e.Tables.Maps("smtpd_milter_maps", c.MilterMaps, table.FoldKey)
	return err
}

// chooseMilters makes the chain of milters for the client. Where the table
// cannot be asked or makes no sense, mail waits: nobody knows which milter would
// have been asked.
func (s *session) chooseMilters() {
	m := &s.Server.milters
	s.milters = nil
	if s.standAlone || m.off {
		return
	}
	services := m.services
	value, found, err := m.maps.Lookup(s.ctx, s.peer.addr)
	switch {
	case err != nil:
		s.log.Warningf("%s: lookup of %s: %v", m.maps.Title(), s.peer.addr, err)
		s.milters = m.settings.Unusable(s.log)
		return
	case found && strings.EqualFold(value, "DISABLE"):
		return
	case found:
		if services, err = m.settings.Services(value); err != nil {
			s.log.Warningf("%s: %s: %v", m.maps.Title(), s.peer.addr, err)
			s.milters = m.settings.Unusable(s.log)
			return
		}
	}
	if s.rehearsing != nil {
		if services = s.rehearseMilters(services); len(services) == 0 {
			return
		}
	}
	s.milters = m.settings.New(services, s.log, s.milterMacro)
}

// milterReply is what a response of the milters means for the command that is
// being carried out: a reply, or none when the command goes on.
func (s *session) milterReply(r milter.Response) smtp.Reply {
	var reply smtp.Reply
	action, text := "milter-reject", r.Text
	switch r.Action {
	case milter.Continue:
		return reply
	case milter.Hold:
		s.subject.Effects.Hold = true
		action, text = "milter-hold", "milter triggers HOLD action"
	case milter.Discard:
		s.subject.Effects.Discard = true
		action, text = "milter-discard", "milter triggers DISCARD action"
	case milter.Shutdown:
		text = "421 4.7.0 Server closing connection"
		reply = parseMilterReply(text)
	default:
		reply = parseMilterReply(text)
	}
	s.log.Event(s.action(action, text))
	if s.rehearsing != nil {
		s.subject.Observe(event.Step{List: "smtpd_milters", Restriction: "milter", Verdict: strings.TrimPrefix(action, "milter-"), Reply: text})
	}
	return reply
}

// parseMilterReply takes the lines of a reply apart; protocol/milter has
// checked them.
func parseMilterReply(text string) smtp.Reply {
	lines := strings.Split(text, "\r\n")
	code, _ := strconv.Atoi(lines[0][:3])
	reply := smtp.Reply{Code: code, Lines: lines, Status: dsn.Split("", lines[0][4:]).Status}
	for _, line := range lines {
		if reply.Status != "" && !strings.HasPrefix(line[4:], string(reply.Status)+" ") {
			reply.Status = "" // the lines do not have the same
		}
	}
	for i, line := range lines {
		lines[i] = line[4:]
		if reply.Status != "" {
			lines[i] = lines[i][len(reply.Status)+1:]
		}
	}
	return reply
}

// milterSkipped says that the milters are not asked about this message: it is
// thrown away.
func (s *session) milterSkipped() bool { return s.milters == nil || s.subject.Effects.Discard }

// milterConnect tells the milters of the client and returns the greeting that
// they want, if any. Other answers hold until the client tries to send mail
// (Postfix: as Sendmail).
func (s *session) milterConnect() smtp.Reply {
	s.milters.Disconnect()
	s.chooseMilters()
	name := s.peer.name
	if name == unknown {
		name = "[" + s.peer.literal() + "]"
	}
	r := s.milterReply(s.milters.Connect(s.ctx, name, s.peer.addr, s.peer.port))
	switch {
	case r.Code == 421:
		return smtp.NewReply(421, "", s.common.MyHostname+" Service unavailable - try again later")
	case r.Permanent():
		return smtp.NewReply(554, "", s.common.MyHostname+" ESMTP not accepting connections")
	}
	return smtp.Reply{}
}

// milterHelo tells the milters of HELO and returns a reply of theirs. Only one that
// ends the session is sent now.
func (s *session) milterHelo(name string) smtp.Reply {
	if s.milterSkipped() {
		return smtp.Reply{}
	}
	return s.milterReply(s.milters.Helo(name))
}

func (s *session) milterMail(path, options string) smtp.Reply {
	if s.milterSkipped() {
		return smtp.Reply{}
	}
	return s.milterReply(s.milters.Mail(path, strings.Fields(options)))
}

// milterRcpt tells the milters of a recipient. Those that want to are told of
// one that was refused, too; then refused has the reply.
func (s *session) milterRcpt(addr, path, options string, refused smtp.Reply) smtp.Reply {
	if s.milterSkipped() {
		return smtp.Reply{}
	}
	had, before := s.subject.HasRecipient, s.subject.Recipient
	s.subject.HasRecipient, s.subject.Recipient = true, addr
	s.milterRefused = refused
	r := s.milters.Rcpt(path, strings.Fields(options), !refused.IsZero())
	var reply smtp.Reply
	if refused.IsZero() {
		reply = s.milterReply(r)
	}
	s.milterRefused = smtp.Reply{}
	s.subject.HasRecipient, s.subject.Recipient = had, before
	return reply
}

func (s *session) milterData() smtp.Reply {
	if s.milterSkipped() {
		return smtp.Reply{}
	}
	return s.milterReply(s.milters.Data())
}

func (s *session) milterUnknown(verb string) smtp.Reply {
	if s.milterSkipped() {
		return smtp.Reply{}
	}
	return s.milterReply(s.milters.Unknown(verb))
}

// milterOther is the reply to a command of which milters are not told, after
// they have refused the connection or HELO.
func (s *session) milterOther() smtp.Reply {
	if r := s.milters.Other(); r.Action == milter.Reply {
		return parseMilterReply(r.Text)
	}
	return smtp.Reply{}
}

// unknown is the reply to a command that does not exist.
func (s *session) unknown(verb string) smtp.Reply {
	s.where, s.subject.Stage = "UNKNOWN", "UNKNOWN"
	if r := s.milterUnknown(verb); !r.IsZero() {
		return r
	}
	return ok(500, "5.5.2", "Error: command not recognized")
}

// forgetHelo tells the milters that the dialogue begins again.
func (s *session) forgetHelo() {
	if s.subject.HasHelo {
		s.milters.Abort()
	}
}

// announceMilters tells cleanup that the message may be changed.
func (s *session) announceMilters(w *record.Writer) {
	if !s.milterSkipped() && s.rehearsing == nil {
		w.Put(record.Milters, nil)
	}
}

// passMilters hands the milters over to cleanup, which asks them about the
// content.
func (s *session) passMilters() error {
	if s.rehearsing != nil {
		s.milters.Abort()
		return nil
	}
	if s.milterSkipped() || !s.milters.Undecided() {
		return nil
	}
	q, isCleanup := s.tx.queue.(cleanupFile)
	if !isCleanup {
		return nil
	}
	h, conns := s.milters.HandOver()
	s.tx.handedOver = true
	err := q.PassMilters(h, conns)
	if errors.Is(err, cleanup.ErrMiltersRefused) {
		s.tx.handedOver = false
		return nil
	}
	if err != nil {
		s.milters.Lost()
	}
	return err
}

// milterMacro is the value of a macro (MILTER_README, "macros").
func (s *session) milterMacro(name string) (string, bool) {
	switch name {
	case "j":
		return s.common.MyHostname, true
	case "v":
		return s.conf.Milter.Version, true
	case "{daemon_name}":
		return s.conf.Milter.DaemonName, true
	case "{daemon_addr}":
		return s.peer.serverAddr, true
	case "{daemon_port}":
		return s.peer.serverPort, true
	case "i":
		return s.queueID(), s.queueID() != ""
	}
	for _, family := range [...]func(string) (string, bool){s.clientMacro, s.tlsMacro, s.authMacro, s.senderMacro, s.recipientMacro} {
		if value, ok := family(name); ok {
			return value, true
		}
	}
	return "", false
}

func (s *session) clientMacro(name string) (string, bool) {
	p := &s.peer
	switch name {
	case "_":
		text := p.reverse + " [" + p.addr + "]"
		if !strings.EqualFold(p.name, p.reverse) {
			text += " (may be forged)"
		}
		return text, true
	case "{client_addr}":
		return p.literal(), true
	case "{client_name}":
		return p.name, true
	case "{client_port}":
		return p.port, true
	case "{client_ptr}":
		return p.reverse, true
	case "{client_connections}":
		return strconv.Itoa(s.connections), true
	case "{client_resolve}":
		switch {
		case p.status == restrict.NameOK:
			return "OK", true
		case p.status == restrict.NameRetry:
			return "TEMP", true
		case p.reverseStatus == restrict.NameOK:
			return "FORGED", true
		}
		return "FAIL", true
	}
	return "", false
}

func (s *session) tlsMacro(name string) (string, bool) {
	t := s.tls
	if t == nil {
		return "", false
	}
	switch name {
	case "{tls_version}":
		return t.Protocol, true
	case "{cipher}":
		return t.Cipher, true
	case "{cipher_bits}":
		return strconv.Itoa(t.Bits), true
	case "{cert_subject}":
		return t.PeerCN, t.Trusted
	case "{cert_issuer}":
		return t.IssuerCN, t.Trusted
	}
	return "", false
}

func (s *session) authMacro(name string) (string, bool) {
	b := &s.subject
	switch name {
	case "{auth_type}":
		return b.SASLMethod, b.SASLMethod != ""
	case "{auth_authen}":
		return b.SASLUsername, b.SASLUsername != ""
	case "{auth_author}":
		return b.SASLSender, b.SASLSender != ""
	}
	return "", false
}

func (s *session) senderMacro(name string) (string, bool) {
	b := &s.subject
	if !b.HasSender {
		return "", false
	}
	switch name {
	case "{mail_addr}":
		return smtpForm(b.Sender), true
	case "{mail_host}":
		return s.delivery(b.Sender, false)
	case "{mail_mailer}":
		return s.delivery(b.Sender, true)
	}
	return "", false
}

// recipientMacro: for a recipient that was refused, the mailer is "error", the
// host the enhanced status code, and the address the text (Postfix: as Sendmail).
func (s *session) recipientMacro(name string) (string, bool) {
	b, refused := &s.subject, &s.milterRefused
	if !b.HasRecipient || b.Recipient == "" {
		return "", false
	}
	switch name {
	case "{rcpt_addr}":
		if !refused.IsZero() {
			text := refused.Text()
			if i := strings.Index(text, ">: "); i >= 0 && text[0] == '<' {
				text = text[i+len(">: "):]
			}
			return text, true
		}
		return smtpForm(b.Recipient), true
	case "{rcpt_host}":
		if !refused.IsZero() {
			return string(refused.Status), refused.Status != ""
		}
		return s.delivery(b.Recipient, false)
	case "{rcpt_mailer}":
		if !refused.IsZero() {
			return "error", true
		}
		return s.delivery(b.Recipient, true)
	}
	return "", false
}

// smtpForm is the form of an address in SMTP commands, without angle brackets.
func smtpForm(addr string) string {
	if addr == "" {
		return ""
	}
	return address.Quote821(addr)
}

// delivery says how mail for the address would leave: the transport or the next
// hop.
func (s *session) delivery(addr string, transport bool) (string, bool) {
	ctx, cancel := context.WithTimeout(s.ctx, s.common.IPCTimeout)
	defer cancel()
	r, err := s.resolver.Resolve(ctx, s.subject.Sender, addr)
	if err != nil {
		s.log.Warningf("%v", err)
		return "", false
	}
	if transport {
		return r.Transport, true
	}
	return r.Nexthop, true
}
