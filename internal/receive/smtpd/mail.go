package smtpd

import (
	"errors"
	"strconv"
	"strings"

	"postern/internal/ipc/anvil"
	"postern/internal/protocol/smtp"
)

// mail is MAIL FROM (RFC 5321 4.1.1.2): it begins a transaction.
func (s *session) mail(arg string) outcome {
	switch {
	case s.conf.HeloRequired && !s.subject.HasHelo:
		return say(ok(503, "5.5.1", "Error: send HELO/EHLO first"))
	case s.tx != nil:
		return say(ok(503, "5.5.1", "Error: nested MAIL command"))
	case s.bdatFailed:
		return say(ok(503, "5.5.1", "Error: MAIL after BDAT"))
	case len(arg) < 5 || !equalFold(arg[:5], "FROM:") || strings.Trim(arg[5:], " \t") == "":
		return say(ok(501, "5.5.4", "Syntax: MAIL FROM:<address>"))
	}
	if s.overRate(anvil.Message, s.conf.ClientMessageRate, "Message delivery request rate") {
		return say(ok(450, "4.7.1", "Error: too much mail from "+s.peer.addr))
	}
	path, options, valid := cutPath(arg[5:])
	if !valid {
		return say(ok(501, "5.1.7", "Bad sender address syntax"))
	}
	addr, valid := s.path(path, "MAIL", pathReverse, s.knowsUTF8() && wantsUTF8(options))
	if !valid {
		return say(ok(501, "5.1.7", "Bad sender address syntax"))
	}
	tx := &transaction{sender: addr, command: s.line, arrival: s.now()}
	if r := s.mailOptions(tx, options); !r.IsZero() {
		return say(r)
	}
	if tx.verp != "" && addr == "" {
		return say(ok(503, "5.5.4", "Error: XVERP requires non-null sender"))
	}
	if s.common.StrictSMTPUTF8 && !tx.smtputf8 && !ascii(addr) {
		return say(ok(553, "5.6.7", "Must declare SMTPUTF8 to send unicode address"))
	}
	var r smtp.Reply
	if tx.rewriteContext, r = s.rewriteContext(); !r.IsZero() {
		return say(r)
	}
	s.subject.Sender, s.subject.HasSender = addr, true
	s.subject.SASLSender = tx.authSender
	s.subject.Size, s.subject.SMTPUTF8 = tx.size, tx.smtputf8
	s.subject.Instance = s.instance()
	if o, refused := s.checkSpace(tx); refused {
		s.reset()
		return o
	}
	if !s.conf.Restrict.DelayReject && !s.standAlone {
		if r := s.policy.From(s.ctx, &s.subject); !r.IsZero() {
			s.reset()
			return say(r)
		}
	}
	if r := s.milterMail(path, options); !r.IsZero() {
		s.milters.Abort()
		s.reset()
		return say(r)
	}
	s.tx = tx
	if !s.conf.DelayOpen {
		if err := s.openQueue(); err != nil {
			o := s.startFailure(err)
			s.reset()
			return o
		}
	}
	return say(ok(250, "2.1.0", "Ok"))
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// instance names the transaction for policy servers.
func (s *session) instance() string {
	n := s.serial.Add(1)
	return strconv.FormatUint(uint64(processID), 16) + "." + strconv.FormatInt(s.now().Unix(), 16) + "." + strconv.FormatUint(n, 16) + ".0"
}

// knowsUTF8 says whether the client may ask for SMTPUTF8 (RFC 6531).
func (s *session) knowsUTF8() bool { return s.common.SMTPUTF8Enable && !s.discards["smtputf8"] }

// wantsUTF8 looks for SMTPUTF8 among the options: what the address may be
// depends on it.
func wantsUTF8(options string) bool {
	for word := range strings.FieldsSeq(options) {
		if strings.EqualFold(word, "SMTPUTF8") {
			return true
		}
	}
	return false
}

// mailOptions reads the parameters of MAIL.
func (s *session) mailOptions(tx *transaction, options string) smtp.Reply {
	for word := range strings.FieldsSeq(options) {
		name, value, has := strings.Cut(word, "=")
		switch name = strings.ToUpper(name); {
		case name == "BODY" && strings.EqualFold(value, "8BITMIME"):
			tx.encoding = "8bit"
		case name == "BODY" && strings.EqualFold(value, "7BIT"):
			tx.encoding = "7bit"
		case name == "SIZE" && has:
			n, err := strconv.ParseInt(value, 10, 64)
			if errors.Is(err, strconv.ErrRange) && value[0] != '-' {
				return ok(552, "5.3.4", "Message size exceeds file system imposed limit")
			}
			if err != nil || n < 0 || value[0] == '+' {
				return ok(501, "5.5.4", "Bad message size syntax")
			}
			tx.size = n
		case name == "AUTH" && has && s.saslConfigured():
			if tx.authGiven {
				return ok(503, "5.5.4", "Error: multiple AUTH= options")
			}
			tx.authGiven = value != "<>"
			if tx.authGiven {
				tx.authSender = printableName(value) // Postfix: as it was given, not decoded
			}
		case name == "AUTH" && has:
			// Postfix: taken without SASL too, and of no consequence.
		case name == "SMTPUTF8" && !has && s.knowsUTF8():
			tx.smtputf8 = true
		case name == "REQUIRETLS" && !has && s.requireTLSKnown():
			if s.tls == nil {
				return ok(530, "5.7.10", "REQUIRETLS is for TLS sessions: issue a STARTTLS command first")
			}
			tx.requireTLS = true
		case (name == "RET" || name == "ENVID") && has && s.discards["dsn"]:
			return ok(501, "5.7.1", "DSN support is disabled")
		case name == "XVERP" && s.verpAllowed():
			if r := s.verpOption(tx, value, has); !r.IsZero() {
				return r
			}
		case name == "RET" && has:
			if tx.ret != "" || !strings.EqualFold(value, "HDRS") && !strings.EqualFold(value, "FULL") {
				return ok(501, "5.5.4", "Bad RET parameter syntax")
			}
			tx.ret = strings.ToUpper(value)
		case name == "ENVID" && has:
			id, err := smtp.DecodeXtext(value)
			if err != nil || id == "" || tx.envelopeID != "" || !printableText(id) {
				return ok(501, "5.5.4", "Bad ENVID parameter syntax")
			}
			tx.envelopeID = id
		default:
			return ok(555, "5.5.4", "Unsupported option: "+word)
		}
	}
	return smtp.Reply{}
}

// verpAllowed says whether the client may ask for variable envelope return
// paths (smtpd_authorized_verp_clients). Postfix: also where the keyword is
// discarded.
func (s *session) verpAllowed() bool {
	ok, err := s.verpClients.Match(s.ctx, s.peer.name, s.peer.addr)
	return err == nil && ok
}

// verpOption reads XVERP, or XVERP= with two delimiters.
func (s *session) verpOption(tx *transaction, value string, has bool) smtp.Reply {
	tx.verp = s.common.DefaultVerpDelimiters
	if has {
		tx.verp = value
	}
	allowed := s.common.VerpDelimiterFilter
	if len(tx.verp) != 2 || strings.IndexByte(allowed, tx.verp[0]) < 0 || strings.IndexByte(allowed, tx.verp[1]) < 0 {
		return ok(501, "5.5.4", "Error: XVERP needs two characters from "+allowed)
	}
	return smtp.Reply{}
}

// printableText says that s can stand in a record and a header field.
func printableText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// checkSpace refuses a message that is announced too large, or when the disk
// is nearly full.
func (s *session) checkSpace(tx *transaction) (outcome, bool) {
	limit := s.common.MessageSizeLimit
	if limit > 0 && tx.size > limit {
		return s.refuse(552, "5.3.4", "Message size exceeds fixed limit"), true
	}
	free, err := s.statfs()
	if err != nil {
		s.log.Warningf("statfs of the queue directory: %v", err)
		return outcome{}, false
	}
	need := max(s.conf.QueueMinFree, limit+limit/2, tx.size)
	if free <= need {
		s.log.Warningf("not enough free space in mail queue: %d bytes < 1.5*message size limit", free)
		return s.refuse(452, "4.3.1", "Insufficient system storage"), true
	}
	return outcome{}, false
}
