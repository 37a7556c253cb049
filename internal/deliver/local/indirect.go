package local

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
)

// A forward is a new message for what a recipient expanded to.
type forward struct {
	delivered, sender string
	session           *cleanup.Session
	posted            time.Time
}

// indirect adds the present address to a new message, one for each sender and
// Delivered-To: address. The message is sent when everything else that the
// recipient stands for is finished.
func (s state) indirect() bool {
	if s.seen.again("indirect " + s.addr) {
		return true
	}
	if s.tour != nil {
		s.step.Forwarded, s.step.Sender, s.step.Delivered = true, s.sender, s.delivered
	}
	if s.req.VerifyOnly() {
		return s.sent("forwards to " + s.addr)
	}
	f, err := s.forwardFor()
	if err == nil {
		w := f.session.W
		if s.original.DSNOrigRcpt != "" {
			w.Attr("dsn_orig_rcpt", s.original.DSNOrigRcpt)
		}
		if s.original.Notify != 0 {
			w.Attr("notify_flags", fmt.Sprint(s.original.Notify))
		}
		if s.original.OrigAddr != "" {
			w.PutString(record.OrigRcpt, s.original.OrigAddr)
		}
		err = w.PutString(record.Rcpt, s.addr)
	}
	if err != nil {
		s.req.Log.Warningf("%s: %v", s.req.QueueID, err)
		return s.deferred("4.3.0", "unable to forward message")
	}
	return true
}

// forwardFor returns the message for the present sender.
func (s state) forwardFor() (*forward, error) {
	for _, f := range s.forwards {
		if f.delivered == s.delivered && f.sender == s.sender {
			return f, nil
		}
	}
	// Whom a bounce would concern is not known here: cleanup sends it.
	session, err := s.cleanup.Open(s.ctx, cleanup.FlagBounce|cleanup.MaskInternal|s.wishes())
	if err != nil {
		return nil, err
	}
	f := &forward{s.delivered, s.sender, session, time.Now()}
	s.job.forwards = append(s.job.forwards, f)
	if session.QueueID == "" {
		return nil, fmt.Errorf("the cleanup service has no queue file")
	}
	return f, s.envelope(f)
}

// wishes are what the sender asked of delivery, which holds for the new message,
// too.
func (s state) wishes() (flags cleanup.Flags) {
	if s.req.SMTPUTF8() {
		flags |= cleanup.FlagSMTPUTF8
	}
	if s.req.SendOpts&delivery.SendRequireTLS != 0 {
		flags |= cleanup.FlagRequireTLS
	}
	return flags
}

// envelope starts the records of a new message.
func (s state) envelope(f *forward) error {
	w, r := f.session.W, s.req
	w.PutString(record.Time, fmt.Sprintf("%d %d", f.posted.Unix(), f.posted.Nanosecond()/1000))
	w.PutString(record.Sender, f.sender)
	if s.original.RetFlags != 0 {
		w.Attr("ret_flags", fmt.Sprint(s.original.RetFlags))
	}
	if s.original.EnvelopeID != "" {
		w.Attr("envelope_id", s.original.EnvelopeID)
	}
	var err error
	for _, a := range [...][2]string{
		{"log_client_name", r.ClientName}, {"log_client_address", r.ClientAddr}, {"log_client_port", r.ClientPort},
		{"log_protocol_name", r.ClientProto}, {"log_helo_name", r.ClientHelo},
		{"sasl_method", r.SASLMethod}, {"sasl_username", r.SASLUsername}, {"sasl_sender", r.SASLSender},
		{"log_ident", r.LogIdent}, {"rewrite_context", r.RewriteContext},
	} {
		if a[1] != "" {
			err = w.Attr(a[0], a[1])
		}
	}
	return err
}

// finish sends the new messages if everything else is finished, or gives them
// up: then all is tried again. It says whether they are in the queue.
func (j *job) finish(s state, done bool) bool {
	for _, f := range j.forwards {
		if !done {
			f.session.Close()
			continue
		}
		if err := j.send(f); err != nil {
			j.req.Log.Warningf("%s: forward message: %v", j.req.QueueID, err)
			done = s.deferred("4.3.0", "unable to forward message")
			continue
		}
		// The expansion has been reported; what comes is for the new message.
		s.original.Notify &^= dsn.NotifySuccess
		res := dsn.Make("2.0.0", "forwarded as "+f.session.QueueID)
		res.Action = "relayed"
		if !s.rep.Sent(s.part(), s.relay(), res) {
			done = false
		}
	}
	return done
}

// send copies the message into a new one and waits until that is safe.
func (j *job) send(f *forward) error {
	defer f.session.Close()
	w := f.session.W
	c := j.Env().Common
	w.PutString(record.Mesg, "")
	w.PutString(record.Norm, fmt.Sprintf("Received: by %s (%s)", c.MyHostname, c.MailName))
	w.PutString(record.Norm, fmt.Sprintf("\tid %s; %s", f.session.QueueID, f.posted.Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)")))
	if j.deliveredTo["forward"] {
		w.PutString(record.Norm, "Delivered-To: "+oneLine(address.Quote822(f.delivered)))
	}
	for content := j.req.Content(); ; {
		t, data, err := content.Next()
		if err != nil {
			return err
		}
		if t == record.Xtra {
			break
		}
		if t != record.Norm && t != record.Cont {
			return fmt.Errorf("bad record type %d in message content", t)
		}
		if err := w.Put(t, data); err != nil {
			return err
		}
	}
	w.PutString(record.Xtra, "")
	if err := w.PutString(record.End, ""); err != nil {
		return err
	}
	status, reason, err := f.session.Finish(j.ctx)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("the cleanup service reports status %d: %s", status, reason)
	}
	return nil
}

// oneLine keeps an address from ending the header field that it stands in.
func oneLine(s string) string { return strings.NewReplacer("\r", "?", "\n", "?").Replace(s) }
