package pickup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/event"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// Records that may stand in each segment of a maildrop file. Postfix: those of
// messages that postsuper -r has put back are among them; pointers are followed
// by the reader.
const (
	envelopeTypes = "CTcFILSDRO/WVA>K<ion"
	contentTypes  = "LNpwI"
	extractTypes  = "DRO/PreAFIL>Kon"
)

// dateLayout is RFC 5322 3.3 as Postfix writes it.
const dateLayout = "Mon, _2 Jan 2006 15:04:05 -0700 (MST)"

// malformed is why a file is no message.
type malformed struct{ err error }

func (m *malformed) Error() string { return m.err.Error() }
func (m *malformed) Unwrap() error { return m.err }

// errLogged says that the message stays, and that cleanup has told why.
var errLogged = errors.New("cleanup has logged the reason")

// A hand is one message between maildrop and cleanup.
type hand struct {
	s       *Server
	f       *queue.File
	r       *record.FileReader
	w       *record.Writer
	id      string // of the new queue file
	sender  *string
	arrival time.Time
}

func currentUID() int { return os.Geteuid() }

// handOver gives the file to cleanup and returns nil when cleanup has it or
// has rejected it for good.
func (s *Server) handOver(ctx context.Context, f *queue.File) error {
	session, err := s.cleanup.Open(ctx, s.flags|s.wishes(f))
	if err != nil {
		return err
	}
	defer session.Close()
	r := record.NewFileReader(f, 0)
	r.SetLimit(s.common.LineLengthLimit)
	h := &hand{s: s, f: f, r: r, w: session.W, id: session.QueueID, arrival: f.Info().ModTime}
	if session.QueueID != "" {
		if err := h.copy(); err != nil {
			return err
		}
	}
	status, reason, err := session.Finish(ctx)
	if err != nil {
		return err
	}
	return s.outcome(f.ID(), session.QueueID, status, reason)
}

// wishes are what the sender asked of delivery: sendmail -O, or the message that
// postsuper -r has put back, say so in a size record at the beginning.
func (s *Server) wishes(f *queue.File) (flags cleanup.Flags) {
	r := record.NewFileReader(f, 0)
	r.SetLimit(s.common.LineLengthLimit)
	for {
		t, data, err := r.Next()
		if err != nil || t != record.Time && t != record.Size {
			return flags
		}
		if t != record.Size {
			continue
		}
		sizes, err := record.ParseSizes(data)
		if err != nil {
			return flags
		}
		if sizes.SendOpts&delivery.SendRequireTLS != 0 {
			flags |= cleanup.FlagRequireTLS
		}
		if sizes.SendOpts&delivery.SendUTF8Requested != 0 && s.common.SMTPUTF8Enable {
			flags |= cleanup.FlagSMTPUTF8
		}
	}
}

// outcome says what cleanup's answer means for the maildrop file. A reason
// means that cleanup has logged and bounced it.
func (s *Server) outcome(id queue.ID, newID string, status cleanup.Status, reason string) error {
	switch {
	case status == 0:
		return nil
	case status&cleanup.StatusBad != 0:
		return &malformed{fmt.Errorf("%s: cleanup refuses the message: %v", id, status)}
	case status&cleanup.StatusRecipients != 0:
		// Postfix: all recipients of a message that postsuper -r has put back
		// may be done.
		if reason == "" {
			s.log.Warningf("%s: error writing %s: %v", s.store.Path(queue.Maildrop, id), newID, status)
		}
		return nil
	}
	if reason != "" {
		return errLogged
	}
	return fmt.Errorf("%s: error writing %s: %v", s.store.Path(queue.Maildrop, id), newID, status)
}

// requeued says whether postsuper -r has put the message back: it belongs to
// the mail system and is not readable by others, as a queue file is.
func (h *hand) requeued() bool {
	return h.f.Info().UID == h.s.owner && h.f.Info().Mode&0o004 == 0
}

func (h *hand) copy() error {
	h.checkAge()
	if h.s.ContentFilter != "" {
		h.w.PutString(record.Filter, h.s.ContentFilter)
	}
	if err := h.segment(envelopeTypes, record.Mesg); err != nil {
		return err
	}
	if h.sender == nil {
		return h.malformed(errors.New("no envelope sender"))
	}
	e := &event.Pickup{QueueID: h.id, UID: h.f.Info().UID, Sender: h.s.logAddress(*h.sender)}
	if h.requeued() {
		e.OrigID = string(h.f.ID())
	}
	h.s.log.Event(e)
	h.w.PutString(record.Mesg, "")
	h.received()
	if err := h.segment(contentTypes, record.Xtra); err != nil {
		return err
	}
	h.w.PutString(record.Xtra, "")
	if err := h.segment(extractTypes, record.End); err != nil {
		return err
	}
	return h.w.PutString(record.End, "")
}

// checkAge tells of a message whose time makes no sense or that has waited
// long; a time in the future is not kept.
func (h *hand) checkAge() {
	const day = 24 * time.Hour
	now := h.s.now()
	switch age := now.Sub(h.arrival); {
	case age < -2*day:
		h.s.log.Warningf("%s: message dated %d seconds into the future", h.id, -age/time.Second)
		h.arrival = now
	case age > day:
		h.s.log.Warningf("%s: message has been queued for %d days", h.id, age/day)
	}
}

// received puts this system's trace field on top of the message, with the uid
// of the user who submitted it.
func (h *hand) received() {
	c := h.s.common
	h.w.Printf(record.Norm, "Received: by %s (%s, from userid %d)", c.MyHostname, c.MailName, h.f.Info().UID)
	h.w.Printf(record.Norm, "\tid %s; %s", h.id, h.arrival.Format(dateLayout))
}

// segment copies records up to the marker end, which it does not copy.
func (h *hand) segment(allowed string, end record.Type) error {
	first := end == record.Xtra
	seenTime := false
	for {
		t, data, err := h.r.Next()
		if err != nil {
			if err != io.EOF && !isFormat(err) {
				return err
			}
			return h.malformed(err)
		}
		if t == end {
			return nil
		}
		if bytes.IndexByte([]byte(allowed), byte(t)) < 0 {
			return h.malformed(fmt.Errorf("unexpected record type %d", t))
		}
		if end == record.Xtra {
			if first && len(data) > 0 && (data[0] == ' ' || data[0] == '\t') {
				// Content that begins with white space must not go on with our
				// Received: field.
				h.w.PutString(record.Norm, "")
			}
			first = false
		} else {
			switch {
			case h.drops(t, data, end):
				continue
			case t == record.Time:
				seenTime = true
			case t == record.Sender && h.sender == nil:
				sender := string(data)
				h.sender = &sender
				if !seenTime {
					h.w.Printf(record.Time, "%d 0", h.arrival.Unix())
				}
			}
		}
		if err := h.w.Put(t, data); err != nil {
			return err
		}
	}
}

// drops says whether a record of the envelope or extracted segment is not for
// cleanup: a new file gets its own size and creation time, and a message put
// back is subject to the content filter of today.
func (h *hand) drops(t record.Type, data []byte, end record.Type) bool {
	switch t {
	case record.Size, record.CTime, record.Filter, record.Redirect, record.Killed:
		return true
	case record.RRTo, record.ErrTo:
		return end == record.End
	case record.Attr:
		name, _, _ := bytes.Cut(data, []byte("="))
		return record.AttrType(string(name)) == record.CTime
	}
	return false
}

func (h *hand) malformed(err error) error {
	return &malformed{fmt.Errorf("%s: %w", h.s.store.Path(queue.Maildrop, h.f.ID()), err)}
}

// isFormat tells a file that is wrong from one that cannot be read.
func isFormat(err error) bool {
	return errors.Is(err, record.ErrLength) || errors.Is(err, record.ErrLoop) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, record.ErrPointer)
}
