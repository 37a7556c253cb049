package event

import "fmt"

// A MessageID tells the message-id of a message that cleanup takes.
type MessageID struct {
	QueueID   string `json:"queue_id"`
	MessageID string `json:"message_id"` // as in the field, angle brackets and all; "<>" for none
	Resent    bool   `json:"resent,omitempty"`
}

// Kind is "message_id".
func (e *MessageID) Kind() string { return "message_id" }

// Text is Postfix's line.
func (e *MessageID) Text() string {
	if e.Resent {
		return e.QueueID + ": resent-message-id=" + e.MessageID
	}
	return e.QueueID + ": message-id=" + e.MessageID
}

// Opt makes an optional text that is there.
func Opt(s string) *string { return &s }

// A ContentAction is what header or body checks did.
type ContentAction struct {
	QueueID    string  `json:"queue_id"`
	Action     string  `json:"action"`  // reject, warning, filter, …
	Context    string  `json:"context"` // header, body
	Content    string  `json:"content"`
	Origin     string  `json:"origin"` // "name[address]" of the client, or local
	Sender     *string `json:"sender,omitempty"`
	Recipient  *string `json:"recipient,omitempty"`
	Proto      string  `json:"proto,omitempty"`
	Helo       string  `json:"helo,omitempty"`
	SASLMethod string  `json:"sasl_method,omitempty"`
	SASLUser   string  `json:"sasl_username,omitempty"`
	SASLSender string  `json:"sasl_sender,omitempty"`
	Reason     string  `json:"text,omitempty"` // the text that goes with the action
}

// Kind is "content_action".
func (e *ContentAction) Kind() string { return "content_action" }

// Text is Postfix's line.
func (e *ContentAction) Text() string {
	b := fmt.Appendf(nil, "%s: %s: %s %s from %s;", e.QueueID, e.Action, e.Context, e.Content, e.Origin)
	if e.Sender != nil {
		b = fmt.Appendf(b, " from=<%s>", *e.Sender)
	}
	if e.Recipient != nil {
		b = fmt.Appendf(b, " to=<%s>", *e.Recipient)
	}
	for _, f := range [...]struct{ name, value string }{
		{"proto", e.Proto}, {"helo", e.Helo}, {"sasl_method", e.SASLMethod},
		{"sasl_username", e.SASLUser}, {"sasl_sender", e.SASLSender},
	} {
		switch {
		case f.value == "":
		case f.name == "helo":
			b = fmt.Appendf(b, " helo=<%s>", f.value)
		default:
			b = fmt.Appendf(b, " %s=%s", f.name, f.value)
		}
	}
	if e.Reason != "" {
		b = fmt.Appendf(b, ": %s", e.Reason)
	}
	return string(b)
}

// A MIMEError is a message that is refused for its form.
type MIMEError struct {
	QueueID   string `json:"queue_id"`
	Problem   string `json:"problem"`
	Content   string `json:"content"`
	Origin    string `json:"origin"`
	Sender    string `json:"sender"`
	Recipient string `json:"recipient"`
}

// Kind is "mime_error".
func (e *MIMEError) Kind() string { return "mime_error" }

// Text is Postfix's line.
func (e *MIMEError) Text() string {
	return fmt.Sprintf("%s: reject: mime-error %s: %s from %s; from=<%s> to=<%s>",
		e.QueueID, e.Problem, e.Content, e.Origin, e.Sender, e.Recipient)
}

// A Discarded message was taken and thrown away.
type Discarded struct {
	QueueID string `json:"queue_id"`
}

// Kind is "discarded".
func (e *Discarded) Kind() string { return "discarded" }

// Text is the line of Postfix 3.11.
func (e *Discarded) Text() string { return e.QueueID + ": removed (discarded)" }

// A Canceled message was not completed, or refused.
type Canceled struct {
	QueueID string `json:"queue_id"`
}

// Kind is "canceled".
func (e *Canceled) Kind() string { return "canceled" }

// Text is the line of Postfix 3.11.
func (e *Canceled) Text() string { return e.QueueID + ": removed (canceled)" }

// A MilterAction is what a milter decided about a message in cleanup.
type MilterAction struct {
	QueueID    string  `json:"queue_id"`
	Action     string  `json:"action"` // milter-reject, milter-hold, milter-discard
	Stage      string  `json:"stage"`  // END-OF-MESSAGE; CONNECT, EHLO, MAIL, RCPT, DATA of mail that did not come by SMTP
	ClientName string  `json:"client_name"`
	ClientAddr string  `json:"client_address"`
	Reason     string  `json:"text"`
	Sender     *string `json:"sender,omitempty"`
	Recipient  *string `json:"recipient,omitempty"`
	Proto      string  `json:"proto,omitempty"`
	Helo       string  `json:"helo,omitempty"`
}

// Kind is "milter_action".
func (e *MilterAction) Kind() string { return "milter_action" }

// Text is Postfix's line.
func (e *MilterAction) Text() string {
	b := fmt.Appendf(nil, "%s: %s: %s from %s[%s]: %s;", e.QueueID, e.Action, e.Stage, e.ClientName, e.ClientAddr, e.Reason)
	return string(e.appendEnvelope(b))
}

func (e *MilterAction) appendEnvelope(b []byte) []byte {
	if e.Sender != nil {
		b = fmt.Appendf(b, " from=<%s>", *e.Sender)
	}
	if e.Recipient != nil {
		b = fmt.Appendf(b, " to=<%s>", *e.Recipient)
	}
	if e.Proto != "" {
		b = fmt.Appendf(b, " proto=%s", e.Proto)
	}
	if e.Helo != "" {
		b = fmt.Appendf(b, " helo=<%s>", e.Helo)
	}
	return b
}

// A MilterCheck is what milter_header_checks said of a field that a milter adds.
type MilterCheck struct {
	MilterAction
	Field string `json:"content"`
}

// Kind is "milter_check".
func (e *MilterCheck) Kind() string { return "milter_check" }

// Text is Postfix's line.
func (e *MilterCheck) Text() string {
	b := fmt.Appendf(nil, "%s: %s: %s %s from %s[%s];", e.QueueID, e.Action, e.Stage, e.Field, e.ClientName, e.ClientAddr)
	b = e.appendEnvelope(b)
	if e.Reason != "" {
		b = fmt.Appendf(b, ": %s", e.Reason)
	}
	return string(b)
}
