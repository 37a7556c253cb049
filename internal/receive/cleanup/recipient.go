package cleanup

import (
	"errors"
	"strconv"
	"strings"

	"postern/internal/ipc/bounce"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
	"postern/internal/table"
)

// envelopeSender takes the sender's address.
func (t *transaction) envelopeSender(addr string) {
	addr = t.completeEnvelope(addr, envelopeSender)
	addr = t.mapEnvelope(addr, envelopeSender)
	t.needUTF8(addr, optUTF8Sender)
	at := t.w.Offset()
	t.putString(record.Sender, addr)
	t.markSender(at)
	t.sender, t.seenSender = addr, true
	t.bccFrom(t.s.senderBCC, addr)
	if t.rcptCount > 1 {
		// What the client goes on to say of the message stands behind these
		// recipients.
		t.qmgrFlags |= record.MixedRecipients
	}
}

// recipient takes one recipient of the client's.
func (t *transaction) recipient(addr string) {
	t.emulateMail()
	if addr == "" {
		addr = t.s.common.EmptyAddressRecipient
	}
	addr = t.completeEnvelope(addr, envelopeRecipient)
	addr = t.mapEnvelope(addr, envelopeRecipient)
	if t.dsnOrig == "" {
		t.dsnOrig = t.addressType(addr) + ";" + addr
	}
	t.needUTF8(addr, 0)
	t.outRecipient(addr, t.origRcpt, t.dsnOrig, t.dsnNotify)
	t.rcpt, t.seenRcpt = addr, true
	t.emulateRcpt(addr)
	t.bccFrom(t.s.rcptBCC, addr)
}

// addressType is the address type of an original recipient (RFC 3461, RFC 6533).
func (t *transaction) addressType(addr string) string {
	if t.flags&ipc.FlagAutoUTF8 != 0 && !isASCII([]byte(addr)) {
		return "utf-8"
	}
	return "rfc822"
}

// complete makes an address complete; when that is not possible now, the
// message has to wait.
func (t *transaction) complete(rules, addr string) string {
	full, err := t.s.rewrite.Rewrite(t.bounded(), rules, addr)
	if err != nil {
		t.failed(err)
		return addr
	}
	return full
}

// completeEnvelope makes an envelope address complete.
func (t *transaction) completeEnvelope(addr string, c class) string {
	full := t.complete(rewrite.Local, addr)
	t.observe(c, "trivial-rewrite", addr, full)
	return full
}

// mapEnvelope applies canonical maps and masquerading to an envelope address.
func (t *transaction) mapEnvelope(addr string, c class) string {
	if t.flags&ipc.FlagMap == 0 {
		return addr
	}
	return t.mapAddress(addr, c)
}

// mapAddress applies canonical maps and masquerading to an address of class c.
func (t *transaction) mapAddress(addr string, c class) string {
	for i := range t.s.canonical {
		m := &t.s.canonical[i]
		if m.class&c == 0 || m.maps.Empty() {
			continue
		}
		mapped, err := t.s.mapper.One(t.bounded(), m.maps, addr, t.s.propagate.canonical, func(err error) {
			t.s.log.Warningf("%s: %v", t.id, err)
		})
		if err != nil {
			t.canonicalError(err)
		}
		t.observe(c, m.maps.Title(), addr, mapped)
		addr = mapped
	}
	if t.s.masqClass&c != 0 && !t.s.masquerade.Empty() {
		mapped, err := t.s.masquerade.Apply(t.bounded(), addr)
		if err != nil {
			t.failed(err)
		}
		t.observe(c, "masquerade_domains", addr, mapped)
		addr = mapped
	}
	return addr
}

// canonicalError tells of a table that cannot be asked, for which the message
// waits, or of one that makes no sense. Postfix: then any of the addresses will do.
func (t *transaction) canonicalError(err error) {
	t.s.log.Warningf("%s: %v", t.id, err)
	var e *addrmap.Error
	if !errors.As(err, &e) || e.Temporary() {
		t.errs |= ipc.StatusWrite
	}
}

// needUTF8 notes what an address asks of the next hop.
func (t *transaction) needUTF8(addr string, opt int) {
	if addr == "" || isASCII([]byte(addr)) {
		return
	}
	t.sendOpts |= opt
	if t.autoUTF8 {
		t.sendOpts |= optSMTPUTF8
	}
}

// bccFrom adds the recipient that maps have for addr.
func (t *transaction) bccFrom(maps *table.Maps, addr string) {
	if maps.Empty() || t.flags&ipc.FlagBCC == 0 || addr == "" || !t.ok() {
		return
	}
	bcc, _, found, err := t.s.mapper.Find(t.bounded(), maps, addr)
	switch {
	case err != nil:
		t.s.log.Warningf("%s: %s map lookup problem -- message not accepted, try again later", t.id, maps.Title())
		t.errs |= ipc.StatusWrite
	case found:
		t.observe(envelopeRecipient, maps.Title(), addr, address.Unquote822(bcc))
		t.addBCC(bcc)
	}
}

// addBCC adds a recipient about whom the sender is told nothing.
func (t *transaction) addBCC(external string) {
	addr := t.completeEnvelope(address.Unquote822(external), envelopeRecipient)
	addr = t.mapEnvelope(addr, envelopeRecipient)
	t.outRecipient(addr, addr, "", dsn.NotifyNever)
}

// outRecipient writes the recipients for which addr stands.
func (t *transaction) outRecipient(addr, orig, dsnOrig string, notify int) {
	if orig == "" {
		orig = addr
	}
	if t.flags&ipc.FlagMap == 0 || t.s.virtual.Empty() {
		t.putRecipient(addr, orig, dsnOrig, notify)
		return
	}
	c := &t.s.config
	list, err := t.s.mapper.Expand(t.bounded(), t.s.virtual, addr, t.s.propagate.virtual, addrmap.Limits{
		Expansion: c.VirtualAliasExpansion, Recursion: c.VirtualAliasRecursion, Length: c.VirtualAliasLength,
	})
	if err != nil {
		t.aliasError(err)
	}
	t.observe(envelopeRecipient, t.s.virtual.Title(), addr, list...)
	if notify&dsn.NotifySuccess != 0 && (len(list) > 1 || list[0] != addr) {
		notify = t.expandedNotice(addr, orig, dsnOrig, notify)
	}
	for _, a := range list {
		t.putRecipient(a, orig, dsnOrig, notify)
	}
}

func (t *transaction) aliasError(err error) {
	t.s.log.Warningf("%s: %v", t.id, err)
	t.reason = "4.6.0 Alias expansion error"
	var e *addrmap.Error
	if errors.As(err, &e) && !e.Temporary() {
		t.errs |= ipc.StatusDefer
	} else {
		t.errs |= ipc.StatusWrite
	}
}

// expandedNotice tells the sender, who asked to be told of success, that the
// recipient was an alias, and returns what the new recipients' NOTIFY is (RFC
// 3461 section 5.2.7.3, case b).
func (t *transaction) expandedNotice(addr, orig, dsnOrig string, notify int) int {
	if t.ok() {
		err := t.s.trace.Append(t.bounded(), t.draft.ID(), bounce.FlagClean, bounce.Recipient{
			Address: addr, OrigAddr: orig, DSNOrigRcpt: dsnOrig, Notify: notify,
		}, dsn.Result{Status: "2.0.0", Action: "expanded", Reason: "alias expanded"})
		if err != nil {
			t.failed(err)
		} else {
			t.expanded = true
		}
	}
	if notify == dsn.NotifySuccess {
		return dsn.NotifyNever
	}
	return notify &^ dsn.NotifySuccess
}

// putRecipient writes one recipient unless it was written before.
func (t *transaction) putRecipient(addr, orig, dsnOrig string, notify int) {
	if !t.ok() || t.duplicate(addr, orig, dsnOrig, notify) {
		return
	}
	if notify != 0 {
		t.putf(record.Attr, "notify_flags=%d", notify)
	}
	if dsnOrig != "" {
		t.putf(record.Attr, "dsn_orig_rcpt=%s", dsnOrig)
	}
	t.putString(record.OrigRcpt, orig)
	t.putString(record.Rcpt, addr)
	t.rcptCount++
}

// duplicate says whether the recipient has been written. Recipients that
// differ in what the sender called them are different
// (enable_original_recipient).
func (t *transaction) duplicate(addr, orig, dsnOrig string, notify int) bool {
	return t.dups.Add(t.dupKey(addr, orig, dsnOrig, notify))
}

func (t *transaction) dupKey(addr, orig, dsnOrig string, notify int) string {
	if !t.s.common.EnableOriginalRecipient {
		return addr
	}
	return strings.Join([]string{dsnOrig, strconv.Itoa(notify), orig, addr}, "\n")
}

// forget makes a recipient that was taken away new again.
func (t *transaction) forget(addr, orig, dsnOrig string, notify int) {
	t.dups.Drop(t.dupKey(addr, orig, dsnOrig, notify))
}
