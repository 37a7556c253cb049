package smtpd

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/ipc/cleanup"
	"postern/internal/mail/event"
	"postern/internal/mail/record"
)

// dateLayout is RFC 5322 3.3 as Postfix writes it.
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700 (MST)"

// freeSpace is what is left for ordinary users on the queue's file system.
func freeSpace() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(".", &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// retFlags are the numbers of RET in records.
var retFlags = map[string]string{"FULL": "1", "HDRS": "2"}

// openQueue starts the record stream of the message and writes what is known
// of its origin. The order is Postfix's.
func (s *session) openQueue() error {
	if s.filter != nil {
		return s.startFilter()
	}
	flags := s.flags &^ cleanup.FlagMilter // non_smtpd_milters are not for this mail
	if s.tx.smtputf8 {
		flags |= cleanup.FlagSMTPUTF8
	} else if s.common.SMTPUTF8Enable {
		flags |= cleanup.FlagAutoUTF8
	}
	if s.tx.requireTLS {
		flags |= cleanup.FlagRequireTLS
	}
	q, err := s.newQueueFile(flags)
	if err != nil {
		return err
	}
	s.tx.queue = q
	s.subject.QueueID = q.ID()
	w := q.Records()
	if s.standAlone {
		s.dropEnvelope(w)
		return w.Err()
	}
	s.announceMilters(w)
	t := s.tx.arrival
	w.Printf(record.Time, "%d %d", t.Unix(), t.Nanosecond()/1000)
	if s.conf.ContentFilter != "" {
		w.PutString(record.Filter, s.conf.ContentFilter)
	}
	ident := s.xf.ident
	if ident == "" {
		ident = q.ID()
	}
	w.Attr("log_ident", ident)
	w.Attr("rewrite_context", s.tx.rewriteContext)
	if s.subject.SASLUsername != "" {
		w.Attr("sasl_method", s.subject.SASLMethod)
		w.Attr("sasl_username", s.subject.SASLUsername)
	}
	if s.subject.SASLSender != "" {
		w.Attr("sasl_sender", s.subject.SASLSender)
	}
	if s.tx.envelopeID != "" {
		w.Attr("envelope_id", s.tx.envelopeID)
	}
	if s.tx.ret != "" {
		w.Attr("ret_flags", retFlags[s.tx.ret])
	}
	w.PutString(record.Sender, s.tx.sender)
	s.origin(w)
	if s.tx.verp != "" {
		w.PutString(record.Verp, s.tx.verp)
	}
	if s.tx.encoding != "" {
		w.Attr("encoding", s.tx.encoding)
	}
	s.effectRecords(w)
	s.logMessage()
	return w.Err()
}

// origin writes who the client is: as logs and delivery agents are told
// (XFORWARD may say so), and as milters and filters see it.
func (s *session) origin(w *record.Writer) {
	name, addr, port, helo, proto := s.peer.name, s.peer.addr, s.peer.port, s.subject.Helo, s.subject.Protocol
	origin := name + "[" + addr + "]"
	if s.xf.given {
		name, addr, port, helo, proto = s.xf.name, s.xf.addr, s.xf.port, s.xf.helo, s.xf.proto
		origin = name + "[" + addr + "]"
	}
	w.Attr("log_client_name", name)
	w.Attr("log_client_address", addr)
	w.Attr("log_client_port", port)
	w.Attr("log_message_origin", origin)
	if helo != "" {
		w.Attr("log_helo_name", helo)
	}
	w.Attr("log_protocol_name", proto)
	w.Attr("client_name", s.peer.name)
	w.Attr("reverse_client_name", s.peer.reverse)
	w.Attr("client_address", s.peer.addr)
	w.Attr("client_port", s.peer.port)
	w.Attr("server_address", s.peer.serverAddr)
	w.Attr("server_port", s.peer.serverPort)
	if s.subject.HasHelo {
		w.Attr("helo_name", s.subject.Helo)
	}
	w.Attr("protocol_name", s.subject.Protocol)
	w.Attr("client_address_type", s.peer.family())
}

// effectRecords writes what access tables asked for since the last call.
func (s *session) effectRecords(w *record.Writer) {
	e := &s.subject.Effects
	flags := cleanup.Flags(0)
	if e.Hold {
		flags |= cleanup.FlagHold
	}
	if e.Discard {
		flags |= cleanup.FlagDiscard
	}
	if flags &^= s.tx.flags; flags != 0 {
		w.PutString(record.Flags, strconv.Itoa(int(flags)))
		s.tx.flags |= flags
	}
	if e.Filter != "" {
		w.PutString(record.Filter, e.Filter)
	}
	if e.Redirect != "" {
		w.PutString(record.Redirect, e.Redirect)
	}
	e.Filter, e.Redirect = "", ""
}

func (s *session) logMessage() {
	e := &event.SMTPDMessage{QueueID: s.queueID(), Client: s.subject.LogClient,
		SASLMethod: s.subject.SASLMethod, SASLUsername: s.subject.SASLUsername, SASLSender: s.subject.SASLSender}
	if s.xf.given {
		e.OrigQueueID = s.xf.ident
		e.OrigClient = s.xf.name + "[" + s.xf.addr + "]"
	}
	e.Trail = append(e.Trail, s.subject.Trail...)
	s.log.Event(e)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
