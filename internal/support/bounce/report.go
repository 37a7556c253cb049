package bounce

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/event"
	"postern/internal/mail/queue"
	"postern/internal/mail/statuslog"
)

// A subject is a message that is reported on, with the part of its log that one
// report is about.
type subject struct {
	bounce.Message
	template *template
	file     *original          // nil when the message is not there any more
	only     []statuslog.Record // what the report is about, instead of the log
	log      queue.Name
}

// An audience is to whom a report goes, and how.
type audience struct {
	sender     string // envelope sender of the report
	rcpt       string
	postmaster bool // a copy for the postmaster: without the polite text
	want       int  // notify flag that recipients must have, 0: all of them
	headers    bool // only the header of the message is returned
	kind       string
}

// report sends the log to the sender, or to the postmaster when the message has
// no sender, and removes the log unless it is a warning.
func (s *Server) report(ctx context.Context, r *bounce.Request, k kind) error {
	sub := &subject{Message: r.Message, template: &s.templates[k], log: s.logs}
	defer s.look(sub)()
	if err := s.notifyAll(ctx, sub, r.Message.Sender); err != nil {
		return err
	}
	if k == delay {
		return nil
	}
	return s.clear(sub, r.Flags)
}

// notifyAll tells everybody who is to know of a failure or a delay.
func (s *Server) notifyAll(ctx context.Context, sub *subject, to string) error {
	late := sub.template.kind == delay
	what, want, copies, copyTo := "non-delivery", dsn.NotifyFailure, s.notify.bounce, s.cfg.BounceRcpt
	lastResort, lastTo := s.notify.twoBounce, s.cfg.TwoBounceRcpt
	if late {
		what, want, copies, copyTo = "delay", dsn.NotifyDelay, s.notify.delay, s.cfg.DelayRcpt
		lastResort, lastTo = s.notify.delay, s.cfg.DelayRcpt
	}
	headers := late || sub.RetFlags == delivery.RetHeaders
	switch {
	case strings.EqualFold(to, s.doubleBounce()):
		if !late {
			s.log.Warningf("%s: undeliverable postmaster notification discarded", sub.QueueID)
		}
		return nil
	case to == "":
		if !lastResort {
			return nil
		}
		return s.send(ctx, sub, audience{
			sender: s.doubleBounce(), rcpt: lastTo, postmaster: true,
			headers: headers, kind: "postmaster " + what,
		})
	}
	err := s.send(ctx, sub, audience{rcpt: to, want: want, headers: headers, kind: "sender " + what})
	if err != nil || !copies {
		return err
	}
	// A copy is not worth telling the sender twice.
	if err := s.send(ctx, sub, audience{
		sender: s.doubleBounce(), rcpt: copyTo, postmaster: true, headers: true, kind: "postmaster " + what,
	}); err != nil {
		s.log.Warningf("%s: postmaster notice failed while bouncing to %s: %v", sub.QueueID, address.Quote822(to), err)
	}
	return nil
}

// doubleBounce is the sender of notices that must not be returned.
func (s *Server) doubleBounce() string {
	return s.env.Common.DoubleBounceSender + "@" + s.env.Common.MyHostname
}

// trace reports what was delivered, or would be. A report on a report goes to
// the postmaster, if he wants to know; there is none on those.
func (s *Server) trace(ctx context.Context, r *bounce.Request) error {
	m := &r.Message
	a := audience{rcpt: m.Sender, headers: true, kind: "sender delivery status"}
	switch {
	case strings.EqualFold(m.Sender, s.doubleBounce()):
		s.log.Infof("%s: not sending trace/success notification for double-bounce message", m.QueueID)
		return nil
	case m.Sender == "" && !s.notify.twoBounce:
		s.log.Infof("%s: not sending trace/success notification for single-bounce message", m.QueueID)
		return s.clear(&subject{Message: *m, log: s.logs}, 0)
	case m.Sender == "":
		a.rcpt, a.sender = "postmaster", s.doubleBounce()
	}
	if _, err := s.store.Stat(s.logs, m.QueueID); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	k := success
	if r.Flags&(delivery.FlagUserVerify|delivery.FlagRecord) != 0 {
		k = verify
	}
	sub := &subject{Message: *m, template: &s.templates[k], log: s.logs}
	defer s.look(sub)()
	if err := s.send(ctx, sub, a); err != nil {
		return err
	}
	return s.clear(sub, r.Flags)
}

// reportOne reports one recipient that has no log.
func (s *Server) reportOne(ctx context.Context, r *bounce.Request) error {
	sub := &subject{Message: r.Message, template: &s.templates[failure], only: []statuslog.Record{{
		Address: r.Recipient.Address, OrigAddr: r.Recipient.OrigAddr, Offset: r.Recipient.Offset,
		DSNOrigRcpt: r.Recipient.DSNOrigRcpt, Notify: r.Recipient.Notify, Result: r.Result,
	}}}
	defer s.look(sub)()
	return s.notifyAll(ctx, sub, r.Message.Sender)
}

// reportEach sends a report for each recipient, to an address that names it
// (VERP).
func (s *Server) reportEach(ctx context.Context, r *bounce.Request) error {
	sub := &subject{Message: r.Message, template: &s.templates[failure], log: s.logs}
	defer s.look(sub)()
	if r.Message.Sender == "" || strings.EqualFold(r.Message.Sender, s.doubleBounce()) || len(r.Message.Verp) != 2 {
		if err := s.notifyAll(ctx, sub, r.Message.Sender); err != nil {
			return err
		}
		return s.clear(sub, r.Flags)
	}
	err := s.records(sub, func(rec statuslog.Record) error {
		one := *sub
		one.only = []statuslog.Record{rec}
		return s.notifyAll(ctx, &one, address.Verp(r.Message.Sender, rec.OrigAddr, rec.Address, r.Message.Verp))
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = s.notifyAll(ctx, sub, r.Message.Sender)
	}
	if err != nil {
		return err
	}
	return s.clear(sub, r.Flags)
}

// send makes one report and hands it to cleanup. A report about nobody is not
// sent.
func (s *Server) send(ctx context.Context, sub *subject, a audience) error {
	records, err := s.wanted(sub, a.want)
	if err != nil || len(records) == 0 {
		return err
	}
	id, err := s.post(ctx, sub, a, records)
	if err != nil {
		return err
	}
	s.log.Event(&event.Notification{QueueID: string(sub.QueueID), Notice: a.kind, NewID: id})
	return nil
}

// wanted are the records that a report is about. Where there is no log the
// report says so.
func (s *Server) wanted(sub *subject, want int) ([]statuslog.Record, error) {
	var list []statuslog.Record
	err := s.records(sub, func(rec statuslog.Record) error {
		notify := rec.Notify
		if notify == 0 {
			notify = dsn.NotifyFailure | dsn.NotifyDelay // RFC 3461 4.1
		}
		if want == 0 || notify&want != 0 {
			list = append(list, rec)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return []statuslog.Record{{}}, nil
	}
	return list, err
}

// records goes through the records that the report is about.
func (s *Server) records(sub *subject, each func(statuslog.Record) error) error {
	if sub.only != nil {
		for _, rec := range sub.only {
			if err := each(rec); err != nil {
				return err
			}
		}
		return nil
	}
	f, err := s.store.OpenRead(sub.log, sub.QueueID)
	if err != nil {
		return err
	}
	defer f.Close()
	r := statuslog.NewReader(io.NewSectionReader(f, 0, f.Size()))
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = each(rec)
		}
		if err != nil {
			return err
		}
	}
}

// clear removes a log that was reported, after the recipients are marked done
// where that is asked for.
func (s *Server) clear(sub *subject, flags int) error {
	if flags&bounce.FlagDelRcpt != 0 && sub.file != nil {
		err := s.records(sub, func(rec statuslog.Record) error {
			if rec.Offset <= 0 {
				return nil
			}
			return sub.file.MarkDone(rec.Offset)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warningf("%s: %v", sub.QueueID, err)
		}
	}
	if err := s.store.Remove(s.logs, sub.QueueID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
