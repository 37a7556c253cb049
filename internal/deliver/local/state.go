package local

import (
	"context"
	"errors"
	"os"
	"strings"

	"postern/internal/base/sys"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/mailbox"
	"postern/internal/mail/record"
)

// A job is one recipient of one message with all that it expands to.
type job struct {
	*Service
	ctx      context.Context
	req      *agent.Request
	rep      *agent.Report       // of the parts
	rcpt     *delivery.Recipient // as the queue manager named it
	seen     *filter
	loops    map[string]bool // addresses in Delivered-To: fields
	forwards []*forward      // new messages that are being made
	tour     *tour           // nil unless this is a rehearsal, which has no rep
}

// An origin is the kind of text that named the present address.
type origin int

const (
	fromQueue origin = iota
	fromAlias
	fromForward
	fromInclude
)

func (o origins) allow(from origin) bool {
	switch from {
	case fromAlias:
		return o.alias
	case fromForward:
		return o.forward
	case fromInclude:
		return o.include
	}
	return true // Postfix: the administrator's own settings
}

// A state is where an expansion stands. It is copied at each step: what a step
// changes holds for what the step expands to, and for nothing else.
type state struct {
	*job
	level     int
	addr      string // the present address
	local     string // its local part
	domain    string
	user      string // the local part in lower case, without its extension
	ext       string
	unmatched string // the extension, while nothing has taken it into account
	delivered string // whose Delivered-To: a copy gets
	sender    string // who gets the notices
	owner     string // the owner- alias, or who else forwards; "" for none
	from      origin
	expFrom   string // the alias or user whose text named this address
	// original is the recipient as its sender named it, and what the sender
	// wants to know; a list's owner does not pass that on.
	original original
	rights   rights
	step     *Step // of a rehearsal
}

// original is what the sender said of a recipient and of the notices.
type original struct {
	OrigAddr, DSNOrigRcpt string
	Notify                int
	EnvelopeID            string
	RetFlags              int
}

// rights are those of the text that named a destination.
type rights struct {
	sys.User
	known bool // false: the administrator's, which means default_privs for files and commands
}

// owner returns who delivers to a file or runs a command.
func (s state) asWhom() sys.User {
	if !s.rights.known || s.rights.UID == 0 {
		u := s.nobody
		u.Home, u.Shell, u.Name = s.rights.Home, s.rights.Shell, s.rights.Name
		return u
	}
	return s.rights.User
}

// deliver handles one request.
func (s *Service) deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	seen := newFilter(s.Env().Common.DuplicateFilterLimit)
	loops, err := deliveredTo(req.Content())
	if err != nil {
		return err
	}
	for _, rcpt := range req.Recipients {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j := &job{Service: s, ctx: ctx, req: req, rep: rep.Parts(), rcpt: rcpt, seen: seen, loops: loops}
		st := state{job: j, addr: rcpt.Address, delivered: rcpt.Address, sender: req.Sender}
		st.original = original{rcpt.OrigAddr, rcpt.DSNOrigRcpt, rcpt.Notify, req.EnvelopeID, req.RetFlags}
		done := st.recipient()
		rep.Settle(rcpt, j.finish(st, done) && done)
	}
	return nil
}

// relay is the name that the log shows.
func (s state) relay() string { return s.Env().Name }

// part is the present address as a recipient of the message.
func (s state) part() *delivery.Recipient {
	r := *s.rcpt
	r.Address, r.OrigAddr = s.addr, s.original.OrigAddr
	r.DSNOrigRcpt, r.Notify = s.original.DSNOrigRcpt, s.original.Notify
	return &r
}

func (s state) sent(text string) bool {
	if s.tour != nil {
		s.step.Result = dsn.Make("2.0.0", text)
		return true
	}
	return s.rep.Sent(s.part(), s.relay(), dsn.Make("2.0.0", text))
}

func (s state) deferred(status dsn.Status, text string) bool {
	return s.failed(dsn.Make(status, text))
}

func (s state) bounced(status dsn.Status, text string) bool {
	return s.failed(dsn.Make(status, text))
}

// failed reports a failure of either kind.
func (s state) failed(res dsn.Result) bool {
	if s.tour != nil {
		s.step.Result = res
		return res.Status.Permanent()
	}
	if res.Status.Permanent() {
		return s.rep.BounceTo(s.sender, s.part(), s.relay(), res)
	}
	return s.rep.Defer(s.part(), s.relay(), res)
}

// wrote reports a delivery to a mailbox or file; prefix comes before the reason
// of a failure.
func (s state) wrote(err error, done, prefix string) bool {
	if err == nil {
		return s.sent(done)
	}
	e := new(mailbox.Error)
	if !errors.As(err, &e) { // the credentials could not be taken
		return s.deferred("4.3.0", prefix+err.Error())
	}
	if errors.Is(err, mailbox.ErrNotOwner) {
		s.req.Log.Warningf("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch")
	}
	return s.failed(dsn.Make(e.Status, prefix+e.Reason))
}

// wroteMaildir is wrote with a hint for the usual mistake.
func (s state) wroteMaildir(err error, who sys.Owner) bool {
	if errors.Is(err, os.ErrPermission) {
		s.req.Log.Warningf("maildir access problem for UID/GID=%d/%d: %s", who.UID, who.GID, err)
		s.req.Log.Warningf("perhaps you need to create the maildirs in advance")
	}
	return s.wrote(err, "delivered to maildir", "maildir delivery failed: ")
}

// misconfigured reports a mistake that the log explains. What is wrong with the
// system's files is no reason to return mail.
func (s state) misconfigured() bool {
	return s.deferred("4.3.5", "mail system configuration error")
}

// miswritten reports a destination that makes no sense.
func (s state) miswritten() bool {
	return s.bounced("5.3.5", "mail system configuration error")
}

// deliveredTo returns the addresses in the Delivered-To: fields of a message,
// in external form and lower case.
func deliveredTo(content mailbox.Content) (map[string]bool, error) {
	found := make(map[string]bool)
	for {
		t, data, err := content.Next()
		if err != nil {
			return nil, err
		}
		if t != record.Norm && t != record.Cont || len(data) == 0 {
			return found, nil
		}
		name, value, ok := strings.Cut(string(data), ":")
		if ok && strings.EqualFold(strings.TrimRight(name, " \t"), "Delivered-To") {
			found[strings.ToLower(strings.TrimSpace(value))] = true
		}
	}
}

// looping says whether the message has been delivered to addr before.
func (s state) looping(addr string) bool {
	return s.loops[strings.ToLower(address.Quote822(addr))]
}
