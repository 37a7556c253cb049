// Package bounce is how a program has the fate of a recipient recorded and
// reported: it asks the services bounce, defer and trace.
//
// All three speak one protocol and keep a log per message; they differ in the
// directory of the log and in what the report says. An append is on stable
// storage when it returns nil. Postfix: delivery_status_protocol.
package bounce

import (
	"context"
	"fmt"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
)

// Protocol is what the three services announce.
const Protocol = "delivery_status_protocol"

// Kinds of request, the attribute nrequest.
const (
	OpAppend = 0 // add a recipient to the message's log
	OpFlush  = 1 // report the log to the sender and remove it
	OpWarn   = 2 // report the log to the sender as a delay and keep it
	OpVerp   = 3 // as flush, one notification for each recipient, with VERP
	OpOne    = 4 // report one recipient now, without a log
	OpTrace  = 5 // report the log of what was delivered or could be
)

// Flags of a request.
const (
	FlagClean   = 1 << 0 // append failed: remove the log
	FlagDelRcpt = 1 << 1 // flush: mark the reported recipients done in the queue file
)

// A Recipient is whom a record is about.
type Recipient struct {
	Address     string
	OrigAddr    string
	Offset      int64 // of its record in the queue file; 0 or less: none
	DSNOrigRcpt string
	Notify      int
}

// A Message is what a report needs to know of the message.
type Message struct {
	QueueName  queue.Name
	QueueID    queue.ID
	Encoding   string
	SendOpts   int
	Sender     string
	EnvelopeID string
	RetFlags   int
	Verp       string // the two VERP delimiters; "" for none
}

// A Request is any request; Op says which fields matter.
type Request struct {
	Op        int
	Flags     int
	Message   Message
	Recipient Recipient
	Result    dsn.Result
}

// Attrs names the attributes of a request.
func (r *Request) Attrs(c *attr.Codec) {
	c.Int("nrequest", &r.Op)
	c.Int("flags", &r.Flags)
	m := &r.Message
	switch {
	case c.Err() != nil:
		return
	case r.Op == OpAppend:
		c.Str("queue_id", (*string)(&m.QueueID))
	case r.Op > OpAppend && r.Op <= OpTrace:
		c.Str("queue_name", (*string)(&m.QueueName))
		c.Str("queue_id", (*string)(&m.QueueID))
		c.Str("encoding", &m.Encoding)
		c.Int("sendopts", &m.SendOpts)
		c.Str("sender", &m.Sender)
		c.Str("envelope_id", &m.EnvelopeID)
		c.Int("ret_flags", &m.RetFlags)
	default:
		c.Fail(fmt.Errorf("unknown delivery status request %d", r.Op))
		return
	}
	switch r.Op {
	case OpVerp:
		c.Str("verp_delimiters", &m.Verp)
	case OpAppend, OpOne:
		r.Recipient.attrs(c)
		r.resultAttrs(c)
	}
	c.End()
}

func (r *Recipient) attrs(c *attr.Codec) {
	c.Str("original_recipient", &r.OrigAddr)
	c.Str("recipient", &r.Address)
	c.Long("offset", &r.Offset)
	c.Str("dsn_orig_rcpt", &r.DSNOrigRcpt)
	c.Int("notify_flags", &r.Notify)
}

func (r *Request) resultAttrs(c *attr.Codec) {
	d := &r.Result
	c.Str("status", (*string)(&d.Status))
	c.Str("diag_type", &d.DiagType)
	c.Str("diag_text", &d.DiagText)
	c.Str("mta_type", &d.MTAType)
	c.Str("mta_mname", &d.MTAName)
	c.Str("action", &d.Action)
	c.Str("reason", &d.Reason)
}

// A Client asks one of the services. Its calls fail when the service cannot be
// reached before ctx ends, or says that it could not do what was asked.
type Client struct {
	endpoint *endpoint.Endpoint
}

// New returns a client of the service behind e ("private/bounce").
func New(e *endpoint.Endpoint) *Client { return &Client{endpoint: e} }

// Append adds a recipient to the log of message id.
func (c *Client) Append(ctx context.Context, id queue.ID, flags int, rcpt Recipient, res dsn.Result) error {
	return c.ask(ctx, &Request{Op: OpAppend, Flags: flags, Message: Message{QueueID: id}, Recipient: rcpt, Result: res})
}

// Flush sends the log of m to the sender; of the service defer it says that the
// recipients have been given up, of trace what was done.
func (c *Client) Flush(ctx context.Context, m Message, flags int) error {
	op := OpFlush
	if m.Verp != "" {
		op = OpVerp
	}
	return c.ask(ctx, &Request{Op: op, Flags: flags, Message: m})
}

// Warn sends the log of m to the sender as a notice of delay and keeps it.
func (c *Client) Warn(ctx context.Context, m Message) error {
	return c.ask(ctx, &Request{Op: OpWarn, Message: m})
}

// One sends a notification about one recipient without a log.
func (c *Client) One(ctx context.Context, m Message, flags int, rcpt Recipient, res dsn.Result) error {
	return c.ask(ctx, &Request{Op: OpOne, Flags: flags, Message: m, Recipient: rcpt, Result: res})
}

// Trace sends the log of m to the sender as a report of what was delivered.
func (c *Client) Trace(ctx context.Context, m Message, flags int) error {
	return c.ask(ctx, &Request{Op: OpTrace, Flags: flags, Message: m})
}

func (c *Client) ask(ctx context.Context, r *Request) error {
	var status attr.Status
	if err := c.endpoint.Call(ctx, r, &status); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("service %s failed, status %d", c.endpoint.Path(), status)
	}
	return nil
}
