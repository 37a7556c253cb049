package cleanup

import (
	"bytes"

	"postern/internal/mail/check"
	"postern/internal/mail/message"
	"postern/internal/mail/record"

	ipc "postern/internal/ipc/cleanup"
)

// beginContent writes the marker and sets up the reading of the content.
func (t *transaction) beginContent() {
	t.segment = inContent
	t.put(record.Mesg, nil)
	t.contentOff = t.w.Offset()
	c := &t.s.config
	o := message.Options{
		NoMIME:        c.DisableMIME,
		FieldLimit:    c.HeaderSizeLimit,
		BoundaryLimit: c.BoundaryLimit,
		NestingLimit:  c.NestingLimit,
	}
	if t.s.atHeadEnd != fixQuietly {
		o.Report |= message.NonEmptyHeaderEnd
	}
	if t.checking && !c.DisableMIME {
		o.Report |= t.s.strictness()
	}
	t.machine.Options = o
	t.machine.Reset()
}

// strictness is what is reported of mail from outside.
func (s *Server) strictness() (p message.Problem) {
	c := &s.config
	if c.Strict7BitHeaders || c.Strict8BitMIME {
		p |= message.EightBitHeader
	}
	if c.Strict8BitBody || c.Strict8BitMIME {
		p |= message.EightBitBody
	}
	if c.StrictEncodingDomain {
		p |= message.EncodingDomain
	}
	if p != 0 || !s.checks.NoHeader() {
		p |= message.TooNested
	}
	return p
}

// contentRecord takes a record of the second segment.
func (t *transaction) contentRecord(typ record.Type, data []byte) {
	switch typ {
	case record.Norm, record.Cont:
		data, refused := t.filterOctets(data)
		if refused {
			return
		}
		t.partial = typ == record.Cont
		t.machine.Line(data, t.partial)
	case record.Xtra:
		if t.partial {
			t.machine.Line(nil, false)
		}
		t.machine.End()
		t.refuseForm()
		t.contentEnd = t.w.Offset()
		t.beginExtracted()
	default:
		t.bad("unexpected record type %d in message content", typ)
	}
}

// passBody takes the lines of a body that have arrived, all at once, as long as
// nothing has to look at them. It reports whether there were any.
func (t *transaction) passBody(r *record.Reader) bool {
	if t.segment != inContent || !t.machine.InBody() || t.checking && t.s.looksAtLines() {
		return false
	}
	b, n := r.Buffered(), 0
	for n < len(b) {
		typ, data, size, err := record.Split(b[n:], t.s.common.LineLengthLimit)
		if err != nil || size > len(b)-n || typ != record.Norm && typ != record.Cont ||
			t.s.config.ReplaceStrayCRLF && hasCRLF(data) || !t.machine.Pass(data, typ == record.Cont) {
			break
		}
		t.partial = typ == record.Cont
		n += size
	}
	if n > 0 {
		t.written(t.w.Raw(b[:n]))
		r.Discard(n)
	}
	return n > 0
}

// looksAtLines says that mail from outside is looked at line by line.
func (s *Server) looksAtLines() bool {
	return len(s.rejected)+len(s.stripped) > 0 || !s.checks.Body.Empty()
}

// filterOctets replaces or removes the octets that the configuration names.
func (t *transaction) filterOctets(data []byte) (_ []byte, refused bool) {
	if t.s.config.ReplaceStrayCRLF {
		data = t.spaceForCRLF(data)
	}
	if !t.checking {
		return data, false
	}
	if r := t.s.rejected; len(r) > 0 && containsAny(data, r) {
		t.act(anyContext, data, check.Result{Action: check.Reject, Text: "disallowed character"})
		return nil, true
	}
	if s := t.s.stripped; len(s) > 0 && containsAny(data, s) {
		keep := t.octets[:0] // may be data itself
		for _, b := range data {
			if bytes.IndexByte(s, b) < 0 {
				keep = append(keep, b)
			}
		}
		t.octets, data = keep, keep
	}
	return data, false
}

func containsAny(data, set []byte) bool {
	for _, b := range set {
		if bytes.IndexByte(data, b) >= 0 {
			return true
		}
	}
	return false
}

// spaceForCRLF puts a space in the place of each stray CR and LF: no other
// system shall take it for the end of a line.
func (t *transaction) spaceForCRLF(data []byte) []byte {
	if !hasCRLF(data) {
		return data
	}
	t.octets = append(t.octets[:0], data...)
	for i, b := range t.octets {
		if b == '\r' || b == '\n' {
			t.octets[i] = ' '
		}
	}
	return t.octets
}

func hasCRLF(data []byte) bool {
	return bytes.IndexByte(data, '\r') >= 0 || bytes.IndexByte(data, '\n') >= 0
}

// Body takes a line of the body.
func (t *transaction) Body(line []byte, more bool, offset int64) {
	typ := record.Norm
	if more {
		typ = record.Cont
	}
	if t.checking && !t.s.checks.Body.Empty() && t.ok() {
		var keep bool
		if line, keep = t.checkLine(line, offset); !keep {
			return
		}
	}
	t.put(typ, line)
}

func (t *transaction) checkLine(line []byte, offset int64) (_ []byte, keep bool) {
	r, err := t.s.checks.Line(t.bounded(), line, offset)
	if err != nil {
		t.checkFailed(t.s.checks.Body.Title())
		return line, true
	}
	return t.act(bodyContext, line, r)
}

func (t *transaction) checkFailed(title string) {
	t.s.log.Warningf("%s: %s map lookup problem -- message not accepted, try again later", t.id, title)
	t.errs |= ipc.StatusWrite
}

// Problem takes what the machine reports.
func (t *transaction) Problem(p message.Problem, text []byte) {
	if p == message.NonEmptyHeaderEnd && t.s.atHeadEnd == fixAndTell {
		t.putString(record.Norm, "MIME-Error: message header was terminated by non-empty line")
		return
	}
	t.mimeError(p, text)
}
