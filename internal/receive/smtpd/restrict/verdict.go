package restrict

import (
	"strings"

	"postern/internal/mail/dsn"
	"postern/internal/protocol/smtp"
)

// A Kind is the kind of a verdict.
type Kind uint8

// The kinds.
const (
	Dunno         Kind = iota // go on with the next restriction
	Permit                    // the list ends
	Reject                    // the list ends, the client gets the reply
	DeferIfPermit             // go on; a permit at the end becomes the reply
	DeferIfReject             // go on; a 5xx at the end becomes the reply
)

func (k Kind) String() string {
	return [...]string{"dunno", "permit", "reject", "defer_if_permit", "defer_if_reject"}[k]
}

// A Verdict is what one restriction says. The zero value is Dunno.
type Verdict struct {
	Kind  Kind
	Reply smtp.Reply

	action, detail string // of a permit, for its log line: the name, " for …"

	fault   bool // our own fault: warn_if_reject does not make a warning of it
	settled bool // logged, and changed by the sticky deferrals already
}

func permit() Verdict { return Verdict{Kind: Permit} }

func reject(code int, status dsn.Status, text string) Verdict {
	return Verdict{Kind: Reject, Reply: reply(code, status, text)}
}

// misconfigured is the answer to what the administrator has to repair.
func misconfigured() Verdict {
	v := reject(451, "4.3.5", "Server configuration error")
	v.fault = true
	return v
}

// maxReply is the longest reply text (RFC 5321 4.5.3.1.5: 512 octets with CR LF).
const maxReply = 510

// reply makes a reply whose status class is that of its code. The text is one
// printable line.
func reply(code int, status dsn.Status, text string) smtp.Reply {
	if status != "" && int(status[0]-'0') != code/100 {
		status = status.WithClass(byte('0' + code/100))
	}
	if limit := maxReply - 4 - len(status) - 1; len(text) > limit {
		text = text[:limit]
	}
	return smtp.Reply{Code: code, Status: status, Lines: []string{printable(text)}}
}

// printable replaces control octets by blanks.
func printable(s string) string {
	clean := func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}
	return strings.Map(clean, s)
}
