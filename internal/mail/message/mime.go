package message

import "bytes"

// content is what the header of a part says of its body.
type content struct {
	kind         kind
	encoding     encoding
	encoded      bool // base64 or quoted-printable
	encodingText []byte
}

type kind int

const (
	leaf kind = iota
	multipart
	attached  // message/rfc822, message/global: a message with its own header
	otherMail // message/partial and others, which are not looked into
)

type encoding int

const (
	sevenBit encoding = iota
	eightBit
	asciiOnly // base64, quoted-printable; whether it is kept to is not looked at
)

func (c *content) composite() bool { return c.kind != leaf }

// transferEncoding takes the value of Content-Transfer-Encoding (RFC 2045
// section 6.1). An unknown encoding changes nothing.
func (c *content) transferEncoding(value []byte) {
	s := scanner{rest: value}
	got := s.token()
	for _, e := range [...]struct {
		name     string
		encoding encoding
		encoded  bool
	}{
		{"7bit", sevenBit, false}, {"8bit", eightBit, false}, {"binary", eightBit, false},
		{"base64", asciiOnly, true}, {"quoted-printable", asciiOnly, true},
	} {
		if len(got) == len(e.name) && equalFold(e.name, got) {
			c.encoding, c.encoded = e.encoding, e.encoded
			c.encodingText = append(c.encodingText[:0], value...)
		}
	}
}

// contentType takes "type/subtype; name=value; …" (RFC 2045 section 5.1).
// Postfix: of several fields the last one says what the body is, but each
// boundary counts.
func (m *Machine) contentType(field []byte) {
	s := scanner{rest: Value(field)}
	top := s.token()
	var sub []byte
	if s.accept('/') {
		sub = s.token()
	}
	is := func(b []byte, s string) bool { return len(b) == len(s) && equalFold(s, b) }
	switch {
	case is(top, "multipart"):
		m.part.kind = multipart
		if text, ok := s.parameter("boundary"); ok {
			if m.BoundaryLimit > 0 && len(text) > m.BoundaryLimit {
				text = text[:m.BoundaryLimit]
			}
			m.push(text, is(sub, "digest"))
		}
	case is(top, "message") && (is(sub, "rfc822") || is(sub, "global")):
		m.part.kind = attached
	case is(top, "message"):
		m.part.kind = otherMail
	default:
		m.part.kind = leaf
	}
}

// A scanner reads the tokens of a structured MIME field.
type scanner struct{ rest []byte }

// blank skips white space and comments.
func (s *scanner) blank() {
	for level := 0; len(s.rest) > 0; s.rest = s.rest[1:] {
		switch c := s.rest[0]; {
		case c == '(':
			level++
		case c == ')' && level > 0:
			level--
		case c == '\\' && level > 0 && len(s.rest) > 1:
			s.rest = s.rest[1:]
		case level == 0 && !isSpace(c):
			return
		}
	}
}

const tspecials = `()<>@,;:\"/[]?=`

func (s *scanner) token() []byte {
	s.blank()
	n := 0
	for n < len(s.rest) && s.rest[n] > ' ' && s.rest[n] != 0x7f && bytes.IndexByte([]byte(tspecials), s.rest[n]) < 0 {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

func (s *scanner) accept(c byte) bool {
	s.blank()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// parameter returns the value of the first parameter called name.
func (s *scanner) parameter(name string) (value []byte, ok bool) {
	for s.skipTo(';') {
		got := s.token()
		if !s.accept('=') {
			continue
		}
		s.blank()
		quoted := len(s.rest) > 0 && s.rest[0] == '"'
		value := s.value(nil)
		if len(got) == len(name) && equalFold(name, got) {
			return value, quoted || len(value) > 0
		}
	}
	return nil, false
}

// skipTo moves behind the next c that is not in a quoted string or a comment.
func (s *scanner) skipTo(c byte) bool {
	var discard [64]byte
	for {
		s.blank()
		switch {
		case len(s.rest) == 0:
			return false
		case s.rest[0] == c:
			s.rest = s.rest[1:]
			return true
		case s.rest[0] == '"':
			s.value(discard[:0])
		default:
			s.rest = s.rest[1:]
		}
	}
}

// value reads a token, or a quoted string whose text it puts into buf.
func (s *scanner) value(buf []byte) []byte {
	s.blank()
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return s.token()
	}
	s.rest = s.rest[1:]
	for len(s.rest) > 0 {
		c := s.rest[0]
		s.rest = s.rest[1:]
		if c == '"' {
			break
		}
		if c == '\\' && len(s.rest) > 0 {
			c = s.rest[0]
			s.rest = s.rest[1:]
		}
		if c != '\n' {
			buf = append(buf, c)
		}
	}
	return buf
}
