// Package message takes a message apart while it streams by: header fields of
// the message, of its MIME parts and of the messages attached to it, and body
// lines.
//
// A Machine is fed with one line (or one piece of a long line) at a time and
// calls a Handler. It holds one header field and the boundaries of the
// multipart bodies it is in, never the message. What it cannot make sense of
// is a body line.
//
// RFC 5322 section 2, RFC 2045 and RFC 2046.
package message

import "bytes"

// A Section is where a header field stands.
type Section int

const (
	Primary Section = iota // the message's own header
	Part                   // the header of a part of a multipart body
	Nested                 // the header of an attached message
)

// A Handler takes the parts of a message in their order. Slices are valid
// until the call returns.
type Handler interface {
	// Field is a whole header field, its lines separated by "\n". name is nil
	// for a field that is not known.
	Field(s Section, name *Name, field []byte)
	// HeaderEnd comes after the last field of the primary header.
	HeaderEnd()
	// Body is a line, or a piece of one that goes on when more is set. offset
	// counts the octets of the same body part before it.
	Body(line []byte, more bool, offset int64)
	// Problem is something that the Options asked to report.
	Problem(p Problem, text []byte)
}

// A Problem is what can be wrong with a message. Problems are bits.
type Problem int

const (
	TooNested         Problem = 1 << iota // more than Options.NestingLimit
	TruncatedField                        // a field longer than Options.FieldLimit
	EightBitHeader                        // 8-bit text in a header
	EightBitBody                          // 8-bit text in a body that says it is 7-bit
	EncodingDomain                        // message/* or multipart/* with an encoding that it must not have
	NonEmptyHeaderEnd                     // the header ends with a line that is not empty
)

// Detail returns the enhanced status code and the text for the first problem in p.
func (p Problem) Detail() (status, text string) {
	for _, d := range [...]struct {
		p    Problem
		text string
	}{
		{TooNested, "MIME nesting exceeds safety limit"},
		{TruncatedField, "message header length exceeds safety limit"},
		{EightBitHeader, "improper use of 8-bit data in message header"},
		{EightBitBody, "improper use of 8-bit data in message body"},
		{EncodingDomain, "invalid message/* or multipart/* encoding domain"},
		{NonEmptyHeaderEnd, "message header was terminated by non-empty line"},
	} {
		if p&d.p != 0 {
			return "5.6.0", d.text
		}
	}
	return "5.6.0", "unknown error in message format"
}

// Options say how a message is read.
type Options struct {
	Report        Problem // what to report
	NoMIME        bool    // disable_mime_input_processing: after the header all is body
	FieldLimit    int     // header_size_limit: octets of a header field; the rest is dropped
	BoundaryLimit int     // mime_boundary_length_limit
	NestingLimit  int     // mime_nesting_limit
}

// A Machine reads one message after the other, with Reset between them.
type Machine struct {
	Options
	handler Handler

	header  bool    // in a header
	section Section // which
	ended   bool    // the primary header has ended
	partial bool    // the line before goes on

	delimiter bool    // the line is a boundary
	field     []byte  // the field being collected
	offset    int64   // in the body part
	part      content // what the header says of the body that follows
	stack     []boundary
	problems  Problem
}

// A boundary ends the parts of a multipart body.
type boundary struct {
	text   []byte
	digest bool // parts are messages by default
}

// New returns a machine in front of a message's header.
func New(o Options, h Handler) *Machine {
	m := &Machine{Options: o, handler: h}
	m.Reset()
	return m
}

// Reset prepares for the next message and keeps the buffers.
func (m *Machine) Reset() {
	m.header, m.section, m.ended, m.partial = true, Primary, false, false
	m.field, m.stack, m.offset, m.problems = m.field[:0], m.stack[:0], 0, 0
	m.part = content{}
}

// InHeader says that the primary header has not ended.
func (m *Machine) InHeader() bool { return !m.ended }

// AtBoundary says that the body line being handled separates parts; it belongs
// to none of them.
func (m *Machine) AtBoundary() bool { return m.delimiter }

// InBody says that lines may be taken by Pass.
func (m *Machine) InBody() bool { return !m.header && m.Report&EightBitBody == 0 }

// Pass takes the next line, or piece of one, if it is nothing but text of a body,
// without giving it to the handler; it is for callers that take many lines at
// once. What Pass refuses is for Line.
func (m *Machine) Pass(text []byte, more bool) bool {
	if len(m.stack) > 0 && !m.partial && len(text) > 2 && text[0] == '-' && text[1] == '-' {
		return false
	}
	m.partial, m.delimiter = more, false
	m.offset += int64(len(text))
	return true
}

// Line takes the next line, or with more set a piece of a line that goes on.
func (m *Machine) Line(text []byte, more bool) {
	partial := m.partial
	m.partial, m.delimiter = more, false
	if m.header && (!partial || len(m.field) > 0) && m.headerLine(text, partial) {
		return
	}
	if len(m.stack) > 0 && !partial && len(text) > 2 && text[0] == '-' && text[1] == '-' {
		m.boundaryLine(text)
	}
	if m.Report&EightBitBody != 0 && m.part.encoding == sevenBit && has8Bit(text) {
		m.report(EightBitBody, text)
	}
	m.handler.Body(text, more, m.offset)
	m.offset += int64(len(text))
}

// End tells that the message has ended.
func (m *Machine) End() {
	if m.header {
		m.endHeader()
	}
}

// headerLine says whether text belongs to the header.
func (m *Machine) headerLine(text []byte, partial bool) bool {
	if len(m.field) > 0 {
		if partial || len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
			m.extend(text, !partial)
			return true
		}
		m.endField()
	}
	if n := NameLength(text); n > 0 {
		// Postfix: no white space before the colon.
		m.field = append(append(m.field[:0], text[:n]...), text[bytes.IndexByte(text, ':'):]...)
		return true
	}
	primary := m.section == Primary
	if len(text) > 0 && primary && m.Report&NonEmptyHeaderEnd != 0 {
		m.report(NonEmptyHeaderEnd, text)
	}
	m.endHeader()
	if m.header {
		// The body is itself a message: its header begins here, after the
		// empty line, or with this line where the empty line is missing.
		if len(text) == 0 {
			m.handler.Body(text, false, 0)
			return true
		}
		if primary {
			m.handler.Body(nil, false, 0)
		}
		return m.headerLine(text, false)
	}
	if len(text) > 0 && primary {
		// Postfix: only the message's own header is ended properly.
		m.handler.Body(nil, false, 0)
	}
	return false
}

func (m *Machine) extend(text []byte, newLine bool) {
	if len(m.field) >= m.FieldLimit && m.FieldLimit > 0 {
		m.report(TruncatedField, m.field)
		return
	}
	if newLine {
		m.field = append(m.field, '\n')
	}
	m.field = append(m.field, text...)
}

func (m *Machine) endField() {
	field := m.field
	name := Lookup(field)
	if name != nil && !m.NoMIME {
		switch name.ID {
		case ContentType:
			m.contentType(field)
		case ContentTransferEncoding:
			m.part.transferEncoding(Value(field))
		}
	}
	if m.Report&EightBitHeader != 0 && has8Bit(field) {
		m.report(EightBitHeader, field)
	}
	m.handler.Field(m.section, name, field)
	m.field = m.field[:0]
}

// endHeader decides what the body is.
func (m *Machine) endHeader() {
	if len(m.field) > 0 {
		m.endField()
	}
	m.header, m.offset = false, 0
	if !m.ended {
		m.ended = true
		m.handler.HeaderEnd()
	}
	if m.NoMIME {
		return
	}
	part := m.part
	if part.composite() && part.encoded && m.Report&EncodingDomain != 0 {
		m.report(EncodingDomain, part.encodingText)
	}
	if part.kind == attached {
		m.header, m.section, m.part = true, Nested, content{}
	}
}

// push enters a multipart body. Postfix: as soon as its boundary is known,
// whatever else the header says; two more than the limit are let pass.
func (m *Machine) push(text []byte, digest bool) {
	if m.NestingLimit > 0 && len(m.stack) > m.NestingLimit+1 {
		m.report(TooNested, m.field)
		return
	}
	n := len(m.stack)
	if n < cap(m.stack) {
		m.stack = m.stack[:n+1]
	} else {
		m.stack = append(m.stack, boundary{})
	}
	b := &m.stack[n]
	b.text = append(b.text[:0], text...)
	b.digest = digest
}

// boundaryLine looks for the boundary of any of the bodies we are in.
func (m *Machine) boundaryLine(text []byte) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		b := &m.stack[i]
		if !bytes.HasPrefix(text[2:], b.text) {
			continue
		}
		m.delimiter = true
		rest := text[2+len(b.text):]
		if len(rest) >= 2 && rest[0] == '-' && rest[1] == '-' {
			m.stack = m.stack[:i]
			m.part = content{encoding: eightBit}
			m.offset = 0
			return
		}
		m.stack = m.stack[:i+1]
		m.handlePart(b.digest)
		return
	}
}

// handlePart begins the header of a part; the boundary line itself is still a
// body line.
func (m *Machine) handlePart(digest bool) {
	m.header, m.section = true, Part
	m.part = content{}
	if digest {
		m.part.kind = attached
	}
}

func (m *Machine) report(p Problem, text []byte) {
	if m.Report&p != 0 && m.problems&p == 0 {
		m.problems |= p
		m.handler.Problem(p, text)
	}
}

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c > 127 {
			return true
		}
	}
	return false
}
