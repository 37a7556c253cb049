package cleanup

import (
	"slices"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/check"
	"postern/internal/mail/event"
	"postern/internal/mail/record"
)

// actOnMilter does what milter_header_checks say of a field that a milter adds.
// It returns the field to write. Postfix: PREPEND is not for these fields.
func (t *transaction) actOnMilter(field string, r check.Result) (_ string, keep bool) {
	switch r.Action {
	case check.Dunno, check.Pass:
		return field, true
	case check.Ignore:
		return "", false
	case check.Reject:
		t.checking = false
		t.refuseContent(r.Text)
		r.Text = t.reason
	case check.Hold:
		if t.flags&(ipc.FlagHold|ipc.FlagDiscard) != 0 {
			return field, true
		}
		t.flags |= ipc.FlagHold
	case check.Discard:
		t.flags |= ipc.FlagDiscard
	case check.Filter:
		t.lateFilter = r.Text
	case check.Redirect:
		t.lateRedirect = r.Text
	case check.BCC:
		if !slices.Contains(t.lateBCC, r.Text) {
			t.lateBCC = append(t.lateBCC, r.Text)
		}
	}
	t.logMilterCheck(field, r)
	switch r.Action {
	case check.Strip:
		return "", false
	case check.Prepend:
		t.s.log.Warningf("the milter_header/body_checks prepend action is not implemented")
	case check.Replace:
		return r.Text, true
	}
	return field, true
}

// putLate writes what the checks asked for.
func (t *transaction) putLate() {
	if t.lateFilter == "" && t.lateRedirect == "" && len(t.lateBCC) == 0 || !t.asking() {
		return
	}
	at, err := t.beginEdit()
	if err != nil {
		return
	}
	if t.lateFilter != "" {
		t.putString(record.Filter, t.lateFilter)
	}
	if t.lateRedirect != "" {
		t.putString(record.Redirect, t.lateRedirect)
	}
	for _, addr := range t.lateBCC {
		t.addBCC(addr)
	}
	t.pointer(t.layout.meta + record.PointerSize)
	t.jump(t.layout.meta, at)
}

func (t *transaction) logMilterCheck(field string, r check.Result) {
	const shown = 60
	if len(field) > shown {
		field = field[:shown]
	}
	e := &event.MilterCheck{Field: field, MilterAction: event.MilterAction{QueueID: t.id, Action: "milter-header-" + r.Action.String(),
		Stage: headerContext, ClientName: t.clientName(), ClientAddr: t.clientAddr(), Reason: r.Text,
		Proto: t.attrs[attrLogProto], Helo: t.attrs[attrLogHelo]}}
	if t.seenSender {
		e.Sender = event.Opt(t.logAddress(t.sender))
	}
	if t.seenRcpt {
		e.Recipient = event.Opt(t.logAddress(t.rcpt))
	}
	t.s.log.Event(e)
}
