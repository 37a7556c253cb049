package local

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/mail/mailbox"
	"postern/internal/mail/record"
	"postern/internal/table"
)

// mailbox delivers to the user's mailbox, by the transport or command that is
// configured for it, or into a file; ok is false if there is no such user.
func (s state) mailbox() (done, ok bool) {
	if s.seen.again("mailbox " + s.local) {
		return true, true
	}
	if done, ok := s.byTransport(s.mailboxTransports, s.MailboxTransport); ok {
		return done, true
	}
	u, found, err := s.users.ByName(s.user)
	if err != nil {
		s.req.Log.Warningf("error looking up passwd info for %s: %v", s.user, err)
		return s.deferred("4.0.0", "user lookup error"), true
	}
	if !found {
		return false, false
	}
	s.rights = rights{u, true}
	command, found, err := s.mailboxCommands.Lookup(s.ctx, s.user)
	switch {
	case err != nil:
		return s.deferred("4.3.0", "table lookup failure"), true
	case found:
		return s.command(command), true
	case s.MailboxCommand != "":
		return s.command(s.MailboxCommand), true
	case strings.HasSuffix(s.HomeMailbox, "/"):
		return s.maildir(StepMailbox, u.Home+"/"+s.HomeMailbox), true
	case s.HomeMailbox != "":
		return s.mbox(u.Home+"/"+s.HomeMailbox, nil), true
	case strings.HasSuffix(s.MailSpoolDirectory, "/"):
		return s.maildir(StepMailbox, s.MailSpoolDirectory+s.user+"/"), true
	}
	return s.mbox(s.MailSpoolDirectory+"/"+s.user, s.spoolCreator()), true
}

// byTransport hands the recipient to the transport that the table names for the
// user, or to the one for all; ok says that there is one.
func (s state) byTransport(m *table.Maps, transport string) (done, ok bool) {
	value, found, err := m.Lookup(s.ctx, s.user)
	switch {
	case err != nil:
		return s.deferred("4.3.0", "table lookup failure"), true
	case found:
		return s.pass(value), true
	case transport != "":
		return s.pass(transport), true
	}
	return false, false
}

// spoolCreator returns who makes files in the mail spool directory: the user
// where everybody may, else root with the directory's group.
func (s state) spoolCreator() *sys.Owner {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Stat(s.MailSpoolDirectory, &st) != nil || st.Mode&unix.S_IWOTH != 0 {
		return nil
	}
	if st.Mode&unix.S_IWGRP != 0 {
		return &sys.Owner{GID: int(st.Gid)}
	}
	return &sys.Owner{}
}

// origTo is the address for X-Original-To:, "" where none is wanted.
func (s state) origTo() string {
	if !s.Env().Common.EnableOriginalRecipient {
		return ""
	}
	return s.original.OrigAddr
}

func (s state) mbox(path string, creator *sys.Owner) bool {
	s.into(StepMailbox, path)
	if s.req.VerifyOnly() {
		return s.sent("delivers to mailbox")
	}
	c := mailbox.Mbox(s.req.Sender, s.origTo(), s.delivered, time.Now())
	f := mailbox.File{Path: path, Owner: s.rights.Owner, Creator: creator, Strict: s.StrictOwnership, Limit: s.MailboxSizeLimit}
	err := s.append(&f, &c)
	return s.wrote(err, "delivered to mailbox", fmt.Sprintf("cannot update mailbox %s for user %s. ", path, s.user))
}

func (s state) append(f *mailbox.File, c *mailbox.Copy) error {
	return s.req.WithContent(func(content *record.FileReader) error { return s.locker.Append(f, c, content) })
}

func (s state) maildir(kind StepKind, path string) bool {
	s.into(kind, path)
	if s.req.VerifyOnly() {
		return s.sent("delivers to maildir")
	}
	delivered := s.delivered
	if !s.deliveredTo["file"] {
		delivered = ""
	}
	c := mailbox.Maildir(s.req.Sender, s.origTo(), delivered)
	who := s.asWhom()
	d := mailbox.Dir{Path: path, Owner: who.Owner, Limit: s.MailboxSizeLimit}
	err := s.req.WithContent(func(content *record.FileReader) error { return s.namer.Deliver(&d, &c, content) })
	return s.wroteMaildir(err, who.Owner)
}

// file delivers to a file that an alias or a user's text names.
func (s state) file(path string) bool {
	who := s.asWhom()
	if s.seen.again(fmt.Sprintf("file %d %s", who.UID, path)) {
		return true
	}
	if !s.files.allow(s.from) {
		s.into(StepFile, path)
		return s.bounced("5.7.1", "mail to file is restricted")
	}
	if strings.HasSuffix(path, "/") {
		return s.maildir(StepFile, path)
	}
	s.into(StepFile, path)
	if s.req.VerifyOnly() {
		return s.sent("delivers to file: " + path)
	}
	delivered := s.delivered
	if !s.deliveredTo["file"] {
		delivered = ""
	}
	c := mailbox.Mbox(s.req.Sender, s.origTo(), delivered, time.Now())
	f := mailbox.File{Path: path, Owner: who.Owner, Any: true, Limit: s.MailboxSizeLimit, Warn: s.req.Log.Warningf}
	err := s.append(&f, &c)
	return s.wrote(err, "delivered to file: "+path, fmt.Sprintf("cannot append message to file %s: ", path))
}
