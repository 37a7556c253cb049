// Package smtp is the wire form of SMTP and LMTP: command and reply lines,
// message content between DATA and the lonely dot, and xtext.
//
// There is one reader of lines and one writer of message content in all of
// Postern. The reader knows what a line end is, bounds the length of a line
// and the time that a peer may take for it; the writer ends every line with
// CR LF and stuffs dots. Server and client share them, so that what one end
// takes for a line end is what the other end sends.
//
// RFC 5321 defines the protocol, RFC 3461 xtext, RFC 2034 and RFC 3463 the
// enhanced status codes in replies.
package smtp

import (
	"strconv"
	"strings"

	"postern/internal/mail/dsn"
)

// A Reply is an answer of an SMTP server: a three-digit code, an enhanced
// status code or none, and at least one line of text.
type Reply struct {
	Code   int        // 250; 0 is no reply
	Status dsn.Status // "2.1.0"; "" in replies that carry none (RFC 2034 section 3)
	Lines  []string   // text, a line each, without the codes
}

// NewReply returns a reply whose text is split at line ends.
func NewReply(code int, status dsn.Status, text string) Reply {
	return Reply{Code: code, Status: status, Lines: strings.Split(text, "\n")}
}

// ParseReply makes a reply of the form in which the configuration gives one,
// "554 5.7.1 Access denied". The status is optional. It returns false when the
// text does not start with a code between 200 and 599, or goes on as the first
// line of several does.
func ParseReply(text string) (Reply, bool) {
	code, rest, ok := splitCode(text)
	if !ok || strings.HasPrefix(rest, "-") {
		return Reply{}, false
	}
	res := dsn.Split("", strings.TrimLeft(rest, " \t"))
	if res.Status != "" && int(res.Status[0]-'0') != code/100 {
		return NewReply(code, "", strings.TrimLeft(rest, " \t")), true
	}
	return NewReply(code, res.Status, res.Reason), true
}

// splitCode takes a reply code off the start of a line.
func splitCode(line string) (code int, rest string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, line, false
	}
	if len(line) > 3 && line[3] != ' ' && line[3] != '\t' && line[3] != '-' {
		return 0, line, false
	}
	code, _ = strconv.Atoi(line[:3])
	return code, line[3:], true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// IsZero says that there is no reply.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive says that the code is 2xx or 3xx.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Transient says that the code is 4xx.
func (r Reply) Transient() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent says that the code is 5xx.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// Text returns the lines joined by line feeds, without codes.
func (r Reply) Text() string { return strings.Join(r.Lines, "\n") }

// String returns the reply as log lines show it, "250 2.1.0 Ok"; the lines of
// a longer one follow each other after a blank, without repeating the codes.
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.Code))
	if r.Status != "" {
		b.WriteByte(' ')
		b.WriteString(string(r.Status))
	}
	for _, l := range r.Lines {
		if l == "" {
			continue
		}
		b.WriteByte(' ')
		b.WriteString(l)
	}
	return b.String()
}

// AppendTo appends the wire form, with the codes on every line. Octets that
// could end a line early become '?'.
func (r Reply) AppendTo(b []byte) []byte {
	lines := r.Lines
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, l := range lines {
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if i < len(lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Status != "" {
			b = append(b, r.Status...)
			b = append(b, ' ')
		}
		for j := 0; j < len(l); j++ {
			if c := l[j]; c == '\r' || c == '\n' || c == 0 {
				b = append(b, '?')
			} else {
				b = append(b, c)
			}
		}
		b = append(b, '\r', '\n')
	}
	return b
}

// WithStatus returns the reply with its enhanced status code replaced.
func (r Reply) WithStatus(s dsn.Status) Reply {
	r.Status = s
	return r
}
