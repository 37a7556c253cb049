package cleanup

import (
	"fmt"
	"strings"

	"postern/internal/ipc/attr"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/address"
	"postern/internal/mail/check"
	"postern/internal/mail/event"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
	"postern/internal/table"
)

// milterServer is what all messages share of the milters.
type milterServer struct {
	settings *milter.Settings
	services []*milter.Service // non_smtpd_milters
	checks   check.Checks      // milter_header_checks, for all fields
}

// milterState is what a message has of them.
type milterState struct {
	conn     *attr.Conn // to the client, while records are read
	layout   layout
	chain    *milter.Chain
	emulated bool   // the milters are told of the events of an SMTP session
	extFrom  string // the sender as the milters were told
	extRcpt  string // likewise the last recipient
	bodyLine []byte // the end of a piece of a new body
	bodySize int64

	// What milter_header_checks asked for, to be written at the end.
	lateFilter, lateRedirect string
	lateBCC                  []string
}

const endOfMessage = "END-OF-MESSAGE"

func (s *Server) openMilters(o *table.Opener) (err error) {
	m := &s.milters
	if m.settings, err = s.config.Milter.Parse(); err != nil {
		return err
	}
	if m.services, err = m.settings.Services(s.config.NonSMTPDMilters); err != nil {
		return fmt.Errorf("non_smtpd_milters: %w", err)
	}
	maps, err := o.Maps("milter_header_checks", s.config.MilterHeaderChecks, check.TableFlags)
	m.checks = check.Checks{Header: maps, MIME: maps, Nested: maps, Warn: func(err error) { s.log.Warningf("%v", err) }}
	return err
}

// filtered says that the milters for mail that does not come by SMTP see the
// message.
func (t *transaction) filtered() bool {
	return t.flags&ipc.FlagMilter != 0 && len(t.s.milters.services) > 0
}

// miltersRecord takes the milters of an SMTP session. The record comes twice:
// without data in front of the envelope, to say that milters will come, and at its
// end.
func (t *transaction) miltersRecord(data []byte) {
	if len(data) == 0 {
		t.layout.on = !t.seenSender
		return
	}
	if t.conn == nil || t.chain != nil || !t.layout.on {
		t.bad("unexpected milters")
		if t.conn != nil {
			ipc.RefuseMilters(t.conn)
		}
		return
	}
	h, conns, err := ipc.ReadMilters(t.conn, data)
	if err == nil {
		if t.chain, err = milter.Take(h, conns, t.s.log, t.milterMacro); err != nil {
			for _, c := range conns {
				c.Close()
			}
		}
	}
	if err != nil {
		t.bad("cannot receive milters: %v", err)
	}
}

// endMilters closes the connections.
func (t *transaction) endMilters() {
	if t.emulated {
		t.chain.Disconnect()
	} else {
		t.chain.Release()
	}
	t.chain = nil
}

// emulateMail tells milters of a client and a sender for mail that did not come
// by SMTP.
func (t *transaction) emulateMail() {
	if t.emulated || !t.layout.on || !t.filtered() || !t.ok() || t.chain != nil {
		return
	}
	t.emulated = true
	t.chain = t.s.milters.settings.New(t.s.milters.services, t.s.log, t.milterMacro)
	port := t.attrs[attrClientPort]
	if port == "" || port == unknown {
		port = "0"
	}
	if t.refused("CONNECT", t.chain.Connect(t.ctx, t.clientName(), t.clientAddr(), port)) {
		return
	}
	helo := t.attrs[attrHelo]
	if helo == "" {
		helo = t.clientName()
	}
	if t.refused("EHLO", t.chain.Helo(helo)) {
		return
	}
	if t.sender != "" {
		t.extFrom = address.Quote821(t.sender)
	}
	t.refused("MAIL", t.chain.Mail(t.extFrom, nil))
}

// emulateRcpt tells milters of a recipient. Nobody is there to whom a refusal
// of one recipient could be told, so that the message has to wait.
func (t *transaction) emulateRcpt(addr string) {
	if t.emulateMail(); !t.emulated || !t.asking() {
		return
	}
	t.extRcpt = address.Quote821(addr)
	if t.refused("RCPT", t.chain.Rcpt(t.extRcpt, nil, false)) && t.errs != 0 {
		t.s.log.Warningf("%s: milter configuration error: can't reject recipient in non-smtpd(8) submission", t.id)
		t.s.log.Warningf("%s: message not accepted, try again later", t.id)
		t.reason = "4.3.5 Server configuration error"
		t.errs |= ipc.StatusDefer
	}
}

// asking says that the milters still have something to say.
func (t *transaction) asking() bool { return t.errs == 0 && t.flags&ipc.FlagDiscard == 0 }

// askMilters lets the milters see and change the message, which is complete.
func (t *transaction) askMilters() {
	if t.chain == nil || !t.asking() {
		return
	}
	if t.emulated && t.refused("DATA", t.chain.Data()) {
		return
	}
	t.bodySize = t.contentEnd - t.layout.body
	r, err := t.chain.Message(source{t}, editor{t})
	if err != nil && t.errs == 0 {
		t.failed(err)
	}
	if err == nil {
		t.refused(endOfMessage, r)
		t.putLate()
	}
	if t.layout.edits > 0 && t.errs == 0 {
		t.putSizes()
	}
}

// refused does what the milters have decided, and says whether the message has
// ended with that.
func (t *transaction) refused(stage string, r milter.Response) bool {
	action, text := "milter-reject", ""
	switch r.Action {
	case milter.Continue:
		return false
	case milter.Hold:
		if t.flags&ipc.FlagHold != 0 {
			return false
		}
		t.flags |= ipc.FlagHold
		action, text = "milter-hold", "milter triggers HOLD action"
	case milter.Discard:
		t.flags |= ipc.FlagDiscard
		action, text = "milter-discard", "milter triggers DISCARD action"
	case milter.Shutdown:
		text = t.setReason("421 4.7.0 Server closing connection")
	default:
		text = t.setReason(r.Text)
	}
	e := &event.MilterAction{QueueID: t.id, Action: action, Stage: stage, ClientName: t.clientName(), ClientAddr: t.clientAddr(), Reason: text,
		Proto: t.attrs[attrLogProto], Helo: t.attrs[attrLogHelo]}
	if t.seenSender {
		e.Sender = event.Opt(t.logAddress(t.sender))
	}
	if t.seenRcpt {
		e.Recipient = event.Opt(t.logAddress(t.rcpt))
	}
	t.s.log.Event(e)
	return r.Action != milter.Hold
}

// setReason refuses the message with an SMTP reply and returns what the log says.
func (t *transaction) setReason(reply string) string {
	t.reason = reply
	if t.flags&ipc.FlagSMTPReply == 0 {
		t.reason = strings.ReplaceAll(reply[len("550 "):], "\r\n", " ")
	}
	if reply[0] == '4' {
		t.errs |= ipc.StatusDefer
	} else {
		t.errs |= ipc.StatusContent
	}
	return reply[len("550 "):]
}

// unknown is what attributes say of what is not known.
const unknown = "unknown"

func (t *transaction) clientName() string { return t.attrOr(attrClientName, "localhost") }
func (t *transaction) clientAddr() string { return t.attrOr(attrClientAddr, "127.0.0.1") }

func (t *transaction) attrOr(name, otherwise string) string {
	if v := t.attrs[name]; v != "" {
		return v
	}
	return otherwise
}

// milterMacro is the value of a macro.
func (t *transaction) milterMacro(name string) (string, bool) {
	switch name {
	case "{daemon_name}":
		return t.s.config.Milter.DaemonName, true
	case "v":
		return t.s.config.Milter.Version, true
	case "j":
		return t.s.common.MyHostname, true
	case "i":
		return t.id, true
	case "_":
		reverse := t.attrOr(attrReverse, t.clientName())
		text := reverse + " [" + t.clientAddr() + "]"
		if !strings.EqualFold(reverse, t.clientName()) {
			text += " (may be forged)"
		}
		return text, true
	case "{client_addr}":
		return t.clientAddr(), true
	case "{client_name}":
		return t.clientName(), true
	case "{client_port}":
		return t.attrOr(attrClientPort, "0"), true
	case "{client_ptr}":
		return t.attrOr(attrReverse, t.clientName()), true
	case "{daemon_addr}":
		return t.attrOr(attrServerAddr, "127.0.0.1"), true
	case "{daemon_port}":
		return t.attrOr(attrServerPort, "0"), true
	case "{mail_addr}":
		return t.extFrom, t.emulated
	case "{rcpt_addr}":
		return t.extRcpt, t.extRcpt != ""
	}
	for _, m := range [...][2]string{{"{auth_type}", attrSASLMethod}, {"{auth_authen}", attrSASLUser}, {"{auth_author}", attrSASLSender}} {
		if m[0] == name {
			v := t.attrs[m[1]]
			return v, v != ""
		}
	}
	return "", false
}

// A source is the content of the message as it is in the file now.
type source struct{ t *transaction }

// Read gives the content to a milter. Postfix: without our own Received: field.
func (s source) Read(f *milter.Feed) error {
	r := record.NewFileReader(s.t.draft, s.t.contentOff)
	own, header, partial := false, true, false
	var field []byte
	flush := func() bool {
		if len(field) == 0 || ownReceived(field, &own) {
			return true
		}
		n := message.NameLength(field)
		value := field[n:]
		return f.Header(string(field[:n]), strings.TrimPrefix(string(value), ":"))
	}
	for {
		typ, data, err := r.Next()
		if err != nil {
			return err
		}
		text := typ == record.Norm || typ == record.Cont
		if header && text && len(field) > 0 && (partial || len(data) > 0 && (data[0] == ' ' || data[0] == '\t')) {
			if !partial {
				field = append(field, '\n')
			}
			field, partial = append(field, data...), typ == record.Cont
			continue
		}
		if header {
			if !flush() {
				return nil
			}
			field = field[:0]
			if text && message.NameLength(data) > 0 {
				field, partial = append(field, data...), typ == record.Cont
				continue
			}
			header = false
			if !f.EndOfHeader() {
				return nil
			}
			if text && len(data) == 0 {
				continue
			}
		}
		if !text || !f.Body(data, typ == record.Cont) {
			return nil
		}
	}
}

// checkMilterField applies milter_header_checks to a field that a milter adds,
// and returns the field to write.
func (t *transaction) checkMilterField(field string) (_ string, keep bool) {
	c := &t.s.milters.checks
	if c.NoHeader() {
		return field, true
	}
	text := []byte(field)
	r, err := c.Field(t.bounded(), message.Primary, message.Lookup(text), text)
	if err != nil {
		t.checkFailed("milter_header_checks")
		return field, false
	}
	return t.actOnMilter(field, r)
}
