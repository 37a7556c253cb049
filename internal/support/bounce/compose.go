package bounce

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/envelope"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
	"postern/internal/mail/statuslog"
)

// dateLayout is the date of header fields, RFC 5322 3.3.
const dateLayout = "Mon, _2 Jan 2006 15:04:05 -0700 (MST)"

// lineWidth is where the text of a report is folded.
const lineWidth = 79

// A composer writes one report into a session with cleanup.
type composer struct {
	s        *Server
	sub      *subject
	a        audience
	w        *record.Writer
	records  []statuslog.Record
	boundary string
	utf8     bool   // the report needs SMTPUTF8 (RFC 6533)
	noTLS    bool   // the message says that TLS is not required, and so does the report
	redact   bool   // the content must not be disclosed (RFC 8689 5)
	encoding string // of the message that is reported on, or 8bit for the text's sake; "" when not known
}

// post sends a report and returns its queue id.
func (s *Server) post(ctx context.Context, sub *subject, a audience, records []statuslog.Record) (string, error) {
	utf8 := sub.SendOpts&delivery.SendUTF8Requested != 0
	flags := s.flags
	if utf8 {
		flags |= cleanup.FlagSMTPUTF8
	}
	requireTLS := sub.SendOpts&delivery.SendRequireTLS != 0
	if requireTLS && !s.cfg.RedactTLS {
		flags |= cleanup.FlagRequireTLS
	}
	session, err := s.cleanup.Open(ctx, flags)
	if err != nil {
		return "", err
	}
	defer session.Close()
	if session.QueueID == "" {
		_, reason, err := session.Finish(ctx)
		return "", fmt.Errorf("cleanup service cannot take a notice: %s (%v)", reason, err)
	}
	c := &composer{
		s: s, sub: sub, a: a, w: session.W, records: records, utf8: utf8,
		boundary: fmt.Sprintf("%s.%d/%s", sub.QueueID, s.now().Unix(), s.env.Common.MyHostname),
		encoding: sub.Encoding, noTLS: sub.SendOpts&delivery.SendTLSNotReq != 0 && !requireTLS,
		redact: requireTLS && s.cfg.RedactTLS,
	}
	if !strings.EqualFold(sub.template.Charset, "us-ascii") {
		c.encoding = "8bit"
	}
	c.envelope(session.QueueID)
	c.header()
	c.text()
	c.report()
	if err := c.original(); err != nil {
		return "", err
	}
	c.line("")
	c.line("--" + c.boundary + "--")
	c.w.PutString(record.Xtra, "")
	c.w.PutString(record.End, "")
	status, reason, err := session.Finish(ctx)
	if err != nil {
		return "", err
	}
	if status != 0 {
		return "", fmt.Errorf("cleanup service refuses a notice: %s", strings.TrimSuffix(fmt.Sprintf("%s: %s", status, reason), ": "))
	}
	return session.QueueID, nil
}

// envelope is what comes before the content. Postfix: mail of its own has the
// rewriting context of local mail.
func (c *composer) envelope(id string) {
	now := c.s.now()
	c.w.PutString(record.Time, fmt.Sprintf("%d %d", now.Unix(), now.Nanosecond()/1000))
	c.w.Attr("log_message_origin", "local")
	c.w.Attr("rewrite_context", "local")
	c.w.PutString(record.Sender, c.a.sender)
	c.w.PutString(record.Rcpt, c.a.rcpt)
	c.w.PutString(record.Mesg, "")
	common := c.s.env.Common
	c.linef("Received: by %s (%s)", common.MyHostname, common.MailName)
	c.linef("\tid %s; %s", id, now.Format(dateLayout))
	c.linef("Date: %s", now.Format(dateLayout))
}

func (c *composer) line(text string)                 { c.w.PutString(record.Norm, text) }
func (c *composer) linef(format string, args ...any) { c.line(fmt.Sprintf(format, args...)) }

// wrap writes a long line in pieces that are indented but the first.
func (c *composer) wrap(text string) {
	indent := ""
	for {
		room := lineWidth - len(indent)
		if len(text) <= room {
			c.line(indent + text)
			return
		}
		cut := strings.LastIndexByte(text[:room+1], ' ')
		if cut <= 0 {
			if cut = strings.IndexByte(text[room:], ' '); cut < 0 {
				c.line(indent + text)
				return
			}
			cut += room
		}
		c.line(indent + text[:cut])
		text = strings.TrimLeft(text[cut:], " ")
		indent = "    "
		if text == "" {
			return
		}
	}
}

func (c *composer) header() {
	t := c.sub.template
	c.linef("From: %s", t.From)
	subject, auto := t.Subject, "auto-replied" // RFC 3834 5
	if c.a.postmaster {
		subject, auto = t.PostmasterSubject, "auto-generated"
	}
	c.linef("Subject: %s", subject)
	c.linef("To: %s", address.Quote822(c.a.rcpt))
	if c.s.cfg.Threaded && c.sub.file != nil {
		c.thread()
	}
	c.linef("Auto-Submitted: %s", auto)
	if c.noTLS {
		c.line(message.TLSNotRequiredField)
	}
	c.line("MIME-Version: 1.0")
	c.line("Content-Type: multipart/report; report-type=delivery-status;")
	c.linef("\tboundary=\"%s\"", c.boundary)
	if c.encoding != "" {
		c.linef("Content-Transfer-Encoding: %s", c.encoding)
	}
	c.line("")
	c.line("This is a MIME-encapsulated message.")
}

func (c *composer) part(description string) {
	c.line("")
	c.line("--" + c.boundary)
	c.linef("Content-Description: %s", description)
}

// text is the part for people. The postmaster does without politeness.
func (c *composer) text() {
	t := c.sub.template
	c.part("Notification")
	c.linef("Content-Type: text/plain; charset=%s", t.Charset)
	if !strings.EqualFold(t.Charset, "us-ascii") {
		c.line("Content-Transfer-Encoding: 8bit")
	}
	c.line("")
	if !c.a.postmaster {
		for _, warning := range t.warnings {
			c.s.log.Warningf("%s", warning)
		}
		for _, line := range t.Text {
			c.line(line)
		}
	}
	for i := range c.records {
		c.line("")
		c.person(&c.records[i])
	}
}

func (c *composer) person(r *statuslog.Record) {
	if r.Address == "" && r.Result.Reason == "" {
		c.line("\t--- Delivery report unavailable ---")
		return
	}
	who := "<" + address.Quote822(r.Address) + ">"
	if r.OrigAddr != "" && !strings.EqualFold(r.OrigAddr, r.Address) {
		who += " (expanded from <" + address.Quote822(r.OrigAddr) + ">)"
	}
	c.wrap(who + ": " + r.Result.Reason)
}

// report is the part for programs, RFC 3464 2.
func (c *composer) report() {
	common := c.s.env.Common
	c.part("Delivery report")
	if c.utf8 {
		c.line("Content-Type: message/global-delivery-status") // RFC 6533 5
		c.line("Content-Transfer-Encoding: 8bit")
	} else {
		c.line("Content-Type: message/delivery-status")
	}
	c.line("")
	c.linef("Reporting-MTA: dns; %s", common.MyHostname)
	if c.sub.EnvelopeID != "" {
		c.linef("Original-Envelope-Id: %s", c.sub.EnvelopeID)
	}
	c.linef("X-%s-Queue-ID: %s", common.MailName, c.sub.QueueID)
	c.linef("X-%s-Sender: %s; %s", common.MailName, addressType(c.sender()), address.Quote822(c.sender()))
	if c.sub.file != nil && !c.sub.file.env.Arrival.IsZero() {
		c.linef("Arrival-Date: %s", c.sub.file.env.Arrival.Format(dateLayout))
	}
	for i := range c.records {
		c.fields(&c.records[i])
	}
}

// sender is the message's, or the name under which the null sender is known.
// A list's owner is told who wrote, not that he did.
func (c *composer) sender() string {
	sender := c.sub.Sender
	if c.sub.file != nil {
		sender = c.sub.file.env.Sender
	}
	if sender == "" {
		return "MAILER-DAEMON@" + c.s.env.Common.MyHostname
	}
	return sender
}

// addressType is rfc822 or, with octets that are not ASCII, utf-8 (RFC 6533 3).
func addressType(addr string) string {
	if plain([]string{addr}) {
		return "rfc822"
	}
	return "utf-8"
}

// fields are those about one recipient, RFC 3464 2.3.
func (c *composer) fields(r *statuslog.Record) {
	d := &r.Result
	c.line("")
	c.linef("Final-Recipient: %s; %s", addressType(r.Address), address.Quote822(r.Address))
	if r.DSNOrigRcpt != "" {
		c.linef("Original-Recipient: %s", r.DSNOrigRcpt)
	} else if r.OrigAddr != "" {
		c.linef("Original-Recipient: %s; %s", addressType(r.OrigAddr), address.Quote822(r.OrigAddr))
	}
	action := d.Action
	if c.sub.template.kind == failure || action == "" {
		action = "failed"
	}
	c.linef("Action: %s", action)
	status := d.Status
	if status == "" {
		status = "5.0.0"
	}
	c.linef("Status: %s", status)
	if d.MTAType != "" && d.MTAName != "" {
		c.linef("Remote-MTA: %s; %s", d.MTAType, d.MTAName)
	}
	if d.DiagType != "" && d.DiagText != "" {
		c.wrap(fmt.Sprintf("Diagnostic-Code: %s; %s", d.DiagType, d.DiagText))
	} else {
		c.wrap(fmt.Sprintf("Diagnostic-Code: X-%s; %s", c.s.env.Common.MailName, d.Reason))
	}
	if c.sub.template.kind == delay && c.sub.file != nil {
		c.linef("Will-Retry-Until: %s", c.sub.file.env.Arrival.Add(c.s.cfg.MaxLifetime).Format(dateLayout))
	}
}

// original returns the message, or its header where that is enough or the
// message is larger than bounce_size_limit.
func (c *composer) original() error {
	f := c.sub.file
	if f == nil {
		return nil
	}
	headers := c.a.headers || c.redact || f.env.Sizes.Content > int64(c.s.cfg.SizeLimit)
	what := ""
	if k := c.sub.template.kind; k == failure || k == delay {
		what = "Undelivered "
	}
	if headers {
		c.part(what + "Message Headers")
		c.linef("Content-Type: %s", map[bool]string{false: "text/rfc822-headers", true: "message/global-headers"}[c.utf8])
	} else {
		c.part(what + "Message")
		c.linef("Content-Type: %s", map[bool]string{false: "message/rfc822", true: "message/global"}[c.utf8])
	}
	if c.encoding == "8bit" {
		c.line("Content-Transfer-Encoding: 8bit")
	}
	c.line("")
	c.linef("Return-Path: <%s>", address.Quote822(c.sender()))
	return c.copy(headers)
}

// copy puts the records of the message into the report. What cannot be read is
// left out: the report itself must reach the sender.
func (c *composer) copy(headers bool) error {
	r := record.NewFileReader(c.sub.file, c.sub.file.env.Sizes.ContentOffset)
	begins := true
	for {
		t, data, err := r.Next()
		if err != nil {
			c.s.log.Warningf("%s: %v", c.sub.QueueID, err)
			return nil
		}
		if t != record.Norm && t != record.Cont || headers && begins && len(data) == 0 && t == record.Norm {
			return c.w.Err()
		}
		if err := c.w.Put(t, data); err != nil {
			return err
		}
		begins = t == record.Norm
	}
}

// thread makes the report a reply to the message, enable_threaded_bounces.
// Postfix: earlier messages that it refers to are not named.
func (c *composer) thread() {
	content := envelope.NewContent(c.sub.file, c.sub.file.env.Sizes.ContentOffset)
	for {
		text, whole, err := content.Next()
		if err != nil || len(text) == 0 {
			return
		}
		name, value, _ := strings.Cut(string(text), ":")
		if id := strings.TrimSpace(value); whole && id != "" && strings.EqualFold(strings.TrimSpace(name), "message-id") {
			c.linef("References: %s", id)
			c.linef("In-Reply-To: %s", id)
			return
		}
	}
}

func plain(lines []string) bool {
	for _, s := range lines {
		for i := 0; i < len(s); i++ {
			if s[i] >= 0x80 {
				return false
			}
		}
	}
	return true
}
