package cleanup

import (
	"bytes"
	"strings"

	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/envelope"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
	"postern/internal/protocol/milter"
	"postern/internal/protocol/smtp"
)

// An editor changes the queue file as milters say.
type editor struct{ *transaction }

var _ milter.Editor = editor{}

// putEdited writes a header field behind the end of the message.
func (e editor) putEdited(field string) {
	t, at := e.transaction, e.w.Offset()
	t.layout.inHeader = true
	t.putField([]byte(field))
	t.layout.inHeader = false
	t.layout.delta += t.w.Offset() - at
}

// withField has a field checked and written, and calls link with its place, to
// make it part of the header.
func (e editor) withField(name, space, value string, link func(at int64)) error {
	field, keep := e.checkMilterField(name + ":" + space + value)
	if !keep {
		return e.edited()
	}
	at, err := e.beginEdit()
	if err != nil {
		return err
	}
	e.putEdited(field)
	link(at)
	return e.edited()
}

// AddHeader puts a field at the end of the header.
func (e editor) AddHeader(name, space, value string) error {
	return e.withField(name, space, value, func(at int64) {
		end := e.pointer(e.layout.afterHeader)
		e.jump(e.layout.header, at)
		e.layout.header = end
	})
}

// InsertHeader puts a field in front of the one with the number, or at the end.
func (e editor) InsertHeader(index int, name, space, value string) error {
	place, err := e.find(func(f *fieldPlace) bool { return f.number >= index })
	if err != nil {
		return err
	}
	if place == nil {
		return e.AddHeader(name, space, value)
	}
	return e.withField(name, space, value, func(at int64) {
		moved := e.w.Offset()
		e.written(e.w.Put(place.firstType, place.first))
		e.pad(moved)
		e.pointer(place.next)
		e.jump(place.at, at)
	})
}

// find returns the first field for which match says true, nil when there is none.
func (e editor) find(match func(f *fieldPlace) bool) (*fieldPlace, error) {
	var found *fieldPlace
	err := e.fields(func(f *fieldPlace) bool {
		if match(f) {
			found = f
		}
		return found == nil
	})
	if err != nil {
		e.failed(err)
	}
	return found, err
}

// named finds the index'th field of a name, our own Received: field apart.
func (e editor) named(index int, name string) (*fieldPlace, error) {
	n, seen := 0, false
	return e.find(func(f *fieldPlace) bool {
		length := message.NameLength(f.first)
		if ownReceived(f.first, &seen) || !strings.EqualFold(string(f.first[:length]), name) {
			return false
		}
		n++
		return n >= index
	})
}

// ChangeHeader changes a field; one that does not exist is added.
func (e editor) ChangeHeader(index int, name, space, value string) error {
	place, err := e.named(index, name)
	if err != nil {
		return err
	}
	if place == nil {
		return e.AddHeader(name, space, value)
	}
	return e.withField(name, space, value, func(at int64) {
		e.layout.delta -= place.size
		e.pointer(place.end)
		e.jump(place.at, at)
	})
}

// DeleteHeader takes a field out.
func (e editor) DeleteHeader(index int, name string) error {
	place, err := e.named(index, name)
	if err != nil || place == nil {
		return err
	}
	if _, err := e.beginEdit(); err != nil {
		return err
	}
	e.layout.delta -= place.size
	e.jump(place.at, place.end)
	return e.edited()
}

// Body writes lines of a new body. Between its pieces other changes may stand.
func (e editor) Body(text []byte, first bool) error {
	t := e.transaction
	at, err := t.beginEdit()
	if err != nil {
		return err
	}
	if first {
		t.bodyLine = t.bodyLine[:0]
		t.layout.delta -= t.bodySize
		t.bodySize = 0
		t.put(record.Norm, nil)
		t.jump(t.layout.body, at)
	} else {
		t.jump(t.layout.newBody, at)
	}
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			t.bodyLine = append(t.bodyLine, text...)
			break
		}
		t.bodyLine = append(t.bodyLine, text[:i]...)
		t.put(record.Norm, bytes.TrimSuffix(t.bodyLine, []byte{'\r'}))
		t.bodyLine, text = t.bodyLine[:0], text[i+1:]
	}
	if len(t.bodyLine) > t.s.common.LineLengthLimit {
		// What is left may begin the next piece: a CR before its LF goes.
		keep := len(t.bodyLine) - 1
		t.put(record.Cont, t.bodyLine[:keep])
		t.bodyLine = append(t.bodyLine[:0], t.bodyLine[keep])
	}
	t.bodySize += t.w.Offset() - at
	t.layout.delta += t.w.Offset() - at
	t.layout.newBody = t.pointer(t.contentEnd)
	if limit := t.s.common.MessageSizeLimit; limit > 0 && t.bodySize > limit {
		t.failed(errBody)
	}
	return t.edited()
}

// EndBody writes what is left of a last line without an end.
func (e editor) EndBody() error {
	if len(e.bodyLine) == 0 {
		return nil
	}
	return e.Body([]byte{'\n'}, false)
}

// one takes an address as a milter writes it apart; false when there is none. Of
// several only the first counts.
func (e editor) one(text, what string) (addr string, ok bool) {
	e.list.Parse(text, e.s.config.TokenLimit)
	n := 0
	for _, tok := range e.list.Tokens() {
		if tok.Kind != address.Address {
			continue
		}
		if n++; n == 1 {
			addr = tok.Text
		}
	}
	if n > 1 {
		e.s.log.Warningf("%s: %s: \"%s\"", e.id, what, text)
	}
	return addr, n > 0
}

// AddRecipient adds a recipient and whatever it is an alias for.
func (e editor) AddRecipient(text, args string) error {
	addr, ok := e.one(text, "Milter or header/body_checks request to add multi-recipient")
	if !ok || addr == "" {
		e.s.log.Warningf("%s: ignoring attempt from Milter to add null recipient", e.id)
		return nil
	}
	orig, notify := "", 0
	for word := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(word, "=")
		switch strings.ToUpper(name) {
		case "NOTIFY":
			n, unknown := dsn.ParseNotify(value)
			if unknown != "" {
				e.s.log.Warningf("unknown DSN NOTIFY command value \"%.100s\" in \"%.100s\"", unknown, value)
			}
			if n == 0 || notify != 0 {
				e.s.log.Warningf("%s: Bad NOTIFY parameter from Milter or header/body_checks: \"%.100s\"", e.id, args)
				n = notify
			}
			notify = n
		case "ORCPT":
			o, good := parseORCPT(value)
			if !good || orig != "" {
				e.s.log.Warningf("%s: Bad ORCPT parameter from Milter or header/body_checks: \"%.100s\"", e.id, args)
				o = orig
			}
			orig = o
		default:
			e.s.log.Warningf("%s: ignoring ESMTP argument from Milter or header/body_checks: \"%.100s\"", e.id, word)
		}
	}
	at, err := e.beginEdit()
	if err != nil {
		return err
	}
	full := e.mapEnvelope(e.complete(rewrite.Local, addr), envelopeRecipient)
	e.outRecipient(full, full, orig, notify)
	if e.w.Offset() == at {
		return e.edited() // it is there already
	}
	end := e.pointer(e.layout.afterRecipients)
	e.jump(e.layout.recipients, at)
	e.layout.recipients = end
	return e.edited()
}

// printable says that text can stand in a record and a header field.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// parseORCPT reads "type;xtext" and returns it decoded.
func parseORCPT(value string) (string, bool) {
	typ, addr, found := strings.Cut(value, ";")
	decoded, err := smtp.DecodeXtext(addr)
	if !found || typ == "" || decoded == "" || err != nil || strings.ContainsAny(decoded, "\r\n\x00") {
		return "", false
	}
	return typ + ";" + address.Quote822(address.Unquote822(decoded)), true
}

// DeleteRecipient takes away the recipients that go by this address, whether
// before or after aliases.
func (e editor) DeleteRecipient(text string) error {
	addr, ok := e.one(text, "Milter request to drop multi-recipient")
	if !ok || addr == "" {
		return nil
	}
	addr = e.mapEnvelope(e.complete(rewrite.Local, addr), envelopeRecipient)
	env, err := envelope.Read(e.draft, bounceStep)
	for ; err == nil; err = env.More(e.draft, bounceStep) {
		for i := range env.Recipients {
			r := &env.Recipients[i]
			if r.Orig != addr && r.Address != addr {
				continue
			}
			_, err := e.draft.WriteAt([]byte{byte(record.Canceled)}, r.Offset)
			e.written(err)
			e.forget(r.Address, r.Orig, r.DSNOrig, r.Notify)
		}
		if env.Next == 0 {
			return e.edited()
		}
	}
	e.failed(err)
	return err
}

// ChangeSender writes another sender.
func (e editor) ChangeSender(text, args string) error {
	addr, _ := e.one(text, "Milter request to add multi-sender")
	at, err := e.beginEdit()
	if err != nil {
		return err
	}
	addr = e.mapEnvelope(e.complete(rewrite.Local, addr), envelopeSender)
	e.needUTF8(addr, optUTF8Sender)
	e.senderArgs(args)
	e.putString(record.Sender, addr)
	e.sender = addr
	e.pointer(e.layout.afterSender)
	e.jump(e.layout.sender, at)
	return e.edited()
}

// senderArgs writes what the ESMTP parameters of a new sender say.
func (e editor) senderArgs(args string) {
	ret, envid := 0, ""
	for word := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(word, "=")
		n, id, good := 0, "", false
		switch strings.ToUpper(name) {
		case "RET":
			n = map[string]int{"FULL": 1, "HDRS": 2}[strings.ToUpper(value)]
			good = n != 0
		case "ENVID":
			var err error
			id, err = smtp.DecodeXtext(value)
			good = err == nil && id != "" && printable(id)
		}
		if !good {
			e.s.log.Warningf("Ignoring bad ESMTP parameter \"%.100s\" in SMFI_CHGFROM request", word)
			continue
		}
		if n != 0 {
			ret = n
		} else {
			envid = id
		}
	}
	if envid != "" {
		e.envelopeID = envid
		e.putf(record.Attr, "envelope_id=%s", envid)
	}
	if ret != 0 {
		e.retFlags = ret
		e.putf(record.Attr, "ret_flags=%d", ret)
	}
}
