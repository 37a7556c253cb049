package smtpd

import (
	"strconv"
	"strings"

	"postern/internal/ipc/anvil"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
	"postern/internal/protocol/smtp"
)

// A recipient is what RCPT gives.
type recipient struct {
	addr   string // internal form
	orcpt  string // "rfc822;address", decoded
	notify int
}

// rcpt is RCPT TO (RFC 5321 4.1.1.3).
func (s *session) rcpt(arg string) outcome {
	switch {
	case s.tx == nil:
		return say(ok(503, "5.5.1", "Error: need MAIL command"))
	case s.bdatFailed || s.tx.bdat != nil:
		return say(ok(503, "5.5.1", "Error: RCPT after BDAT"))
	case len(arg) < 3 || !equalFold(arg[:3], "TO:") || strings.Trim(arg[3:], " \t") == "":
		return say(ok(501, "5.5.4", "Syntax: RCPT TO:<address>"))
	}
	if s.overRate(anvil.Recipient, s.conf.ClientRecipientRate, "Recipient address rate") {
		return say(ok(450, "4.7.1", "Error: too many recipients from "+s.peer.addr))
	}
	path, options, valid := cutPath(arg[3:])
	if !valid {
		return say(ok(501, "5.1.3", "Bad recipient address syntax"))
	}
	r := recipient{}
	if r.addr, valid = s.path(path, "RCPT", pathForward, s.tx.smtputf8); !valid {
		return say(ok(501, "5.1.3", "Bad recipient address syntax"))
	}
	if e := s.rcptOptions(&r, options); !e.IsZero() {
		return say(e)
	}
	if r.orcpt == "" {
		inner, _, _ := findBrackets(path).address(path)
		r.orcpt = "rfc822;" + stripRoute(strings.Trim(inner, " \t"))
	}
	if len(s.tx.recipients) >= s.conf.RecipientLimit {
		s.tx.overshoot++
		return outcome{Reply: ok(452, "4.5.3", "Error: too many recipients"), failed: s.tx.overshoot > s.conf.RecipientOvershootLimit}
	}
	o := s.checkRecipient(r.addr)
	if o.silent {
		return o
	}
	if e := s.milterRcpt(r.addr, path, options, o.Reply); !e.IsZero() {
		return say(e)
	}
	if !o.IsZero() {
		return o
	}
	return s.addRecipient(r)
}

// checkRecipient asks the policy.
func (s *session) checkRecipient(addr string) outcome {
	if s.standAlone {
		return outcome{}
	}
	s.subject.Recipient, s.subject.HasRecipient = addr, true
	r := s.policy.To(s.ctx, &s.subject)
	s.subject.HasRecipient = len(s.tx.recipients) == 1
	s.subject.Recipient = ""
	if s.subject.HasRecipient {
		s.subject.Recipient = s.tx.recipients[0]
	}
	return say(r)
}

// addRecipient writes the recipient into the record stream, which the first
// one opens.
func (s *session) addRecipient(r recipient) outcome {
	if s.tx.queue == nil {
		if err := s.openQueue(); err != nil {
			return s.startFailure(err)
		}
	} else {
		s.judged(r.addr)
	}
	if s.tx.filter != nil {
		if r, taken := s.tx.filter.Command(s.line, '2'); !taken {
			return say(r)
		}
	}
	w := s.tx.queue.Records()
	w.Attr("dsn_orig_rcpt", r.orcpt)
	if r.notify != 0 {
		w.Attr("notify_flags", strconv.Itoa(r.notify))
	}
	w.PutString(record.Rcpt, r.addr)
	s.tx.recipients = append(s.tx.recipients, r.addr)
	s.subject.Recipients = len(s.tx.recipients)
	s.subject.HasRecipient = len(s.tx.recipients) == 1
	s.subject.Recipient = ""
	if s.subject.HasRecipient {
		s.subject.Recipient = r.addr
	}
	return say(ok(250, "2.1.5", "Ok"))
}

// rcptOptions reads the parameters of RCPT.
func (s *session) rcptOptions(r *recipient, options string) smtp.Reply {
	for word := range strings.FieldsSeq(options) {
		name, value, has := strings.Cut(word, "=")
		switch name = strings.ToUpper(name); {
		case (name == "NOTIFY" || name == "ORCPT") && has && s.discards["dsn"]:
			return ok(501, "5.7.1", "DSN support is disabled")
		case name == "NOTIFY" && has:
			n, unknown := dsn.ParseNotify(value)
			if unknown != "" {
				s.log.Warningf("unknown DSN NOTIFY command value %q in %q", unknown, value)
			}
			if n == 0 || r.notify != 0 {
				return ok(501, "5.5.4", "Error: Bad NOTIFY parameter syntax")
			}
			r.notify = n
		case name == "ORCPT" && has:
			orcpt, valid := parseOrcpt(value)
			if !valid || r.orcpt != "" {
				return ok(501, "5.5.4", "Error: Bad ORCPT parameter syntax")
			}
			r.orcpt = orcpt
		default:
			return ok(555, "5.5.4", "Unsupported option: "+word)
		}
	}
	return smtp.Reply{}
}

// parseOrcpt reads "type;xtext" and returns it decoded. RFC 6533: addresses in
// UTF-8 have a type and an encoding of their own.
func parseOrcpt(value string) (string, bool) {
	typ, addr, found := strings.Cut(value, ";")
	if !found || typ == "" {
		return "", false
	}
	decode := smtp.DecodeXtext
	if strings.EqualFold(typ, "utf-8") {
		decode = smtp.DecodeUxtext
	}
	decoded, err := decode(addr)
	if err != nil || strings.ContainsAny(decoded, "\r\n\x00") {
		return "", false
	}
	return typ + ";" + address.Quote822(address.Unquote822(decoded)), true
}
