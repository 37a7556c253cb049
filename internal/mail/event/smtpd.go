package event

import (
	"fmt"
	"strconv"
	"strings"
)

// A Step is one restriction that the SMTP server evaluated.
type Step struct {
	List        string `json:"list"`        // "smtpd_recipient_restrictions"
	Restriction string `json:"restriction"` // "check_client_access"
	Argument    string `json:"argument,omitempty"`
	Table       string `json:"table,omitempty"`  // "hash:/etc/postfix/access"
	Key         string `json:"key,omitempty"`    // what was found in the table, or asked for in the DNS
	Answer      string `json:"answer,omitempty"` // of the table, the DNS or the policy server
	Verdict     string `json:"verdict"`          // "dunno", "permit", "reject", "defer_if_permit", …
	Reply       string `json:"reply,omitempty"`  // what a refusal says
}

// NotAsked is the verdict of a step that was left out: somebody would have been
// asked who must not be (postern simulate).
const NotAsked = "not asked"

// String is the step in one line, for people.
func (s Step) String() string {
	var b strings.Builder
	b.WriteString(s.List + ": " + s.Restriction)
	if s.Argument != "" {
		b.WriteString(" " + s.Argument)
	}
	if s.Key != "" {
		b.WriteString(": " + s.Key)
		if s.Table != "" && s.Table != s.Argument {
			b.WriteString(" in " + s.Table)
		}
	}
	if s.Answer != "" {
		b.WriteString(": \"" + s.Answer + "\"")
	}
	b.WriteString(" -> " + s.Verdict)
	if s.Reply != "" {
		b.WriteString(" (" + s.Reply + ")")
	}
	return b.String()
}

// A Client is who talks to the SMTP server.
type Client struct {
	Name string `json:"client_name"`
	Addr string `json:"client_address"`
	Port string `json:"client_port,omitempty"` // when smtpd_client_port_logging is on
}

// String is "name[address]", with ":port" when that is logged.
func (c Client) String() string {
	s := c.Name + "[" + c.Addr + "]"
	if c.Port != "" {
		s += ":" + c.Port
	}
	return s
}

// An SMTPDConnect is the begin of a session.
type SMTPDConnect struct {
	Client
	Service string `json:"service"`
}

// Kind is "smtpd_connect".
func (e *SMTPDConnect) Kind() string { return "smtpd_connect" }

// Text is Postfix's line.
func (e *SMTPDConnect) Text() string { return "connect from " + e.Client.String() }

// An SMTPDMessage says from whom the message with a queue id comes.
type SMTPDMessage struct {
	QueueID string `json:"queue_id"`
	Client
	SASLMethod   string `json:"sasl_method,omitempty"`
	SASLUsername string `json:"sasl_username,omitempty"`
	SASLSender   string `json:"sasl_sender,omitempty"`
	OrigQueueID  string `json:"orig_queue_id,omitempty"` // XFORWARD
	OrigClient   string `json:"orig_client,omitempty"`
	Trail        []Step `json:"trail,omitempty"` // of the first recipient
}

// Kind is "smtpd_message".
func (e *SMTPDMessage) Kind() string { return "smtpd_message" }

// Text is Postfix's line.
func (e *SMTPDMessage) Text() string {
	var b strings.Builder
	if e.QueueID == "" {
		b.WriteString("NOQUEUE") // it goes to a before-queue filter
	}
	b.WriteString(e.QueueID)
	b.WriteString(": client=")
	b.WriteString(e.Client.String())
	for _, f := range [...][2]string{
		{"sasl_method", e.SASLMethod},
		{"sasl_username", e.SASLUsername},
		{"sasl_sender", e.SASLSender},
		{"orig_queue_id", e.OrigQueueID},
		{"orig_client", e.OrigClient},
	} {
		if f[1] != "" {
			b.WriteString(", " + f[0] + "=" + f[1])
		}
	}
	return b.String()
}

// An SMTPDAction is what the SMTP server did with a command: it rejected it, or
// an access table asked for something.
type SMTPDAction struct {
	QueueID string `json:"queue_id,omitempty"` // "" is NOQUEUE
	Action  string `json:"action"`             // reject, reject_warning, hold, filter, discard, redirect, bcc, prepend, info, warn, permit, hangup
	Stage   string `json:"stage"`              // CONNECT, HELO, EHLO, MAIL, RCPT, DATA, BDAT, END-OF-MESSAGE, …
	Client
	Reason       string  `json:"reason"`
	Sender       *string `json:"sender,omitempty"` // external form; nil before MAIL
	Recipient    *string `json:"recipient,omitempty"`
	Protocol     string  `json:"protocol,omitempty"`
	Helo         *string `json:"helo,omitempty"`
	SASLMethod   string  `json:"sasl_method,omitempty"`
	SASLUsername string  `json:"sasl_username,omitempty"`
	SASLSender   string  `json:"sasl_sender,omitempty"`
	Trail        []Step  `json:"trail,omitempty"`
}

// Kind is "smtpd_action".
func (e *SMTPDAction) Kind() string { return "smtpd_action" }

// Text is Postfix's line.
func (e *SMTPDAction) Text() string {
	var b strings.Builder
	id := e.QueueID
	if id == "" {
		id = "NOQUEUE"
	}
	fmt.Fprintf(&b, "%s: %s: %s from %s: %s", id, e.Action, e.Stage, e.Client, e.Reason)
	var tail strings.Builder
	if e.tail(&tail); tail.Len() > 0 {
		b.WriteString(";" + tail.String())
	}
	return b.String()
}

// tail is the envelope as far as it is known.
func (e *SMTPDAction) tail(b *strings.Builder) {
	if e.Sender != nil {
		b.WriteString(" from=<" + *e.Sender + ">")
	}
	if e.Recipient != nil {
		b.WriteString(" to=<" + *e.Recipient + ">")
	}
	if e.Protocol != "" {
		b.WriteString(" proto=" + e.Protocol)
	}
	if e.Helo != nil {
		b.WriteString(" helo=<" + *e.Helo + ">")
	}
	for _, f := range [...][2]string{
		{"sasl_method", e.SASLMethod},
		{"sasl_username", e.SASLUsername},
		{"sasl_sender", e.SASLSender},
	} {
		if f[1] != "" {
			b.WriteString(" " + f[0] + "=" + f[1])
		}
	}
}

// An SMTPDFilter is what a before-queue filter said of a message.
type SMTPDFilter struct{ SMTPDAction }

// Kind is "smtpd_filter".
func (e *SMTPDFilter) Kind() string { return "smtpd_filter" }

// Text is Postfix's line.
func (e *SMTPDFilter) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s;", e.Action, e.Stage, e.Reason)
	e.tail(&b)
	return b.String()
}

// An SMTPDLost is a session that ended without QUIT.
type SMTPDLost struct {
	QueueID string `json:"queue_id,omitempty"`
	Reason  string `json:"reason"` // "lost connection", "timeout", "too many errors"
	Stage   string `json:"stage"`  // after which command
	Octets  int64  `json:"octets"` // of message content; -1 outside of it
	Client
}

// Kind is "smtpd_lost".
func (e *SMTPDLost) Kind() string { return "smtpd_lost" }

// Text is Postfix's line.
func (e *SMTPDLost) Text() string {
	s := e.Reason + " after " + e.Stage
	if e.QueueID != "" {
		s = e.QueueID + ": " + s
	}
	if e.Octets >= 0 {
		s += " (" + strconv.FormatInt(e.Octets, 10) + " bytes)"
	}
	return s + " from " + e.Client.String()
}

// A CommandCount says how often a command was given and how often it succeeded.
type CommandCount struct {
	Name  string `json:"name"` // in lower case
	Good  int    `json:"ok"`
	Total int    `json:"total"`
}

// An SMTPDDisconnect is the end of a session.
type SMTPDDisconnect struct {
	Client
	Commands []CommandCount `json:"commands"` // those that were given
	Notes    string         `json:"notes,omitempty"`
	Passed   []Judgement    `json:"passed,omitempty"` // what let commands pass, as far as no other event tells
}

// A Judgement is what let a command pass: a recipient that was not the first
// of its message, or its content.
type Judgement struct {
	QueueID   string `json:"queue_id,omitempty"`
	Stage     string `json:"stage"` // RCPT, DATA, END-OF-MESSAGE
	Recipient string `json:"recipient,omitempty"`
	Trail     []Step `json:"trail"`
}

// Kind is "smtpd_disconnect".
func (e *SMTPDDisconnect) Kind() string { return "smtpd_disconnect" }

// Text is Postfix's line.
func (e *SMTPDDisconnect) Text() string {
	b := append([]byte("disconnect from "), e.Client.String()...)
	sum := CommandCount{Name: "commands"}
	for _, c := range e.Commands {
		b = c.append(b)
		sum.Good += c.Good
		sum.Total += c.Total
	}
	b = sum.append(b)
	if e.Notes != "" {
		b = append(b, " notes="...)
		b = append(b, e.Notes...)
	}
	return string(b)
}

func (c *CommandCount) append(b []byte) []byte {
	b = append(b, ' ')
	b = append(b, c.Name...)
	b = append(b, '=')
	b = strconv.AppendInt(b, int64(c.Good), 10)
	if c.Good != c.Total || c.Total == 0 { // Postfix: "commands=0/0"
		b = append(b, '/')
		b = strconv.AppendInt(b, int64(c.Total), 10)
	}
	return b
}
