package cleanup

import (
	"bytes"
	"strings"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/address"
	"postern/internal/mail/event"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// Field takes a header field: it is checked, dropped, rewritten or written as
// it is.
func (t *transaction) Field(s message.Section, name *message.Name, field []byte) {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i] // Postfix: a header field ends with a NUL
	}
	if t.checking && t.ok() && !t.s.checks.NoHeader() {
		var keep bool
		if name, field, keep = t.checkField(s, name, field); !keep {
			return
		}
	}
	if name != nil && name.ID == message.ContentTransferEncoding {
		t.detectEncoding(field)
	}
	if s != message.Primary {
		t.putField(field)
		return
	}
	if name != nil {
		t.noteField(name, field)
		if name.Use&message.ResentUse != 0 && t.ok() {
			t.resent = true
		}
	}
	if !t.ok() || t.s.drop.has(name, field) {
		return
	}
	switch {
	case name == nil || t.context == "" || name.Use&(message.SenderUse|message.RecipientUse) == 0:
		t.putField(field)
	case name.Use&message.SenderUse != 0:
		t.rewriteField(field, headerSender)
	default:
		t.rewriteField(field, headerRecipient)
	}
}

func (t *transaction) checkField(s message.Section, name *message.Name, field []byte) (*message.Name, []byte, bool) {
	r, err := t.s.checks.Field(t.bounded(), s, name, field)
	if err != nil {
		t.checkFailed("header_checks")
		return name, field, true
	}
	changed, keep := t.act(headerContext, field, r)
	if keep && len(changed) > 0 && &changed[0] != &field[0] {
		name = message.Lookup(changed)
	}
	return name, changed, keep
}

// noteField remembers what is needed of a field, dropped or not.
func (t *transaction) noteField(name *message.Name, field []byte) {
	t.seenFields |= 1 << name.ID
	switch name.ID {
	case message.MessageID:
		t.messageID = true
		t.s.log.Event(&event.MessageID{QueueID: t.id, MessageID: rest(name, field)})
	case message.ResentMessageID:
		t.s.log.Event(&event.MessageID{QueueID: t.id, MessageID: rest(name, field), Resent: true})
	case message.Received:
		if t.hops++; t.hops == t.s.config.HopcountLimit {
			t.s.log.Warningf("%s: message rejected: hopcount exceeded", t.id)
			t.errs |= ipc.StatusHops
		}
	case message.TLSRequired:
		if bytes.EqualFold(message.Value(field), []byte("no")) {
			t.sendOpts |= optNoTLS
		}
	case message.RequireTLS:
		if t.requireTLSField() && bytes.EqualFold(message.Value(field), []byte("yes")) {
			t.sendOpts |= optRequireTLS
		}
	}
}

// requireTLSField says whether REQUIRETLS (RFC 8689) is also a header field, so
// that a content filter hands it on.
func (t *transaction) requireTLSField() bool {
	return t.s.common.RequireTLSEnable && t.s.config.RequireTLSHeader
}

// detectEncoding notes that a part of the message is not 7-bit text.
func (t *transaction) detectEncoding(field []byte) {
	v := message.Value(field)
	if t.s.config.DetectEightBit && (bytes.EqualFold(v, []byte("8bit")) || bytes.EqualFold(v, []byte("binary"))) {
		t.attrs[attrEncoding] = "8bit"
	}
}

// rest is what follows the colon, without the white space before it.
func rest(name *message.Name, field []byte) string {
	v := field[len(name.Text):]
	v = v[bytes.IndexByte(v, ':')+1:]
	return string(bytes.TrimLeft(v, " \t\r\n\v\f"))
}

// rewriteField completes and maps the addresses in a field. A field in which
// nothing changes is written as it is.
func (t *transaction) rewriteField(field []byte, c class) {
	n := message.NameLength(field)
	text := field[n:]
	text = text[bytes.IndexByte(text, ':')+1:]
	t.list.Parse(string(text), t.s.config.TokenLimit)
	changed := false
	tokens := t.list.Tokens()
	for i := range tokens {
		if tokens[i].Kind != address.Address {
			continue
		}
		addr := t.complete(t.context, tokens[i].Text)
		if t.flags&ipc.FlagMap != 0 {
			addr = t.mapAddress(addr, c)
		}
		if addr != tokens[i].Text || !t.writtenAs(&tokens[i], addr) {
			tokens[i].Text, changed = addr, true
		}
	}
	if !changed {
		t.putField(field)
		return
	}
	t.buf = t.list.AppendHeader(t.buf[:0], string(field[:n]))
	t.putField(t.buf)
}

// writtenAs says whether the address stood in the field as we would write it.
func (t *transaction) writtenAs(tok *address.Token, addr string) bool {
	t.buf = address.AppendExternal(t.buf[:0], t.list.Parts(tok))
	if addr == "" {
		return string(t.buf) == `""`
	}
	return string(t.buf) == address.Quote822(addr)
}

// putField writes a field line by line. A field longer than header_size_limit
// is cut, at the end of a line unless that takes away a tenth.
func (t *transaction) putField(field []byte) {
	if !isASCII(field) {
		t.sendOpts |= optUTF8Header
		if t.autoUTF8 {
			t.sendOpts |= optSMTPUTF8
		}
	}
	limit := t.s.config.HeaderSizeLimit
	for at := 0; at >= 0; {
		line := field[at:]
		next := -1
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], at+i+1
		}
		if at+len(line) > limit {
			if at > limit/10*9 {
				return
			}
			line, next = line[:limit-at], -1
		}
		if at > 0 && (len(line) == 0 || line[0] != ' ' && line[0] != '\t') {
			t.putf(record.Norm, "\t%s", line)
		} else {
			t.put(record.Norm, line)
		}
		at = next
	}
}

// logAddress is the form of an address in log lines (info_log_address_format).
func (t *transaction) logAddress(addr string) string {
	if strings.EqualFold(t.s.common.InfoLogAddressFormat, "internal") {
		return addr
	}
	return address.Quote822(addr)
}
