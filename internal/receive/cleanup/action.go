package cleanup

import (
	"slices"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/check"
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// What a check looked at, as log lines name it.
const (
	headerContext = "header"
	bodyContext   = "body"
	anyContext    = "content"

	originLocal = "local" // where a message comes from that says nothing else
)

// act does what a check says. It returns the text to write, text or another,
// and whether to write it.
func (t *transaction) act(context string, text []byte, r check.Result) (_ []byte, keep bool) {
	switch r.Action {
	case check.Dunno:
		return text, true
	case check.Ignore:
		return nil, false
	case check.Reject:
		t.reject(context, text, r.Text)
		return text, true
	case check.Hold:
		if t.flags&(ipc.FlagHold|ipc.FlagDiscard) != 0 {
			return text, true
		}
		t.flags |= ipc.FlagHold
	case check.Filter:
		t.filter = r.Text
	case check.Redirect:
		t.redirect = r.Text
	case check.BCC:
		if !slices.Contains(t.bcc, r.Text) {
			t.bcc = append(t.bcc, r.Text)
		}
	}
	t.logAction(context, text, r)
	switch r.Action {
	case check.Pass, check.Redirect:
		t.checking = false
	case check.Discard:
		t.checking = false
		t.flags |= ipc.FlagDiscard
	case check.Strip:
		return nil, false
	case check.Replace:
		return []byte(r.Text), true
	case check.Prepend:
		if context == headerContext {
			t.putField([]byte(r.Text))
		} else {
			t.putString(record.Norm, r.Text)
		}
	}
	return text, true
}

// reject refuses the message, for good or for now.
func (t *transaction) reject(context string, text []byte, reason string) {
	t.refuseContent(reason)
	t.checking = false
	t.logAction(context, text, check.Result{Action: check.Reject, Text: t.reason})
}

// refuseContent sets the reason and the status of a refusal.
func (t *transaction) refuseContent(reason string) {
	d := ipc.StatusContent.Detail()
	t.reason = d.DSN + " " + d.Text
	if reason != "" {
		r := dsn.Split("5.7.1", reason)
		if c := r.Status.Class(); c != '4' && c != '5' {
			t.s.log.Warningf("bad DSN action in %s -- need 4.x.x or 5.x.x", reason)
			r.Status = r.Status.WithClass('4')
		}
		t.reason = string(r.Status) + " " + r.Reason
	}
	if t.reason[0] == '4' {
		t.errs |= ipc.StatusDefer
	} else {
		t.errs |= ipc.StatusContent
	}
}

func (t *transaction) logAction(context string, text []byte, r check.Result) {
	const shown = 200
	if len(text) > shown {
		text = text[:shown]
	}
	e := &event.ContentAction{
		QueueID: t.id, Action: r.Action.String(), Context: context, Content: string(text), Reason: r.Text,
	}
	t.origin(e)
	t.s.log.Event(e)
}

// origin fills in where the message comes from.
func (t *transaction) origin(e *event.ContentAction) {
	e.Origin = t.attrs[attrLogOrigin]
	if e.Origin == "" {
		e.Origin = originLocal
	}
	if t.seenSender {
		e.Sender = event.Opt(t.logAddress(t.sender))
	}
	if t.seenRcpt {
		e.Recipient = event.Opt(t.logAddress(t.rcpt))
	}
	e.Proto, e.Helo = t.attrs[attrLogProto], t.attrs[attrLogHelo]
	e.SASLMethod, e.SASLUser, e.SASLSender = t.attrs[attrSASLMethod], t.attrs[attrSASLUser], t.attrs[attrSASLSender]
}

// mimeError logs what is wrong with the form of the message.
func (t *transaction) mimeError(p message.Problem, text []byte) {
	t.problems |= p
	if !t.ok() {
		return
	}
	const shown = 100
	if len(text) > shown {
		text = text[:shown]
	}
	_, problem := p.Detail()
	e := &event.MIMEError{
		QueueID: t.id, Problem: problem, Content: string(text), Origin: t.attrs[attrLogOrigin],
		Sender: t.logAddress(t.sender), Recipient: "unknown",
	}
	if e.Origin == "" {
		e.Origin = originLocal
	}
	if t.seenRcpt {
		e.Recipient = t.logAddress(t.rcpt)
	}
	t.s.log.Event(e)
}

// refuseForm refuses a message for its form; of several problems the gravest
// is told.
func (t *transaction) refuseForm() {
	if t.problems == 0 || t.errs&(ipc.StatusContent|ipc.StatusDefer) != 0 {
		return
	}
	status, text := t.problems.Detail()
	t.reason = status + " " + text
	t.errs |= ipc.StatusContent
}
