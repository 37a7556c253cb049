package smtpclient

import (
	"errors"
	"os"
	"strings"
	"time"

	"postern/internal/mail/dsn"
	"postern/internal/protocol/smtp"
)

// A reply is what a server said. Text has all lines with their codes,
// separated by line feeds, as logs and notices show them.
type reply struct {
	code   int // 0: not a reply of the protocol
	status dsn.Status
	text   string
}

// patience is how many times the time for a line a whole reply may take: a
// server must not hold a session with a reply that never ends.
const patience = 4

// class is the first digit of the code.
func (p *reply) class() int { return p.code / 100 }

// line is the text in one line.
func (p *reply) line() string { return strings.ReplaceAll(p.text, "\n", " ") }

// reply sends what is buffered and reads one reply of any number of lines.
// Lines that are not replies are kept in the text.
func (s *session) reply() (*reply, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	log := s.client.env.Log
	limit := s.client.env.Common.LineLengthLimit
	p := &reply{}
	skipped := false
	end := time.Now().Add(patience * s.timeout)
	for {
		if time.Now().After(end) {
			return nil, os.ErrDeadlineExceeded
		}
		raw, err := s.r.ReadLine(limit)
		switch {
		case err == smtp.ErrLineTooLong:
			log.Warningf("%s: response longer than %d: %.30s...", s.port, limit, printable(string(raw)))
		case err != nil:
			return nil, err
		}
		line := printable(string(raw))
		log.Debugf("< %s: %.100s", s.port, line)
		if len(p.text) < limit {
			if p.text != "" {
				p.text += "\n"
			}
			p.text += s.client.filterReply(s, line)
		} else if !skipped {
			skipped = true
			log.Warningf("%s: multi-line response longer than %d %.30s...", s.port, limit, p.text)
		}
		last := line
		if i := strings.LastIndexByte(p.text, '\n'); !skipped {
			last = p.text[i+1:]
		}
		code, more, ok := replyCode(last)
		if !ok {
			s.garbage(last)
			continue
		}
		if !more {
			p.code = code
			p.status = p.findStatus()
			return p, nil
		}
	}
}

// garbage is a line that is not part of a reply. With pipelined commands it
// makes one wonder what the other lines answer.
func (s *session) garbage(line string) {
	if !s.has(featPipelining) {
		return
	}
	log, kind := s.client.env.Log, "ESMTP"
	if s.client.proto == LMTP {
		kind = "LMTP"
	}
	log.Warningf("%s: non-%s response from %s: %.100s", s.id, kind, s.port, line)
	log.Warningf("to prevent loss of mail, turn off command pipelining for %s with the %s parameter",
		s.place.printable(), s.client.param("smtp_discard_ehlo_keyword_address_maps", "lmtp_discard_lhlo_keyword_address_maps"))
}

// replyCode takes the code off a line. A code is three digits before a blank,
// a hyphen (more lines follow) or the end of the line.
func replyCode(line string) (code int, more, ok bool) {
	n := 0
	for n < len(line) && line[n] >= '0' && line[n] <= '9' {
		n++
	}
	if n != 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	return code, len(line) > 3 && line[3] == '-', true
}

// findStatus returns the enhanced status code of the first line, or one that
// only repeats the first digit. A status of another class than the code is
// out of protocol and ignored (Postfix: the same).
func (p *reply) findStatus() dsn.Status {
	if p.text == "" || strings.IndexByte("245", p.text[0]) < 0 {
		return "5.5.0"
	}
	if len(p.text) > 4 {
		rest := strings.TrimLeft(p.text[4:], " ")
		if n := dsn.Prefix(rest); n > 0 && rest[0] == p.text[0] {
			return dsn.Status(rest[:n])
		}
	}
	return dsn.Status(p.text[:1] + ".0.0")
}

// printable replaces control octets, so that a reply can be logged.
func printable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] < ' ' || b[i] == 0x7f {
					b[i] = '?'
				}
			}
			return string(b)
		}
	}
	return s
}

// lost says how a stream failed, for "… while sending MAIL FROM".
func lost(err error, s *session, while string) dsn.Result {
	switch {
	case errors.Is(err, errContent):
		return dsn.Make("4.3.0", "local data error while talking to "+s.name)
	case smtp.IsTimeout(err):
		return dsn.Make("4.4.2", "conversation with "+s.name+" timed out while "+while)
	}
	return dsn.Make("4.4.2", "lost connection with "+s.name+" while "+while)
}
