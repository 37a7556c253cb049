package virtual

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/base/sys"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/mail/mailbox"
	"postern/internal/mail/record"
	"postern/internal/table"
)

// deliver handles one request: each recipient in turn.
func (s *Service) deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	seen := make(map[string]bool)
	for _, rcpt := range req.Recipients {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		user := strings.ToLower(rcpt.Address)
		if seen[user] { // Postfix: the same mailbox gets a message once
			rep.Settle(rcpt, true)
			continue
		}
		seen[user] = true
		s.recipient(ctx, req, rep, rcpt, user)
	}
	return nil
}

// A destination is where a recipient's mail goes.
type destination struct {
	path  string
	owner sys.Owner
}

func (d *destination) maildir() bool { return strings.HasSuffix(d.path, "/") }

// misconfigured is what the sender and the log are told about a mistake of the
// administrator; the log has the details before it.
var misconfigured = dsn.Make("4.3.5", "mail system configuration error")

func (s *Service) recipient(ctx context.Context, req *agent.Request, rep *agent.Report, rcpt *delivery.Recipient, user string) {
	relay := s.Env().Name
	dest, found, err := s.find(ctx, user)
	switch {
	case err != nil:
		req.Log.Warningf("%v", err)
		rep.Defer(rcpt, relay, misconfigured)
	case !found:
		rep.Bounce(rcpt, relay, dsn.Make("5.1.1", fmt.Sprintf("unknown user: \"%s\"", user)))
	case req.VerifyOnly() && dest.maildir():
		rep.Sent(rcpt, relay, dsn.Make("2.0.0", "delivers to maildir"))
	case req.VerifyOnly():
		rep.Sent(rcpt, relay, dsn.Make("2.0.0", "delivers to mailbox"))
	case dest.maildir():
		err := s.toMaildir(req, rcpt, dest)
		s.report(req, rep, rcpt, dest, err, "delivered to maildir", "maildir delivery failed: ")
	default:
		err := s.toMbox(req, rcpt, dest)
		s.report(req, rep, rcpt, dest, err, "delivered to mailbox", "delivery failed to mailbox "+dest.path+": ")
	}
}

// find looks up the destination of user. An error is a table that does not
// answer, or a wrong value in one.
func (s *Service) find(ctx context.Context, user string) (d destination, found bool, err error) {
	if s.MailboxBase == "" { // Postfix: fatal, so that no mail is returned
		return d, false, errors.New("bad string length 0 < 1: virtual_mailbox_base = ")
	}
	path, found, err := s.lookup(ctx, s.paths, user)
	if err != nil || !found {
		return d, found, err
	}
	if s.MailboxBase[0] != '/' {
		return d, true, fmt.Errorf("do not specify relative pathname: virtual_mailbox_base = %s", s.MailboxBase)
	}
	d.path = s.MailboxBase + "/" + path
	if d.owner.UID, err = s.number(ctx, s.uids, user, "uid", s.MinimumUID); err != nil {
		return d, true, err
	}
	d.owner.GID, err = s.number(ctx, s.gids, user, "gid", 1)
	return d, true, err
}

// lookup searches a table: the whole address, the address without its
// extension, the domain.
func (s *Service) lookup(ctx context.Context, m *table.Maps, user string) (string, bool, error) {
	value, found, err := m.Lookup(ctx, user)
	if err != nil || found {
		return value, found, err
	}
	if base, _, ok := s.extensions.Strip(user); ok {
		if value, found, err = m.LookupFixed(ctx, base); err != nil || found {
			return value, found, err
		}
	}
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		return "", false, nil
	}
	return m.LookupFixed(ctx, user[at:])
}

// number looks up a user or group number.
func (s *Service) number(ctx context.Context, m *table.Maps, user, what string, least int) (int, error) {
	value, found, err := s.lookup(ctx, m, user)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("recipient %s: not found in %s", user, m.Title())
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil || int(n) < least {
		return 0, fmt.Errorf("recipient %s: bad %s %s in %s", user, what, value, m.Title())
	}
	return int(n), nil
}

// troubled is the status of a mailbox that cannot be written. A virtual(8)
// recipient that exists gets its mail later.
const troubled dsn.Status = "4.2.0"

func (s *Service) toMaildir(req *agent.Request, rcpt *delivery.Recipient, d destination) error {
	c := mailbox.Maildir(req.Sender, s.origTo(rcpt), rcpt.Address)
	dir := mailbox.Dir{Path: d.path, Owner: d.owner, Limit: s.MailboxLimit, Default: troubled}
	return req.WithContent(func(content *record.FileReader) error { return s.namer.Deliver(&dir, &c, content) })
}

func (s *Service) toMbox(req *agent.Request, rcpt *delivery.Recipient, d destination) error {
	c := mailbox.Mbox(req.Sender, s.origTo(rcpt), rcpt.Address, time.Now())
	f := mailbox.File{Path: d.path, Owner: d.owner, Strict: s.StrictMailboxOwnership, Limit: s.MailboxLimit, Default: troubled}
	return req.WithContent(func(content *record.FileReader) error { return s.locker.Append(&f, &c, content) })
}

// origTo is the address for the field X-Original-To:, "" where the
// administrator wants none.
func (s *Service) origTo(rcpt *delivery.Recipient) string {
	if !s.Env().Common.EnableOriginalRecipient {
		return ""
	}
	return rcpt.OrigAddr
}

// report tells what became of a delivery.
func (s *Service) report(req *agent.Request, rep *agent.Report, rcpt *delivery.Recipient, d destination, err error, done, failed string) {
	relay := s.Env().Name
	if err == nil {
		rep.Sent(rcpt, relay, dsn.Make("2.0.0", done))
		return
	}
	if errors.Is(err, mailbox.ErrNotOwner) {
		req.Log.Warningf("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch")
	}
	if d.maildir() && errors.Is(err, os.ErrPermission) {
		req.Log.Warningf("maildir access problem for UID/GID=%d/%d: %s", d.owner.UID, d.owner.GID, err)
		req.Log.Warningf("perhaps you need to create the maildirs in advance")
	}
	e := new(mailbox.Error)
	if !errors.As(err, &e) { // the credentials could not be taken
		rep.Defer(rcpt, relay, dsn.Make("4.3.0", failed+err.Error()))
		return
	}
	res := dsn.Make(e.Status, failed+e.Reason)
	if e.Status.Permanent() {
		rep.Bounce(rcpt, relay, res)
	} else {
		rep.Defer(rcpt, relay, res)
	}
}
