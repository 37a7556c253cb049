package smtpclient

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"postern/internal/mail/address"
	"postern/internal/mail/record"
	"postern/internal/protocol/smtp"
)

// errContent is a message that cannot be read out of its queue file.
var errContent = errors.New("read message content")

// content sends the message and reads what the server says of it.
func (t *transaction) content() {
	s := t.s
	s.within(t.limit(stageBody))
	out := smtp.NewDotWriter(s.w)
	if len(t.accepted) > 0 {
		if err := t.message(out); err != nil {
			t.broken = true
			t.streamFail(s, err, stages[stageBody].while)
			return
		}
	}
	if s.has(featPixDelayDot) {
		if err := s.flush(); err != nil {
			t.broken = true
			t.streamFail(s, err, stages[stageBody].while)
			return
		}
		t.wait(t.client.config.PixDelay)
	}
	s.within(t.limit(stageDot))
	out.Close()
	if s.has(featPipelining) && !t.store {
		s.command("QUIT")
		s.quitSent = true
	}
	if t.client.proto == LMTP {
		t.doneEach()
	} else {
		t.doneAll()
	}
}

func (t *transaction) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

// doneAll reads the one reply of SMTP to the end of data.
func (t *transaction) doneAll() {
	rep, err := t.s.reply()
	switch {
	case err != nil:
		t.lose(err, stageDot)
	case len(t.accepted) == 0:
	case rep.class() != 2:
		t.failAll(t.s, said(t.s, rep, stages[stageDot].command), false)
	default:
		for _, r := range t.accepted {
			t.done(t.s, r, rep)
		}
	}
}

// doneEach reads the replies of LMTP, one for each accepted recipient (RFC
// 2033 4.2).
func (t *transaction) doneEach() {
	for _, r := range t.accepted {
		rep, err := t.s.reply()
		if err != nil {
			t.lose(err, stageDot)
			return
		}
		if rep.class() == 2 {
			t.done(t.s, r, rep)
		} else {
			t.failOne(t.s, r, said(t.s, rep, stages[stageDot].command))
		}
	}
	if len(t.accepted) == 0 {
		t.s.noReuse = true // whether there is a reply at all differs from server to server
	}
}

// message copies the content out of the queue file into the connection's
// buffer, which is written when it is full.
func (t *transaction) message(out *smtp.DotWriter) error {
	return t.req.WithContent(func(content *record.FileReader) error { return t.copy(out, content) })
}

func (t *transaction) copy(out *smtp.DotWriter, content *record.FileReader) error {
	lines := &lineWriter{t: t, out: out, limit: t.client.config.LineLengthLimit}
	lines.left = lines.limit
	if err := t.prepend(lines); err != nil {
		return err
	}
	edit := t.editor(lines)
	for {
		typ, data, err := content.Next()
		if err != nil {
			return t.unreadable(err)
		}
		switch typ {
		case record.Norm, record.Cont:
			if edit == nil {
				err = lines.Line(data, typ == record.Norm)
			} else {
				err = edit.Line(data, typ == record.Norm)
			}
			if err != nil {
				return err
			}
		case record.Xtra:
			if edit != nil {
				return edit.End()
			}
			return nil
		default:
			return t.unreadable(fmt.Errorf("%s: unexpected record type %q in message content", t.req.QueueID, byte(typ)))
		}
	}
}

// unreadable is a queue file that cannot be read. One that the system reads but
// that makes no sense is put aside.
func (t *transaction) unreadable(err error) error {
	t.req.Log.Warningf("%s: %v", t.req.QueueID, err)
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if err := t.req.File.MarkCorrupt(); err != nil {
			t.req.Log.Warningf("%s: %v", t.req.QueueID, err)
		}
	}
	return fmt.Errorf("%w: %w", errContent, err)
}

// prepend writes the header fields that the flags of the service ask for.
func (t *transaction) prepend(w *lineWriter) error {
	f := t.client.flags
	rcpt := t.accepted[0]
	var list []string
	if f.returnPath {
		list = append(list, "Return-Path: <"+address.Quote822(t.req.Sender)+">")
	}
	if f.originalTo {
		list = append(list, "X-Original-To: "+address.Quote822(rcpt.OrigAddr))
	}
	if f.deliveredTo {
		list = append(list, "Delivered-To: "+address.Quote822(rcpt.Address))
	}
	for _, l := range list {
		if err := w.Line([]byte(l), true); err != nil {
			return err
		}
	}
	return nil
}

// A lineWriter breaks lines that are longer than smtp_line_length_limit: the
// rest goes on after CR LF and a blank.
type lineWriter struct {
	t      *transaction
	out    *smtp.DotWriter
	limit  int // 0: none
	left   int // octets that the current line still takes
	warned bool
}

// Line writes a line, or a piece of one.
func (w *lineWriter) Line(p []byte, whole bool) error {
	if w.limit > 0 && len(p) >= w.left {
		return w.broken(p, whole)
	}
	if whole {
		w.left = w.limit
	} else {
		w.left -= len(p)
	}
	return w.out.Line(p, whole)
}

func (w *lineWriter) broken(p []byte, whole bool) error {
	for len(p) >= w.left {
		err := w.out.Line(p[:w.left], true)
		p = p[w.left:]
		w.left = w.limit
		if err != nil {
			return err
		}
		if len(p) == 0 && whole {
			return nil
		}
		if !w.warned {
			w.warned = true
			w.t.req.Log.Infof("%s: breaking line > %d bytes with <CR><LF>SPACE", w.t.req.QueueID, w.limit)
		}
		if err := w.out.Line([]byte{' '}, false); err != nil {
			return err
		}
		w.left--
	}
	if whole {
		w.left = w.limit
	} else {
		w.left -= len(p)
	}
	return w.out.Line(p, whole)
}
