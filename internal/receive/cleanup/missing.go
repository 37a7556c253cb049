package cleanup

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/mail/address"
	"postern/internal/mail/event"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// dateLayout is the date of header fields, RFC 5322 section 3.3, with the name
// of the zone as a comment.
const dateLayout = "Mon, _2 Jan 2006 15:04:05 -0700 (MST)"

// HeaderEnd adds the fields that a message must have.
func (t *transaction) HeaderEnd() {
	if !t.ok() {
		return
	}
	defer t.markHeader()
	prefix := ""
	id, date, from := message.MessageID, message.Date, message.From
	if t.resent {
		prefix = "Resent-"
		id, date, from = message.ResentMessageID, message.ResentDate, message.ResentFrom
	}
	add := t.context != "" || t.s.config.AlwaysAddMissingHeaders
	if add && !hasBit(t.seenFields, id) {
		text := t.newMessageID()
		t.putf(record.Norm, "%sMessage-Id: <%s>", prefix, text)
		t.s.log.Event(&event.MessageID{QueueID: t.id, MessageID: "<" + text + ">", Resent: t.resent})
		t.messageID = t.messageID || !t.resent
	}
	if !t.messageID {
		t.s.log.Event(&event.MessageID{QueueID: t.id, MessageID: "<>"})
	}
	if add && !hasBit(t.seenFields, date) {
		t.putf(record.Norm, "%sDate: %s", prefix, formatDate(t.arrival))
	}
	if add && !hasBit(t.seenFields, from) {
		t.putString(record.Norm, prefix+t.fromField())
	}
	if t.sendOpts&optRequireTLS != 0 && t.requireTLSField() && !hasBit(t.seenFields, message.RequireTLS) {
		t.putString(record.Norm, message.RequireTLSField)
	}
	const visible = 1<<message.To | 1<<message.ResentTo | 1<<message.Cc | 1<<message.ResentCc
	if u := t.s.config.UndisclosedRecipients; add && u != "" && t.seenFields&visible == 0 {
		t.putString(record.Norm, u)
	}
}

func formatDate(when time.Time) string { return when.Format(dateLayout) }

// newMessageID makes a unique text of the queue id; a short queue id is used
// again later and needs the time.
func (t *transaction) newMessageID() string {
	host := t.s.common.MyHostname
	if t.s.common.EnableLongQueueIDs {
		return t.id + "@" + host
	}
	return fmt.Sprintf("%s.%s@%s", t.arrival.UTC().Format("20060102150405"), t.id, host)
}

// fromField makes a From: field of the envelope sender and the full name.
func (t *transaction) fromField() string {
	if t.sender == "" {
		return "From: MAILER-DAEMON"
	}
	addr := address.Quote822(t.sender)
	switch {
	case t.fullName == "":
		return "From: " + addr
	case t.s.fromFormat == fromObsolete:
		return "From: " + addr + " (" + quoteComment(t.fullName) + ")"
	}
	return "From: " + t.phrase(t.fullName) + " <" + addr + ">"
}

// phrase writes a name as a display name (RFC 5322): atoms, a quoted string,
// or with octets above 127 an encoded word (RFC 2047).
func (t *transaction) phrase(name string) string {
	if charset := t.s.config.FullNameCharset; charset != "" && !isASCII([]byte(name)) {
		return encodedWord(charset, name)
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != ' ' && c != '\t' && !isAtomText(c) {
			return quoteString(name)
		}
	}
	return name
}

func isAtomText(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}

func quoteString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// quoteComment makes s fit between parentheses; those that match stay as they
// are.
func quoteComment(s string) string {
	open := 0
	for i := 0; i < len(s) && open >= 0; i++ {
		switch s[i] {
		case '(':
			open++
		case ')':
			open--
		case '\\':
			open = -1
		}
	}
	if open == 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '(' || c == ')' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// encodedWord is the Q encoding of RFC 2047 section 5 (3), for a phrase.
func encodedWord(charset, s string) string {
	var b strings.Builder
	b.WriteString("=?" + charset + "?Q?")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case c < 0x7f && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("!*+-/", c) >= 0):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	b.WriteString("?=")
	return b.String()
}
