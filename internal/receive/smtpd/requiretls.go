package smtpd

import (
	"strings"

	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// requireTLSKnown says whether a client may ask for REQUIRETLS (RFC 8689).
func (s *session) requireTLSKnown() bool {
	return s.common.RequireTLSEnable && !s.standAlone && !s.discards["requiretls"]
}

// requireTLSOffered says whether EHLO announces REQUIRETLS: only within TLS
// (RFC 8689 3).
func (s *session) requireTLSOffered() bool { return s.tls != nil && s.requireTLSKnown() }

// The wish for REQUIRETLS comes to a filter as a header field: filters do not
// know the extension, and the connection to them has no TLS. Without that field
// (requiretls_esmtp_header = no) the filter gets the parameter and may refuse
// it, because the wish must not be lost in silence.

// filterMail is MAIL as the filter is told it.
func (s *session) filterMail() string {
	if !s.tx.requireTLS || !s.conf.RequireTLSHeader {
		return s.tx.command
	}
	_, arg, _ := strings.Cut(s.tx.command, ":")
	path, options, _ := cutPath(arg)
	words := []string{"MAIL FROM:" + strings.TrimSpace(path)}
	for word := range strings.FieldsSeq(options) {
		if !strings.EqualFold(word, "REQUIRETLS") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// requireTLSField begins the message for a filter with the wish. Postfix: in the
// queue it is cleanup that adds the field.
func (s *session) requireTLSField(w *record.Writer) {
	if s.tx.filter != nil && s.tx.requireTLS && s.conf.RequireTLSHeader {
		w.PutString(record.Norm, message.RequireTLSField)
	}
}
