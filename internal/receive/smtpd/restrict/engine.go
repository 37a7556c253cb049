// Package restrict is the access policy of the SMTP server: the lists of
// restrictions, evaluated over a Subject.
//
// A list is parsed once, at start. Each of its items is a named check with its
// argument; a check looks at the subject and returns a Verdict. One evaluator
// walks the lists, keeps the deferrals that stick (defer_if_permit,
// defer_if_reject), logs what is refused, and leaves a trail of every step.
//
// Postfix: SMTPD_ACCESS_README, access(5), postconf(5) smtpd_*_restrictions.
package restrict

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/verify"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/event"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/policy"
	"postern/internal/protocol/smtp"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A Resolver says how mail for an address is delivered (rewrite.Client).
type Resolver interface {
	Resolve(ctx context.Context, sender, addr string) (rewrite.Resolved, error)
}

// An Env is what the restrictions ask others.
type Env struct {
	Log    *maillog.Logger
	Tables *table.Opener
	Common *param.Common
	DNS    dns.Resolver
	// Hosts is the path of the hosts file, where names of mail exchangers and
	// name servers are looked for first; "" for none.
	Hosts    string
	Resolver Resolver
	// Param returns the expanded value of a main.cf parameter: the list of a
	// restriction class, the limits of a policy service.
	Param func(name string) (value string, ok bool, err error)
	// Own says whether the address is one of this system's (inet_interfaces).
	Own func(netip.Addr) bool
	// Proxy says whether the address is that of a proxy in front of this
	// system (proxy_interfaces).
	Proxy func(netip.Addr) bool
	// Verify asks whether an address is deliverable.
	Verify func(ctx context.Context, addr string) (verify.Answer, error)
	// Now is the clock; nil for the real one.
	Now func() time.Time
	// Mapper finds addresses in recipient and alias tables.
	Mapper *addrmap.Mapper
	// BeforeQueue says that mail goes to a filter and not into the queue, so
	// that there is nothing to hold, filter or redirect.
	BeforeQueue bool
	// AskCcert says that clients are asked for certificates.
	AskCcert bool
	// Stress says whether the server is in the stress state.
	Stress func() bool
	// Sleep waits (the restriction sleep); nil for the real clock.
	Sleep func(ctx context.Context, d time.Duration)
}

// An Engine evaluates the restrictions. It may be used from several goroutines,
// each with its own Subject.
type Engine struct {
	Config
	env Env

	client, helo, sender, relay, recipient, data, endOfData, etrn list
	classes                                                       map[string]*list
	host                                                          dns.Native // names of hosts, as the system knows them
	defs                                                          map[string]*definition
	names                                                         map[string]bool // of the classes

	myNetworks    *matchlist.List
	mxBackup      *matchlist.List // permit_mx_backup_networks
	logPermit     *matchlist.List // smtpd_log_access_permit_actions
	probeSender   verify.Sender
	localRcpt     *table.Maps
	relayRcpt     *table.Maps
	virtualAlias  *table.Maps
	virtualMbox   *table.Maps
	canonical     *table.Maps
	senderCanon   *table.Maps
	rcptCanon     *table.Maps
	senderLogins  *table.Maps
	rblReplies    *table.Maps
	relayCerts    *table.Maps
	policies      map[string]*policy.Client
	accessParents bool // smtpd_access_maps in parent_domain_matches_subdomains
	rblFilter     string
}

// New parses the lists and opens the tables that they name.
func New(c Config, env Env) (*Engine, error) {
	e := &Engine{Config: c, env: env, defs: index(), classes: map[string]*list{}, names: map[string]bool{}, policies: map[string]*policy.Client{}}
	e.host = dns.Native{Hosts: env.Hosts, DNS: env.DNS}
	if e.env.Sleep == nil {
		e.env.Sleep = sleep
	}
	if err := e.tempfailActions(); err != nil {
		return nil, err
	}
	parents := matchlist.ParentStyle("smtpd_access_maps", env.Common.ParentDomainMatchesSubdomains)
	e.accessParents = parents&matchlist.Parent != 0
	if e.env.Now == nil {
		e.env.Now = time.Now
	}
	e.probeSender = verify.NewSender(c.Verify.Sender, c.Verify.SenderTTL, env.Common.MyOrigin)
	var err error
	for _, l := range [...]struct {
		list        **matchlist.List
		name, value string
	}{
		{&e.myNetworks, "mynetworks", env.Common.MyNetworks},
		{&e.mxBackup, "permit_mx_backup_networks", c.MXBackupNetworks},
		{&e.logPermit, "smtpd_log_access_permit_actions", c.LogPermit},
	} {
		style := matchlist.ParentStyle(l.name, env.Common.ParentDomainMatchesSubdomains)
		if *l.list, err = matchlist.New(l.name, l.value, env.Tables, style); err != nil {
			return nil, err
		}
	}
	if err := e.openMaps(); err != nil {
		return nil, err
	}
	if e.rblFilter, err = Unescape(c.ExpansionFilter); err != nil {
		return nil, fmt.Errorf("smtpd_expansion_filter: %w", err)
	}
	if err := e.parseLists(); err != nil {
		return nil, err
	}
	return e, e.guarded()
}

func (e *Engine) tempfailActions() error {
	for _, a := range [...]struct {
		name  string
		value tempfail
	}{
		{"reject_tempfail_action", e.TempfailAction},
		{"unknown_address_tempfail_action", e.UnknownAddressTempfail},
		{"unknown_helo_hostname_tempfail_action", e.UnknownHeloTempfail},
		{"unverified_sender_tempfail_action", e.Verify.From.Tempfail},
		{"unverified_recipient_tempfail_action", e.Verify.To.Tempfail},
	} {
		if a.value != "defer" && a.value != "defer_if_permit" {
			return fmt.Errorf("bad configuration: %s = %s: specify \"defer\" or \"defer_if_permit\"", a.name, a.value)
		}
	}
	return nil
}

func (e *Engine) openMaps() error {
	for _, m := range [...]struct {
		maps        **table.Maps
		name, value string
	}{
		{&e.localRcpt, "local_recipient_maps", e.LocalRecipients},
		{&e.relayRcpt, "relay_recipient_maps", e.RelayRecipients},
		{&e.virtualAlias, "virtual_alias_maps", e.VirtualAliases},
		{&e.virtualMbox, "virtual_mailbox_maps", e.VirtualMailboxes},
		{&e.canonical, "canonical_maps", e.Canonical},
		{&e.senderCanon, "sender_canonical_maps", e.SenderCanonical},
		{&e.rcptCanon, "recipient_canonical_maps", e.RcptCanonical},
		{&e.senderLogins, "smtpd_sender_login_maps", e.SenderLogins},
		{&e.rblReplies, "rbl_reply_maps", e.RBLReplyMaps},
		{&e.relayCerts, "relay_clientcerts", e.RelayClientCerts},
	} {
		maps, err := e.env.Tables.Maps(m.name, m.value, table.FoldKey)
		if err != nil {
			return err
		}
		*m.maps = maps
	}
	return nil
}

// Connect evaluates the client restrictions. The reply is zero when the client
// may go on.
func (e *Engine) Connect(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	r := e.clientList(ctx, s)
	s.afterHelo, s.afterSender = s.afterClient, s.afterClient
	return r
}

// Hello evaluates the HELO restrictions.
func (e *Engine) Hello(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	return e.heloList(ctx, s)
}

// From evaluates the sender restrictions.
func (e *Engine) From(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	return e.senderList(ctx, s)
}

func (s *Subject) begin() { s.Trail = s.Trail[:0] }

func (e *Engine) clientList(ctx context.Context, s *Subject) smtp.Reply {
	s.deferIfPermit = nil
	v := e.run(ctx, s, &e.client)
	s.afterClient = s.deferIfPermit
	return v.Reply
}

func (e *Engine) heloList(ctx context.Context, s *Subject) smtp.Reply {
	s.deferIfPermit = s.afterClient
	v := e.run(ctx, s, &e.helo)
	s.afterHelo, s.afterSender = s.deferIfPermit, s.deferIfPermit
	return v.Reply
}

func (e *Engine) senderList(ctx context.Context, s *Subject) smtp.Reply {
	s.senderChecked = false
	s.deferIfPermit = s.afterHelo
	v := e.run(ctx, s, &e.sender)
	if e.RejectUnlistedSender && v.Kind != Reject && !s.senderChecked && !s.Effects.Discard && s.Sender != "" {
		ev := e.evaluation(ctx, s, &e.sender)
		v = ev.settle(ev.unlistedSender(), "smtpd_reject_unlisted_sender", "")
	}
	s.afterSender = s.deferIfPermit
	return v.Reply
}

// To evaluates everything that is due at RCPT TO: with smtpd_delay_reject the
// client, HELO and sender restrictions, then the relay and recipient
// restrictions, then whether the recipient exists.
func (e *Engine) To(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	// RFC 5321 4.5.1: <postmaster> without a domain is always taken.
	// Postfix: nor is the address refused that probes use.
	c := e.env.Common
	if strings.EqualFold(s.Recipient, "postmaster") || strings.EqualFold(s.Recipient, c.DoubleBounceSender+"@"+c.MyOrigin) ||
		e.probeSender.Valid(s.Recipient, e.env.Now()) {
		return smtp.Reply{}
	}
	if r := e.delayed(ctx, s); !r.IsZero() {
		return r
	}
	s.recipientChecked = false
	s.deferIfPermit = s.afterSender
	lists := [...]*list{&e.relay, &e.recipient}
	if !e.RelayBeforeRecipient {
		lists = [...]*list{&e.recipient, &e.relay}
	}
	for _, l := range lists {
		if v := e.run(ctx, s, l); v.Kind == Reject {
			return v.Reply
		}
	}
	if s.deferIfPermit != nil {
		// An earlier temporary error may have kept us from refusing.
		ev := e.evaluation(ctx, s, lists[1])
		return ev.settle(Verdict{Kind: Reject, Reply: *s.deferIfPermit, fault: true}, "defer_if_permit", "").Reply
	}
	if e.RejectUnlistedRecipient && !s.recipientChecked && !s.Effects.Discard {
		ev := e.evaluation(ctx, s, &e.recipient)
		return ev.settle(ev.unlistedRecipient(), "smtpd_reject_unlisted_recipient", "").Reply
	}
	return smtp.Reply{}
}

// delayed runs the lists that smtpd_delay_reject has put off.
func (e *Engine) delayed(ctx context.Context, s *Subject) smtp.Reply {
	if !e.DelayReject {
		return smtp.Reply{}
	}
	if r := e.clientList(ctx, s); !r.IsZero() {
		return r
	}
	if r := e.heloList(ctx, s); !r.IsZero() {
		return r
	}
	if !s.HasSender {
		s.afterSender = s.afterHelo
		return smtp.Reply{}
	}
	return e.senderList(ctx, s)
}

// DataStart evaluates smtpd_data_restrictions.
func (e *Engine) DataStart(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	return e.final(ctx, s, &e.data)
}

// DataEnd evaluates smtpd_end_of_data_restrictions.
func (e *Engine) DataEnd(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	return e.final(ctx, s, &e.endOfData)
}

// Flush evaluates smtpd_etrn_restrictions, and before them what was put off.
func (e *Engine) Flush(ctx context.Context, s *Subject) smtp.Reply {
	s.begin()
	if e.DelayReject {
		if r := e.clientList(ctx, s); !r.IsZero() {
			return r
		}
		if r := e.heloList(ctx, s); !r.IsZero() {
			return r
		}
	}
	return e.final(ctx, s, &e.etrn)
}

// final runs a list after which nothing else decides.
func (e *Engine) final(ctx context.Context, s *Subject, l *list) smtp.Reply {
	s.deferIfPermit = nil
	v := e.run(ctx, s, l)
	if v.Kind != Reject && s.deferIfPermit != nil {
		ev := e.evaluation(ctx, s, l)
		v = ev.settle(Verdict{Kind: Reject, Reply: *s.deferIfPermit, fault: true}, "defer_if_permit", "")
	}
	return v.Reply
}

// Refuse logs a refusal that no restriction made, as Postfix logs those of
// commands (message size, resources), and returns the reply.
func (e *Engine) Refuse(s *Subject, r smtp.Reply) smtp.Reply {
	if e.env.Common.SoftBounce && r.Code >= 500 {
		r = reply(r.Code-100, r.Status, r.Text())
	}
	e.env.Log.Event(s.Action("reject", r.String()))
	return r
}

// Action makes the event of a log line about the subject.
func (s *Subject) Action(what, text string) *event.SMTPDAction {
	a := &event.SMTPDAction{QueueID: s.QueueID, Action: what, Stage: s.Stage, Client: s.LogClient, Reason: text,
		Protocol: s.Protocol, SASLMethod: s.SASLMethod, SASLUsername: s.SASLUsername, SASLSender: s.SASLSender}
	if s.HasSender {
		a.Sender = external(s.Sender)
	}
	if s.HasRecipient {
		a.Recipient = external(s.Recipient)
	}
	if s.HasHelo {
		h := s.Helo
		a.Helo = &h
	}
	a.Trail = append(a.Trail, s.Trail...)
	return a
}
