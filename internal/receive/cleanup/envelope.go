package cleanup

import (
	"strconv"
	"strings"
	"time"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
)

// Named attributes that cleanup looks at.
const (
	attrEncoding   = "encoding"
	attrLogOrigin  = "log_message_origin"
	attrLogHelo    = "log_helo_name"
	attrLogProto   = "log_protocol_name"
	attrContext    = "rewrite_context"
	attrTraceFlags = "trace_flags"
	attrSASLMethod = "sasl_method"
	attrSASLUser   = "sasl_username"
	attrSASLSender = "sasl_sender"
	attrClientName = "client_name"
	attrReverse    = "reverse_client_name"
	attrClientAddr = "client_address"
	attrClientPort = "client_port"
	attrServerAddr = "server_address"
	attrServerPort = "server_port"
	attrHelo       = "helo_name"
)

// The rewriting contexts of header addresses.
const (
	rewriteLocal  = "local"
	rewriteRemote = "remote"
)

// Record types of the envelope, and those that say that the recipients begin.
const (
	envelopeTypes  = "MCTcFILSDROWVA>K<ionfde/m"
	envelopeRcpt   = "MDRO/on"
	extractedTypes = "EDROPreAFIL>Kon/f<i"
	extractedRcpt  = "EDRO/on"
)

func oneOf(types string, t record.Type) bool { return strings.IndexByte(types, byte(t)) >= 0 }

// envelopeRecord takes a record of the first segment.
func (t *transaction) envelopeRecord(typ record.Type, data []byte) {
	if !oneOf(envelopeTypes, typ) {
		t.bad("unexpected record type %d in envelope", typ)
		return
	}
	mapped, value, ok := t.before(typ, data, envelopeRcpt)
	if !ok {
		return
	}
	if t.recipientRecord(typ, mapped, data, value) {
		return
	}
	if typ == record.Milters {
		t.miltersRecord(data)
		return
	}
	if typ == record.Mesg {
		t.endEnvelope()
		return
	}
	if t.inRcpt {
		t.qmgrFlags |= record.MixedRecipients
	}
	t.otherRecord(typ, mapped, data, value)
}

// before does what comes before a record of either envelope segment is used: flags
// are taken, a named attribute gets its type and value, and what has to stand before
// the recipients is written when a record of the types rcpt comes. Not ok means that
// nothing is left to do.
func (t *transaction) before(typ record.Type, data []byte, rcpt string) (mapped record.Type, value []byte, ok bool) {
	if typ == record.Flags {
		t.extraFlags(data)
		return 0, nil, false
	}
	mapped, value, ok = t.mapAttr(typ, data)
	if ok && !t.inRcpt && oneOf(rcpt, mapped) {
		t.beforeRecipients()
	}
	return mapped, value, ok
}

// extraFlags are flags that the client learnt after the start.
func (t *transaction) extraFlags(data []byte) {
	n, err := strconv.Atoi(string(data))
	extra := ipc.Flags(n)
	if err != nil || extra&^ipc.MaskExtra != 0 {
		t.s.log.Warningf("%s: ignoring bad extra flags: 0x%x", t.id, n)
		return
	}
	t.flags |= extra
}

// mapAttr gives a named attribute that stands for a record type its type and
// value.
func (t *transaction) mapAttr(typ record.Type, data []byte) (mapped record.Type, value []byte, ok bool) {
	if typ != record.Attr {
		return typ, data, true
	}
	name, value, ok := cutAttr(data)
	if !ok {
		t.bad("malformed attribute: %.100s", data)
		return 0, nil, false
	}
	return record.AttrType(string(name)), value, true
}

// beforeRecipients writes what has to stand before the recipients.
func (t *transaction) beforeRecipients() {
	t.inRcpt = true
	if t.filter != "" {
		t.putString(record.Filter, t.filter)
	}
	if t.redirect != "" {
		t.putString(record.Redirect, t.redirect)
	}
	if e := t.attrs[attrEncoding]; e != "" && t.segment == inExtracted {
		t.putf(record.Attr, "%s=%s", attrEncoding, e)
	}
	if t.segment == inEnvelope {
		t.delayWarning()
	}
}

// delayWarning writes when the sender is to be told of a delay.
func (t *transaction) delayWarning() {
	after := t.s.config.DelayWarningTime
	if t.seenWarn || after <= 0 || t.sender == "" {
		return
	}
	t.seenWarn = true
	t.putf(record.Warn, "%15d", t.arrival.Add(after).Unix())
}

// recipientRecord takes a record that has to do with recipients and says
// whether it was one.
func (t *transaction) recipientRecord(typ, mapped record.Type, data, value []byte) bool {
	switch {
	case typ == record.Rcpt:
		if !t.seenSender {
			t.s.log.Warningf("%s: envelope recipient precedes sender", t.id)
			t.errs |= ipc.StatusBad
			return true
		}
		addr := string(data)
		if t.origRcpt == "" {
			t.origRcpt = addr
		}
		t.recipient(addr)
		t.origRcpt, t.dsnOrig, t.dsnNotify = "", "", 0
	case typ == record.Done || typ == record.Canceled:
		t.origRcpt, t.dsnOrig, t.dsnNotify = "", "", 0
	case mapped == record.DSNOrig:
		if t.dsnOrig != "" {
			t.s.log.Warningf("%s: ignoring out-of-order DSN original recipient record <%.200s>", t.id, t.dsnOrig)
		}
		t.dsnOrig = string(value)
	case mapped == record.Notify:
		t.notify(string(value))
	case typ == record.OrigRcpt:
		if t.origRcpt != "" {
			t.s.log.Warningf("%s: ignoring out-of-order original recipient record <%.200s>", t.id, data)
		}
		t.origRcpt = string(data)
	default:
		return false
	}
	return true
}

func (t *transaction) notify(value string) {
	n, err := strconv.Atoi(value)
	switch {
	case err != nil || !dsn.ValidNotify(n):
		t.s.log.Warningf("%s: ignoring malformed DSN notify record <%.200s>", t.id, value)
		return
	case t.dsnNotify != 0:
		t.s.log.Warningf("%s: ignoring out-of-order DSN notify record <%d>", t.id, t.dsnNotify)
	}
	t.dsnNotify = n
	t.qmgrFlags |= n << 1
}

// otherRecord takes a record that has nothing to do with recipients.
func (t *transaction) otherRecord(typ, mapped record.Type, data, value []byte) {
	switch mapped {
	case record.Size, record.CTime, record.RRTo, record.ErrTo, record.Killed, record.Delay:
		return // our own, or not from clients
	case record.Time:
		t.arrivalRecord(data)
		return
	case record.FullName:
		if t.fullName == "" {
			t.fullName = string(data)
		}
	case record.Sender:
		t.senderRecord(string(data))
		return
	case record.Warn:
		if t.seenWarn {
			return
		}
		t.seenWarn = true
	case record.Verp:
		if !t.verpRecord(string(data)) {
			return
		}
	case record.DSNEnvID:
		t.envelopeID = string(value)
	case record.DSNRet:
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 || n > 3 {
			t.bad("bad DSN RET flags: %.100s", value)
			return
		}
		t.retFlags = n
	case record.Attr:
		if !t.attribute(data) {
			return
		}
	}
	t.put(typ, data)
}

func (t *transaction) arrivalRecord(data []byte) {
	if !t.arrival.IsZero() {
		return
	}
	sec, usec, _ := strings.Cut(string(data), " ")
	s, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || s <= 0 {
		t.bad("malformed time record: %.100s", data)
		return
	}
	us, _ := strconv.ParseInt(strings.TrimSpace(usec), 10, 64)
	t.arrival = time.Unix(s, us%1_000_000*1000)
	t.put(record.Time, data)
	t.putf(record.Attr, "create_time=%d", t.s.now().Unix())
}

func (t *transaction) senderRecord(addr string) {
	if t.seenSender {
		t.bad("multiple envelope sender records")
		return
	}
	t.envelopeSender(addr)
}

func (t *transaction) verpRecord(delimiters string) bool {
	filter := t.s.common.VerpDelimiterFilter
	switch {
	case !t.seenSender || t.sender == "":
		t.bad("VERP for a null or missing sender")
		return false
	case len(delimiters) != 2 || !strings.Contains(filter, delimiters[:1]) || !strings.Contains(filter, delimiters[1:]):
		t.s.log.Warningf("%s: bad VERP delimiters: \"%.100s\"", t.id, delimiters)
		t.errs |= ipc.StatusBad
		return false
	}
	t.verp = delimiters
	return true
}

// attribute takes a named attribute and says whether it goes into the file.
func (t *transaction) attribute(data []byte) bool {
	limit := t.s.common.QueueFileAttributeCountLimit
	if t.attrCount++; t.attrCount > limit {
		t.bad("attribute count exceeds limit %d", limit)
		return false
	}
	name, value, _ := cutAttr(data)
	switch string(name) {
	case attrContext:
		return t.setContext(string(value))
	case attrTraceFlags:
		n, err := strconv.Atoi(string(value))
		if err != nil {
			t.bad("bad %s attribute: %.100s", name, value)
			return false
		}
		t.traceFlags = n
	case attrEncoding, attrLogOrigin, attrLogHelo, attrLogProto, attrSASLMethod, attrSASLUser, attrSASLSender,
		attrClientName, attrReverse, attrClientAddr, attrClientPort, attrServerAddr, attrServerPort, attrHelo:
		t.attrs[string(name)] = string(value)
	}
	return true
}

// setContext chooses how header addresses are completed.
func (t *transaction) setContext(value string) bool {
	switch {
	case value == rewriteLocal:
		t.context = rewriteLocal
	case value == rewriteRemote && t.s.config.RemoteRewriteDomain != "":
		t.context = rewriteRemote
	case value == rewriteRemote:
		t.context = ""
	default:
		t.bad("bad rewriting context: %.100s", value)
		return false
	}
	return true
}

// endEnvelope goes on to the content.
func (t *transaction) endEnvelope() {
	switch {
	case !t.seenSender:
		t.bad("missing sender envelope record")
		return
	case t.arrival.IsZero():
		t.bad("missing time envelope record")
		return
	}
	t.inRcpt = false
	t.emulateMail()
	t.markRecipients()
	t.beginContent()
}
