package restrict

import (
	"context"
	"time"

	"postern/internal/mail/address"
	"postern/internal/mail/event"
	"postern/internal/protocol/smtp"
)

// An eval is one walk over one list.
type eval struct {
	*Engine
	ctx   context.Context
	s     *Subject
	list  *list
	depth int

	// What a refusal is about: changed by checks of other things than the
	// list is about.
	item *item

	// Within a list of restrictions that a table gave: what its key was.
	topicWhat, topicAbout string

	warn     int // the depth at which warn_if_reject stands; 0: nowhere
	foundIn  string
	foundKey string
	answer   string
	unasked  bool // what the item would ask was not asked
}

// maxDepth bounds restriction lists within restriction lists (Postfix: 100).
const maxDepth = 100

func (e *Engine) evaluation(ctx context.Context, s *Subject, l *list) *eval {
	return &eval{Engine: e, ctx: ctx, s: s, list: l}
}

// run evaluates a list. The verdict is Dunno, Permit or Reject; the deferrals
// that stick are in the subject.
//
// deferIfReject lasts for one list: the reason for it may be gone in the next.
// deferIfPermit goes on, because what could not be looked up for one list may
// be what should have refused the mail.
func (e *Engine) run(ctx context.Context, s *Subject, l *list) Verdict {
	s.deferIfReject = nil
	return e.evaluation(ctx, s, l).walk(l.items)
}

func (v *eval) walk(items []item) Verdict {
	v.depth++
	defer func() { v.depth-- }()
	if v.depth > maxDepth {
		v.env.Log.Warningf("SMTPD access map, policy or class loop detected in %s", v.list.name)
		return v.settle(misconfigured(), v.list.name, "")
	}
	for i := range items {
		it := &items[i]
		if v.s.Effects.Discard {
			break
		}
		if it.isWarn() {
			if v.warn == 0 {
				v.warn = v.depth
			}
			continue
		}
		verdict := v.one(it)
		if v.warn >= v.depth {
			v.warn = 0
		}
		if verdict.Kind == Permit || verdict.Kind == Reject {
			return verdict
		}
		if v.s.deferIfPermit != nil && v.s.deferIfReject != nil {
			break // it will be deferred whatever comes
		}
	}
	return Verdict{}
}

// one evaluates an item and settles what it says.
func (v *eval) one(it *item) Verdict {
	if it.bad != "" {
		v.env.Log.Warningf("%s", it.bad)
		if it.skip {
			return Verdict{}
		}
		return v.settle(misconfigured(), it.name, it.arg)
	}
	if it.class != nil {
		return v.walk(it.class.items)
	}
	v.item, v.foundIn, v.foundKey, v.answer, v.unasked = it, "", "", "", false
	return v.settle(it.def.check(v, it), it.name, it.arg)
}

// settle applies warn_if_reject and the sticky deferrals to what a check says,
// logs a refusal, and adds the step to the trail.
func (v *eval) settle(w Verdict, name, arg string) Verdict {
	if w.settled {
		return w
	}
	w.settled = true
	v.record(w, name, arg)
	switch w.Kind {
	case Permit:
		v.logPermitted(w, name)
	case DeferIfPermit:
		if v.warn > 0 {
			return v.warning(w)
		}
		if v.s.deferIfPermit == nil {
			r := w.Reply
			v.s.deferIfPermit = &r
		}
	case DeferIfReject: // Postfix: also where it should only warn
		if v.s.deferIfReject == nil {
			r := w.Reply
			v.s.deferIfReject = &r
		}
	case Reject:
		if v.warn > 0 && !w.fault {
			return v.warning(w)
		}
		if v.s.deferIfReject != nil && w.Reply.Code >= 500 {
			w.Reply = *v.s.deferIfReject
			v.s.deferIfReject = nil
		}
		if v.env.Common.SoftBounce && w.Reply.Code >= 500 {
			w.Reply = reply(w.Reply.Code-100, w.Reply.Status, w.Reply.Text())
		}
		v.env.Log.Event(v.s.Action("reject", w.Reply.String()))
	}
	return w
}

// record adds a step to the trail.
func (v *eval) record(w Verdict, name, arg string) {
	step := event.Step{List: v.list.name, Restriction: name, Argument: arg, Table: v.foundIn, Key: v.foundKey,
		Answer: v.answer, Verdict: w.Kind.String()}
	if v.unasked {
		step.Verdict = event.NotAsked
	}
	if w.Kind >= Reject {
		step.Reply = w.Reply.String()
	}
	v.s.Trail = append(v.s.Trail, step)
	if v.s.Observe != nil {
		v.s.Observe(step)
	}
}

// warning logs what would have been refused.
func (v *eval) warning(w Verdict) Verdict {
	v.env.Log.Event(v.s.Action("reject_warning", w.Reply.String()))
	return Verdict{settled: true}
}

// logPermitted logs a permit that smtpd_log_access_permit_actions asks for.
func (v *eval) logPermitted(w Verdict, name string) {
	if v.logPermit.Empty() {
		return
	}
	if w.action == "" {
		about := permitAbout(name, v.list.about)
		w.action, w.detail = name, about+"="+v.subject(about)+" "
	}
	if ok, err := v.logPermit.MatchString(v.ctx, w.action); err != nil || !ok {
		return
	}
	v.env.Log.Event(v.s.Action("permit", "action="+w.action+" for "+w.detail))
}

// permitAbout says what a permit is about: most are about the client.
func permitAbout(name, about string) string {
	switch name {
	case "permit":
		return about
	case "permit_auth_destination", "permit_mx_backup":
		return aboutRecipient
	}
	return aboutClient
}

// subject names what a list, or a check about something else, is about.
func (v *eval) subject(about string) string {
	switch about {
	case aboutClient, aboutReverse:
		return v.s.ClientName + "[" + v.s.ClientAddr + "]"
	case aboutHelo:
		return v.s.Helo
	case aboutSender:
		return v.s.Sender
	case aboutRecipient:
		return v.s.Recipient
	case aboutETRN:
		return v.s.ETRNDomain
	case aboutData:
		return "DATA"
	case aboutEndOfData:
		return "END-OF-MESSAGE"
	}
	return ""
}

// rejected makes the text of most refusals: "<what>: Client host rejected: why".
func rejected(what, about, why string) string {
	return "<" + what + ">: " + about + " rejected: " + why
}

// topic is what a refusal is about that does not say: the key of a table that
// gave the restrictions, or what the list is about.
func (v *eval) topic() (what, about string) {
	if v.topicAbout != "" {
		return v.topicWhat, v.topicAbout
	}
	return v.subject(v.list.about), v.list.about
}

// refuse makes such a refusal about the list's own subject.
func (v *eval) refuse(code int, status string, why string) Verdict {
	what, about := v.topic()
	return reject(code, statusFor(status), rejected(what, about, why))
}

// later makes a deferral, at once or only if nothing else refuses.
func later(a tempfail, r smtp.Reply) Verdict {
	if a == "defer" {
		return Verdict{Kind: Reject, Reply: r}
	}
	return Verdict{Kind: DeferIfPermit, Reply: r}
}

// external is an address as log lines have it.
func external(addr string) *string {
	a := address.Quote822(addr)
	return &a
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
