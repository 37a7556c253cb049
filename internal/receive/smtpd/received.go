package smtpd

import (
	"fmt"
	"strings"

	"postern/internal/mail/address"
	"postern/internal/mail/record"
)

// received writes the trace field of this system on top of the message, and
// above it what PREPEND asked for (RFC 5321 4.4).
func (s *session) received(w *record.Writer) {
	for _, line := range s.subject.Effects.Prepend {
		w.PutString(record.Norm, line)
	}
	if !s.conf.HideClientSession {
		helo := s.subject.Helo
		if !s.subject.HasHelo {
			helo = s.peer.name
		}
		w.Printf(record.Norm, "Received: from %s (%s [%s])", helo, s.peer.name, s.peer.literal())
		s.receivedTLS(w)
		if s.conf.SASL.AuthenticatedHeader && s.subject.SASLUsername != "" {
			w.Printf(record.Norm, "\t(Authenticated sender: %s)", commentText(s.subject.SASLUsername))
		}
		w.Printf(record.Norm, "\tby %s (%s) with %s%s%s", s.common.MyHostname, s.common.MailName,
			s.withProtocol(), s.receivedID(), s.forSemicolon())
	} else {
		w.Printf(record.Norm, "Received: by %s (%s)%s%s", s.common.MyHostname, s.common.MailName, s.receivedID(), s.forSemicolon())
	}
	date := s.tx.arrival.Format(dateLayout)
	if len(s.tx.recipients) == 1 {
		w.Printf(record.Norm, "\tfor <%s>; %s", address.Quote822(s.tx.recipients[0]), date)
	} else {
		w.PutString(record.Norm, "\t"+date)
	}
}

// receivedID names the queue file, which a message that goes to a filter does
// not have.
func (s *session) receivedID() string {
	if s.queueID() == "" {
		return ""
	}
	return " id " + s.queueID()
}

// forSemicolon ends the line before the date when no recipient is named:
// several recipients must not learn of each other.
func (s *session) forSemicolon() string {
	if len(s.tx.recipients) == 1 {
		return ""
	}
	return ";"
}

// withProtocol is the protocol of RFC 3848 and RFC 6531: ESMTPSA, UTF8SMTP.
func (s *session) withProtocol() string {
	p := s.subject.Protocol
	if s.tx.smtputf8 && p == "ESMTP" {
		p = "UTF8SMTP"
	}
	if p == "" {
		p = "SMTP"
	}
	if p != "SMTP" {
		if s.tls != nil {
			p += "S"
		}
		if s.auth != nil {
			p += "A"
		}
	}
	return p
}

// receivedTLS writes the comment about TLS (smtpd_tls_received_header).
func (s *session) receivedTLS(w *record.Writer) {
	if s.tls == nil || !s.conf.TLS.ReceivedHeader {
		return
	}
	t := s.tls
	lines := []string{fmt.Sprintf("(using %s with cipher %s (%d/%d bits)", t.Protocol, t.Cipher, t.Bits, t.Bits)}
	for _, d := range []string{t.ServerDetails(), t.ClientDetails()} {
		if d != "" {
			lines = append(lines, " "+d)
		}
	}
	lines[len(lines)-1] += ")"
	for _, l := range lines {
		w.PutString(record.Norm, "\t"+l)
	}
	switch {
	case t.Peer != nil && t.Trusted:
		w.Printf(record.Norm, "\t(Client CN \"%s\", Issuer \"%s\" (verified OK))", commentText(t.PeerCN), commentText(t.IssuerCN))
	case t.Peer != nil:
		w.Printf(record.Norm, "\t(Client CN \"%s\", Issuer \"%s\" (not verified))", commentText(t.PeerCN), commentText(t.IssuerCN))
	case t.AskedCert:
		w.PutString(record.Norm, "\t(Client did not present a certificate)")
	default:
		w.PutString(record.Norm, "\t(No client certificate requested)")
	}
}

// commentText makes text safe inside a comment: balanced parentheses, nothing
// that quotes (Postfix: comment_sanitize).
func commentText(text string) string {
	b := []byte(text)
	depth := 0
	for i, c := range b {
		switch {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ')', c == '\\', c < ' ', c >= 0x7f:
			b[i] = '?'
		}
	}
	return string(b) + strings.Repeat(")", depth)
}
