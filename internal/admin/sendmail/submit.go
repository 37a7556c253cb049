package sendmail

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/ipc/postdrop"
	"postern/internal/ipc/submit"
	"postern/internal/mail/address"
	"postern/internal/mail/record"
)

// What trace_flags asks for: a report after the first delivery attempt, or
// after looking where mail would go without sending it.
const (
	traceVerify = 512
	traceRecord = 1024
)

// submit hands the message to postdrop.
func (s *sendmail) submit() error {
	user, ok, err := s.Authorized("authorized_submit_users", s.SubmitUsers, s.uid)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("User %s(%d) is not allowed to submit mail", user, s.uid)
	}
	sender, err := s.envelopeSender()
	if err != nil {
		return err
	}
	if s.opt.verp != "" && sender == "" {
		return fmt.Errorf("%s: -V option requires non-null sender address", s.who(sender))
	}
	d, err := s.startPostdrop()
	if err != nil {
		return fmt.Errorf("%s: %w", s.who(sender), err)
	}
	defer d.Close()
	m := &draft{sendmail: s, sender: sender, w: d.W}
	if err := m.write(); err != nil {
		if m.w.Err() == nil {
			return fmt.Errorf("%s: %w", s.who(sender), err)
		}
		// postdrop has stopped reading: its answer says why.
	}
	if err := finish(d); err != nil {
		return fmt.Errorf("%s: %w", s.who(sender), err)
	}
	if s.traceFlags() != 0 {
		fmt.Fprintf(s.Out, "Mail Delivery Status Report will be mailed to <%s>.\n", sender)
	}
	return nil
}

// envelopeSender is the address given with -f, or else the user's login name.
func (s *sendmail) envelopeSender() (string, error) {
	if s.opt.sender == nil {
		login, ok := command.LoginName(s.uid)
		if !ok {
			return "", fmt.Errorf("no login name found for user ID %d", s.uid)
		}
		return login, nil
	}
	all := address.Addresses(*s.opt.sender)
	if len(all) > 1 {
		s.Log.Warningf("-f option specified malformed sender: %s", *s.opt.sender)
	}
	if len(all) == 0 {
		return "", nil
	}
	return all[0], nil
}

func (s *sendmail) traceFlags() int {
	flags := 0
	if s.opt.verify {
		flags |= traceVerify
	}
	if s.opt.record {
		flags |= traceRecord
	}
	return flags
}

// A draft is a message that is written to postdrop as it is read.
type draft struct {
	*sendmail
	sender    string
	w         *record.Writer
	rcpts     int
	extracted []string // recipients from the header
	resent    []string // recipients from its Resent- fields
	isResent  bool
	failed    error // what the header reader has found
}

func (m *draft) write() error {
	m.envelope()
	m.w.PutString(record.Mesg, "")
	if m.opt.verify {
		m.probe()
	} else if err := m.content(); err != nil {
		return err
	}
	m.w.PutString(record.Xtra, "")
	if m.isResent {
		m.extracted = m.resent
	}
	for _, rcpt := range m.extracted {
		m.recipient(rcpt)
	}
	if m.rcpts == 0 {
		if m.opt.extract {
			return errors.New("No recipient addresses found in message header")
		}
		return errors.New("Recipient addresses must be specified on the command line or via the -t option")
	}
	m.w.PutString(record.End, "")
	return m.w.Flush()
}

func (m *draft) envelope() {
	o := &m.opt
	if o.sendOpts != 0 { // Postfix: a size record that has no sizes yet
		m.w.Put(record.Size, record.Sizes{SendOpts: o.sendOpts}.Append(nil))
	}
	if o.envelopeID != "" {
		m.w.Attr("envelope_id", o.envelopeID)
	}
	if o.ret != 0 {
		m.w.Attr("ret_flags", fmt.Sprint(o.ret))
	}
	context := "local"
	if o.remote {
		context = "remote"
	}
	m.w.Attr("rewrite_context", context)
	if name := m.fullName(); name != "" || o.fullName != nil {
		m.w.PutString(record.FullName, name)
	}
	m.w.PutString(record.Sender, m.sender)
	if o.encoding != "" {
		m.w.Attr("encoding", o.encoding)
	}
	if flags := m.traceFlags(); flags != 0 {
		m.w.Attr("trace_flags", fmt.Sprint(flags))
	}
	if o.verp != "" {
		m.w.PutString(record.Verp, o.verp)
	}
	for _, arg := range o.recipients {
		if null(arg) {
			m.recipient("")
		}
		for _, rcpt := range address.Addresses(arg) {
			m.recipient(rcpt)
		}
	}
}

// null says whether an argument is the null address. Postfix: the mail goes to
// empty_address_recipient.
func null(arg string) bool {
	arg = strings.TrimSpace(arg)
	return arg == "" || arg == "<>"
}

func (m *draft) recipient(rcpt string) {
	if m.opt.notify != 0 {
		m.w.Attr("notify_flags", fmt.Sprint(m.opt.notify))
	}
	m.w.PutString(record.Rcpt, rcpt)
	m.rcpts++
}

// probe is the message of -bv, which is not delivered.
func (m *draft) probe() {
	if m.sender != "" {
		m.w.PutString(record.Norm, "From: "+m.sender)
	}
	m.w.PutString(record.Norm, "Subject: probe")
	if len(m.opt.recipients) == 0 {
		return
	}
	m.w.PutString(record.Cont, "To:")
	for i, rcpt := range m.opt.recipients {
		if i < len(m.opt.recipients)-1 {
			rcpt += ","
		}
		m.w.PutString(record.Norm, "\t"+rcpt)
	}
}

// startPostdrop runs the program that may write to the queue.
func (s *sendmail) startPostdrop() (*submit.Child, error) {
	cmd := s.child(s.Common.CommandDirectory, "postdrop", "-r")
	cmd.Stderr = s.Err
	return submit.Start(cmd)
}

// finish waits for postdrop's answer.
func finish(d *submit.Child) error {
	result, err := d.Finish()
	switch s := result.Status; {
	case err != nil:
		return fmt.Errorf("error writing queue file: %w", err)
	case s == 0:
		return nil
	case result.Reason != "":
		return errors.New(result.Reason)
	case s&postdrop.StatusSize != 0:
		return errors.New("message file too big")
	case s&postdrop.StatusBad != 0:
		return errors.New("internal protocol error")
	}
	return errors.New("queue file write error")
}
