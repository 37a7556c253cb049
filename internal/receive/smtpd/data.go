package smtpd

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"postern/internal/ipc/cleanup"
	"postern/internal/mail/dsn"
	"postern/internal/mail/record"
	"postern/internal/protocol/smtp"
)

// needRecipients refuses DATA and BDAT that come too early.
func (s *session) needRecipients() (smtp.Reply, bool) {
	switch {
	case s.tx == nil:
		return ok(503, "5.5.1", "Error: need RCPT command"), true
	case len(s.tx.recipients) == 0:
		return ok(554, "5.5.1", "Error: no valid recipients"), true
	}
	return smtp.Reply{}, false
}

// data is DATA (RFC 5321 4.1.1.4).
func (s *session) data(arg string) outcome {
	if s.bdatFailed || s.tx != nil && s.tx.bdat != nil {
		return say(ok(503, "5.5.1", "Error: DATA after BDAT"))
	}
	if r, early := s.needRecipients(); early {
		return say(r)
	}
	if arg != "" {
		return say(ok(501, "5.5.4", "Syntax: DATA"))
	}
	if !s.standAlone {
		if r := s.policy.DataStart(s.ctx, &s.subject); !r.IsZero() {
			return say(r)
		}
		s.judged("")
	}
	if r := s.milterData(); !r.IsZero() {
		return say(r)
	}
	if s.tx.filter != nil {
		if r, taken := s.tx.filter.Command("DATA", '3'); !taken {
			return say(r)
		}
	}
	return outcome{Reply: ok(354, "", "End data with <CR><LF>.<CR><LF>"), next: s.dataContent}
}

// dataContent passes the content from the client to cleanup, line by line.
func (s *session) dataContent() outcome {
	c := s.beginContent()
	d := s.in.NewDataReader(s.bareNewline, s.common.LineLengthLimit)
	for {
		line, full, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.lost(err)
		}
		c.line(line, full)
	}
	s.noteBareLF(d.BareLF)
	return s.endContent("")
}

// content puts message lines into the record stream.
type content struct {
	tx    *transaction
	w     *record.Writer
	limit int64
	first bool // no line has been written
	start bool // at the start of a line
	left  bool // the last line is unfinished
}

// beginContent writes the marker and our Received: field.
func (s *session) beginContent() *content {
	w := s.tx.queue.Records()
	if err := s.passMilters(); err != nil {
		s.log.Warningf("%s: pass milters to cleanup: %v", s.queueID(), err)
		s.tx.status |= cleanup.StatusWrite
	}
	s.effectRecords(w)
	w.PutString(record.Mesg, "")
	s.requireTLSField(w)
	if s.tx.filter == nil || !s.xf.given { // Postfix: the trace of an upstream filter is enough
		s.received(w)
	}
	s.octets = 0
	return &content{tx: s.tx, w: w, limit: s.common.MessageSizeLimit, first: true, start: true}
}

// line writes one line or a piece of one. After an error the rest of the
// content is read and dropped.
func (c *content) line(line []byte, full bool) {
	c.tx.octets += int64(len(line))
	if full {
		c.tx.octets += 2
	}
	if c.tx.status != 0 {
		return
	}
	if c.limit > 0 && c.tx.octets > c.limit {
		c.tx.status |= cleanup.StatusSize
		return
	}
	t := record.Cont
	if full {
		t = record.Norm
	}
	if c.first {
		if fromLine(line) { // an mbox separator is no header field
			c.w.Printf(t, "X-Mailbox-Line: %s", line)
			return
		}
		c.first = false
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			// White space must not continue our Received: field.
			c.w.PutString(record.Norm, "")
		}
	}
	c.left = !full
	if c.w.Put(t, line) != nil {
		c.tx.status |= cleanup.StatusWrite
	}
}

func fromLine(line []byte) bool {
	for len(line) > 0 && line[0] == '>' {
		line = line[1:]
	}
	return len(line) >= 5 && string(line[:5]) == "From "
}

// noteBareLF remembers what the policy on bare newlines wants to be known.
func (s *session) noteBareLF(seen bool) {
	if !seen {
		return
	}
	switch s.bareNewline {
	case smtp.NoteBareLF:
		s.bareSeen = true
	case smtp.RejectBareLF:
		s.tx.status |= cleanup.StatusBareLF
	}
}

// endContent finishes the message and says what became of it. size is put into
// the reply (BDAT).
func (s *session) endContent(size string) outcome {
	tx := s.tx
	s.where, s.subject.Stage = afterMessage, afterMessage
	s.subject.Size = tx.octets
	defer func() { s.octets = -1 }()
	if tx.status == 0 && !s.standAlone {
		if s.conf.Restrict.EndOfData != "" {
			tx.queue.Records().Flush() // Postfix: cleanup has seen the header by now
		}
		if r := s.policy.DataEnd(s.ctx, &s.subject); !r.IsZero() {
			s.reset()
			return say(r)
		}
		s.judged("")
	}
	if tx.status == 0 && tx.filter != nil {
		return s.endFilter()
	}
	status, reason := tx.status, ""
	if status == 0 {
		status, reason = s.finish()
	}
	if status == 0 {
		id := s.queueID()
		s.reset()
		s.errors, s.junk = 0, 0
		return say(ok(250, "2.0.0", "Ok: "+size+"queued as "+id))
	}
	r := s.failure(status, reason)
	if tx.filter != nil {
		s.logFilter(r)
	}
	s.reset()
	return say(r)
}

// bareLF refuses what has a bare newline in it.
func (s *session) bareLF() smtp.Reply {
	s.log.Event(s.action("reject", "bare <LF> received"))
	return ok(s.conf.ForbidBareNewlineCode, "5.5.2", s.common.MyHostname+" Error: bare <LF> received")
}

// finish ends the record stream and waits for cleanup's word.
func (s *session) finish() (cleanup.Status, string) {
	w := s.tx.queue.Records()
	w.PutString(record.Xtra, "")
	s.effectRecords(w)
	for _, bcc := range s.subject.Effects.Bcc {
		w.Attr("notify_flags", strconv.Itoa(dsn.NotifyNever))
		w.PutString(record.Rcpt, bcc)
	}
	w.PutString(record.End, "")
	status, reason, err := s.tx.queue.Finish(s.ctx)
	if err != nil {
		s.log.Warningf("%s: %v", s.queueID(), err)
		if s.tx.handedOver {
			s.milters.Lost()
		}
		return cleanup.StatusWrite, ""
	}
	return status, reason
}

// failure is the reply to a message that was not taken.
func (s *session) failure(status cleanup.Status, reason string) smtp.Reply {
	if status == cleanup.StatusBareLF {
		return s.bareLF()
	}
	if status == cleanup.StatusSize && s.tx.status == status { // else cleanup has said so
		s.log.Warningf("%squeue file size limit exceeded", s.idPrefix())
	}
	// A milter's reply may have several lines, which no other reason has.
	if first, _, several := strings.Cut(reason, "\r\n"); several && len(first) > 3 && first[3] == '-' {
		return parseMilterReply(reason)
	}
	if r, isReply := smtp.ParseReply(reason); isReply && r.Code >= 400 {
		return r
	}
	d := status.Detail()
	if d.Status == cleanup.StatusContent && reason != "" {
		r := dsn.Split(dsn.Status(d.DSN), strings.ReplaceAll(reason, "\n", " "))
		return smtp.NewReply(d.Code, r.Status, r.Reason)
	}
	text := d.Text
	if reason != "" && (status&(cleanup.StatusDefer|cleanup.StatusNoPerm) != 0) {
		text = strings.ReplaceAll(reason, "\n", " ")
	}
	if d.Status == cleanup.StatusBad {
		text = fmt.Sprintf("internal error %d", status)
	}
	return ok(d.Code, d.DSN, "Error: "+text)
}
