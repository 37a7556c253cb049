package smtpclient

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/protocol/smtp"
)

// A stage is what was sent and has not been answered.
type stage int

const (
	stageXforwardName stage = iota
	stageXforwardProto
	stageMail
	stageRcpt
	stageData
	stageBody
	stageDot
	stageAbort
	stageQuit
)

// stages have the words for a stage in texts: what was being done, and the
// command.
var stages = [...]struct{ while, command string }{
	stageXforwardName:  {"sending XFORWARD name/address", "XFORWARD name/address command"},
	stageXforwardProto: {"sending XFORWARD protocol/helo_name", "XFORWARD helo/protocol command"},
	stageMail:          {"sending MAIL FROM", "MAIL FROM command"},
	stageRcpt:          {"sending RCPT TO", "RCPT TO command"},
	stageData:          {"sending DATA command", "DATA command"},
	stageBody:          {"sending message body", "message body"},
	stageDot:           {"sending end of data -- message may be sent more than once", "end of DATA command"},
	stageAbort:         {"sending final RSET", "final RSET command"},
	stageQuit:          {"sending QUIT", "QUIT command"},
}

// window is how many octets of commands are sent ahead of their replies. The
// smallest socket buffer holds them, so that a server that replies before it
// reads on never waits for a client that sends before it reads.
const window = 8 << 10

// An outcome of a transaction tells what became of the session.
type outcome int

const (
	finished outcome = iota
	stale            // an idle session turned out to be dead before anything was answered
)

// transaction sends one message over a session.
type transaction struct {
	*delivering
	s        *session
	pending  []step
	ahead    int // octets of pending commands
	answered bool
	refused  bool      // MAIL FROM was refused
	accepted []*target // RCPT TO was accepted
	goAhead  bool      // DATA was accepted
	broken   bool      // the connection is gone
	stale    bool
}

type step struct {
	stage stage
	rcpt  *target
}

// transfer makes one transaction.
func (d *delivering) transfer(s *session) outcome {
	defer s.cut(d.ctx)()
	s.uses++
	if d.setup.IsZero() {
		d.setup = time.Now()
	}
	t := &transaction{delivering: d, s: s}
	if !t.possible() {
		return finished
	}
	t.envelope()
	switch {
	case t.stale:
		return stale
	case t.broken:
	case t.goAhead && d.req.VerifyOnly():
		s.dead = true // there is no other way out of DATA
	case t.goAhead:
		t.content()
	default:
		t.abort()
	}
	return finished
}

// possible refuses what the server cannot take.
func (t *transaction) possible() bool {
	s := t.s
	if !t.requirementMet() {
		return false
	}
	if s.sizeLimit > 0 && s.sizeLimit < t.req.Size {
		t.failAll(s, dsn.Make("5.3.4", fmt.Sprintf("message size %d exceeds size limit %d of server %s",
			t.req.Size, s.sizeLimit, s.name)), false)
		return false
	}
	if t.needsUTF8() && !s.has(featSMTPUTF8) {
		return t.passOn(s, dsn.Make("5.6.7", "SMTPUTF8 is required, but was not offered by host "+s.name))
	}
	return true
}

// needsUTF8 says whether the message cannot go without SMTPUTF8: the sender
// asked for it, and something in it needs it.
func (t *transaction) needsUTF8() bool {
	const derived = delivery.SendUTF8Header | delivery.SendUTF8Sender | delivery.SendUTF8Recipient
	return t.req.SendOpts&delivery.SendUTF8Requested != 0 && t.req.SendOpts&derived != 0
}

// envelope sends the commands up to DATA and reads their replies.
func (t *transaction) envelope() {
	if t.client.config.SendXforward && t.s.features&featXforward != 0 {
		t.xforward()
	}
	t.send(stageMail, nil, t.mailCommand())
	for _, r := range t.rcpts {
		if t.over() {
			break
		}
		t.send(stageRcpt, r, t.rcptCommand(r))
	}
	if t.over() {
		t.drain()
		return
	}
	if !t.s.has(featPipelining) || t.req.VerifyOnly() {
		t.drain()
	}
	if t.req.VerifyOnly() && t.client.probeRcpt {
		return
	}
	t.send(stageData, nil, "DATA")
	t.drain()
}

// over says that nothing more is to be sent.
func (t *transaction) over() bool { return t.broken || t.refused }

// send writes a command. Without pipelining, or when the window is full, the
// replies to earlier ones are read first.
func (t *transaction) send(st stage, r *target, text string) {
	if len(t.pending) > 0 && (!t.s.has(featPipelining) || t.ahead+len(text)+2 > window) {
		t.drain()
	}
	if t.over() || st == stageData && len(t.pending) == 0 && len(t.accepted) == 0 {
		return
	}
	t.s.within(t.limit(st))
	t.s.command(text)
	t.ahead += len(text) + 2
	t.pending = append(t.pending, step{st, r})
}

// limit is the time for a stage.
func (t *transaction) limit(st stage) time.Duration {
	c := &t.client.config
	switch st {
	case stageXforwardName, stageXforwardProto:
		return c.XforwardTimeout
	case stageMail:
		return c.MailTimeout
	case stageRcpt:
		return c.RcptTimeout
	case stageData:
		return c.DataInitTimeout
	case stageBody:
		return c.DataXferTimeout
	case stageDot:
		return c.DataDoneTimeout
	case stageAbort:
		return c.RsetTimeout
	}
	return c.QuitTimeout
}

// drain reads the replies to all that was sent.
func (t *transaction) drain() {
	for _, p := range t.pending {
		if t.broken {
			break
		}
		t.s.within(t.limit(p.stage))
		rep, err := t.s.reply()
		if err != nil {
			t.lose(err, p.stage)
			break
		}
		if t.s.uses > 1 && !t.answered && rep.code == 421 {
			t.broken, t.stale = true, true
			break
		}
		t.answered = true
		t.got(p, rep)
	}
	t.pending, t.ahead = t.pending[:0], 0
}

// lose ends the transaction with a broken connection. An idle session that was
// taken from the pool and is dead at once is nobody's failure.
func (t *transaction) lose(err error, st stage) {
	t.broken = true
	if t.s.uses > 1 && !t.answered && !smtp.IsTimeout(err) {
		t.stale = true
		return
	}
	t.streamFail(t.s, err, stages[st].while)
}

// got acts on the reply to a command.
func (t *transaction) got(p step, rep *reply) {
	s, command := t.s, stages[p.stage].command
	switch p.stage {
	case stageXforwardName, stageXforwardProto:
		if rep.class() != 2 {
			t.req.Log.Warningf("host %s said: %s (in reply to %s)", s.name, rep.line(), command)
		}
	case stageMail:
		if rep.class() != 2 {
			t.refused = true
			t.failAll(s, said(s, rep, command), false)
		}
	case stageRcpt:
		switch {
		case t.refused:
		case rep.class() != 2:
			t.failOne(s, p.rcpt, said(s, rep, command))
		case t.req.VerifyOnly() && t.client.probeRcpt:
			t.done(s, p.rcpt, rep)
		default:
			t.accepted = append(t.accepted, p.rcpt)
		}
	case stageData:
		switch {
		case rep.class() != 3:
			if len(t.accepted) > 0 {
				t.failAll(s, said(s, rep, command), false)
			}
			t.accepted = nil
		case t.req.VerifyOnly():
			t.goAhead = true
			for _, r := range t.accepted {
				t.done(s, r, rep)
			}
		default:
			t.goAhead = true
		}
	}
}

// abort ends a transaction without a message.
func (t *transaction) abort() {
	t.s.within(t.limit(stageAbort))
	t.s.command("RSET")
	t.pending = append(t.pending, step{stageAbort, nil})
	t.drain()
}

// mailCommand makes MAIL FROM with the parameters that the server knows.
func (t *transaction) mailCommand() string {
	s, req := t.s, t.req
	var b strings.Builder
	b.WriteString("MAIL FROM:<")
	b.WriteString(t.client.path(t.sender))
	b.WriteByte('>')
	if s.has(featSize) && !t.downgrades() {
		// Postfix: a message that is encoded on its way grows by an unknown size.
		b.WriteString(" SIZE=" + strconv.FormatInt(req.Size, 10))
	}
	if s.has(feat8BitMIME) {
		switch req.Encoding {
		case "8bit":
			b.WriteString(" BODY=8BITMIME")
		case "7bit":
			b.WriteString(" BODY=7BIT")
		}
	}
	if s.has(featDSN) {
		if req.EnvelopeID != "" {
			b.WriteString(" ENVID=" + smtp.EncodeXtext(req.EnvelopeID, ""))
		}
		switch req.RetFlags {
		case delivery.RetFull:
			b.WriteString(" RET=FULL")
		case delivery.RetHeaders:
			b.WriteString(" RET=HDRS")
		}
	}
	if s.has(featSMTPUTF8) && req.SendOpts&delivery.SendUTF8Requested != 0 {
		b.WriteString(" SMTPUTF8")
	}
	if t.requireTLS > requireOff && s.has(featRequireTLS) {
		b.WriteString(" REQUIRETLS")
	}
	if t.client.config.SendDummyAuth && s.has(featAuth) {
		b.WriteString(" AUTH=<>")
	}
	return b.String()
}

// rcptCommand makes RCPT TO.
func (t *transaction) rcptCommand(r *target) string {
	var b strings.Builder
	b.WriteString("RCPT TO:<")
	b.WriteString(t.client.path(r.addr))
	b.WriteByte('>')
	if !t.s.has(featDSN) {
		return b.String()
	}
	switch {
	case r.DSNOrigRcpt != "":
		kind, addr, ok := strings.Cut(r.DSNOrigRcpt, ";")
		if ok && strings.EqualFold(kind, "utf-8") {
			b.WriteString(" ORCPT=" + kind + ";" + smtp.EncodeUxtext(addr))
		} else if ok {
			b.WriteString(" ORCPT=" + kind + ";" + smtp.EncodeXtext(addr, ""))
		} else {
			b.WriteString(" ORCPT=" + smtp.EncodeXtext(r.DSNOrigRcpt, ""))
		}
	case r.OrigAddr != "":
		quoted := address.Quote822(r.OrigAddr)
		if t.s.has(featSMTPUTF8) && !isASCII(quoted) {
			b.WriteString(" ORCPT=utf-8;" + smtp.EncodeUxtext(quoted))
		} else {
			b.WriteString(" ORCPT=rfc822;" + smtp.EncodeXtext(quoted, ""))
		}
	}
	if r.Notify != 0 {
		b.WriteString(" NOTIFY=" + notifyText(r.Notify))
	}
	return b.String()
}

func notifyText(flags int) string {
	if flags&dsn.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, w := range [...]struct {
		flag int
		word string
	}{{dsn.NotifySuccess, "SUCCESS"}, {dsn.NotifyFailure, "FAILURE"}, {dsn.NotifyDelay, "DELAY"}} {
		if flags&w.flag != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ",")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > 127 {
			return false
		}
	}
	return true
}

// xforward tells a content filter who the client was
// (smtp_send_xforward_command). What is not known is left out.
func (t *transaction) xforward() {
	req := t.req
	source := "REMOTE"
	if req.RewriteContext == "local" {
		source = "LOCAL"
	}
	t.xforwardCommand(stageXforwardName, []attribute{
		{featXforwardName, "NAME", req.ClientName},
		{featXforwardAddr, "ADDR", req.ClientAddr},
		{featXforwardPort, "PORT", req.ClientPort},
	})
	t.xforwardCommand(stageXforwardProto, []attribute{
		{featXforwardProto, "PROTO", req.ClientProto},
		{featXforwardHelo, "HELO", req.ClientHelo},
		{featXforwardIdent, "IDENT", req.LogIdent},
		{featXforwardDomain, "SOURCE", source},
	})
}

// An attribute of XFORWARD, with the feature that says that it is understood.
type attribute struct {
	feature     feature
	name, value string
}

func (t *transaction) xforwardCommand(st stage, list []attribute) {
	text := "XFORWARD"
	for _, a := range list {
		if t.s.has(a.feature) && a.value != "" {
			text += " " + a.name + "=" + smtp.EncodeXtext(a.value, "")
		}
	}
	if text != "XFORWARD" {
		t.send(st, nil, text)
	}
}
