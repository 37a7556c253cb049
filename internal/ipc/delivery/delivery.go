// Package delivery is how the queue manager asks a delivery agent to deliver
// one message to some of its recipients.
//
// The agent announces the protocol, then answers one Request with one Reply for
// as long as the connection stays open: the queue manager keeps connections and
// sends the next request over them. An agent may ask another agent in the same
// way (local's mailbox_transport). Postfix: delivery_request_protocol; the
// differences are that the connection is kept and that times are plain numbers
// of microseconds.
package delivery

import (
	"fmt"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
)

// Protocol is what an agent announces.
const Protocol = "delivery_request_protocol"

// MaxRecipients bounds the recipients of one request that an agent accepts.
const MaxRecipients = 100_000

// Flags of a request, also the value of the queue file's attribute trace_flags.
const (
	FlagSuccess    = 1 << 0  // mark recipients that are done in the queue file
	FlagBounce     = 1 << 1  // Postfix: reserved
	FlagMTAVerify  = 1 << 8  // probe for the verify service, deliver nothing
	FlagUserVerify = 1 << 9  // sendmail -bv: report to the sender, deliver nothing
	FlagRecord     = 1 << 10 // sendmail -v: deliver, and report to the sender
	FlagConnLoad   = 1 << 11 // look for a cached connection (scache)
	FlagConnStore  = 1 << 12 // keep the connection (scache)
	FlagRecDlySent = 1 << 13 // report a delayed recipient that has been sent
)

// TraceFlags are those that a queue file may ask for.
const TraceFlags = FlagMTAVerify | FlagUserVerify | FlagRecord | FlagRecDlySent

// VerifyFlags say that nothing is delivered.
const VerifyFlags = FlagMTAVerify | FlagUserVerify

// Ret flags of a message (RFC 3461 4.3), the value of ret_flags; 0 when the
// sender did not ask.
const (
	RetFull    = 1
	RetHeaders = 2
)

// Send options, the sixth number of the size record.
const (
	SendUTF8Requested = 1 << 0 // the sender asked for SMTPUTF8
	SendUTF8Header    = 1 << 1
	SendUTF8Sender    = 1 << 2
	SendUTF8Recipient = 1 << 3 // in requests only: some recipient of the request
	SendTLSNotReq     = 1 << 4 // header "TLS-Required: no"
	SendRequireTLS    = 1 << 5
)

// SendUTF8 are the options that make a message need SMTPUTF8.
const SendUTF8 = SendUTF8Requested | SendUTF8Header | SendUTF8Sender | SendUTF8Recipient

// Times are the moments of a delivery, for the log's delays=a/b/c/d. The zero
// time stands for "has not happened".
type Times struct {
	Arrival       time.Time // the message entered the system
	ActiveArrival time.Time // it entered the active queue
	AgentHandoff  time.Time // the agent got the request
	ConnSetup     time.Time // the agent was connected
	DeliveryDone  time.Time // the recipient was dealt with
}

// A Recipient is one address to deliver to.
type Recipient struct {
	Address     string // as rewritten and resolved
	OrigAddr    string // before virtual expansion; "" if not known
	Offset      int64  // of its record in the queue file; -1: nothing to mark
	DSNOrigRcpt string // RFC 3461 ORCPT, "rfc822;xtext"
	Notify      int    // Notify flags
	Settled     bool   // the agent has reported it; not sent
}

// A Request is one delivery: a message, a next hop, recipients.
type Request struct {
	Flags      int
	QueueName  queue.Name
	QueueID    queue.ID
	Offset     int64 // of the message content in the queue file
	Size       int64 // of the content
	Nexthop    string
	Encoding   string // "7bit", "8bit" or ""
	SendOpts   int
	Sender     string
	EnvelopeID string // RFC 3461 ENVID
	RetFlags   int
	Times      Times

	ClientName, ClientAddr, ClientPort, ClientProto, ClientHelo string

	SASLMethod, SASLUsername, SASLSender string

	LogIdent       string // queue id by which an upstream filter knows the message
	RewriteContext string // "local" or "remote"
	Recipients     []*Recipient
}

// Attrs names the attributes of a request.
func (r *Request) Attrs(c *attr.Codec) {
	c.Int("flags", &r.Flags)
	c.Str("queue_name", (*string)(&r.QueueName))
	c.Str("queue_id", (*string)(&r.QueueID))
	c.Long("offset", &r.Offset)
	c.Long("size", &r.Size)
	c.Str("nexthop", &r.Nexthop)
	c.Str("encoding", &r.Encoding)
	c.Int("sendopts", &r.SendOpts)
	c.Str("sender", &r.Sender)
	c.Str("envelope_id", &r.EnvelopeID)
	c.Int("ret_flags", &r.RetFlags)
	moment(c, "arrival_time", &r.Times.Arrival)
	moment(c, "active_time", &r.Times.ActiveArrival)
	c.Str("log_client_name", &r.ClientName)
	c.Str("log_client_address", &r.ClientAddr)
	c.Str("log_client_port", &r.ClientPort)
	c.Str("log_protocol_name", &r.ClientProto)
	c.Str("log_helo_name", &r.ClientHelo)
	c.Str("sasl_method", &r.SASLMethod)
	c.Str("sasl_username", &r.SASLUsername)
	c.Str("sasl_sender", &r.SASLSender)
	c.Str("log_ident", &r.LogIdent)
	c.Str("rewrite_context", &r.RewriteContext)
	n := len(r.Recipients)
	c.Int("recipient_count", &n)
	if c.Err() != nil {
		return
	}
	if c.Reading() {
		if n < 1 || n > MaxRecipients {
			c.Fail(fmt.Errorf("delivery request with %d recipients", n))
			return
		}
		r.Recipients = make([]*Recipient, 0, min(n, 1000))
	}
	for i := 0; i < n && c.Err() == nil; i++ {
		if c.Reading() {
			r.Recipients = append(r.Recipients, new(Recipient))
		}
		r.Recipients[i].attrs(c)
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

// moment is a time as microseconds since 1970; 0 is the zero time.
func moment(c *attr.Codec, name string, t *time.Time) {
	var us int64
	if !c.Reading() && !t.IsZero() {
		us = t.UnixMicro()
	}
	c.Long(name, &us)
	if c.Reading() && us != 0 {
		*t = time.UnixMicro(us)
	}
}

// A Status is the outcome of a request as a whole.
type Status int

const (
	Done  Status = 0  // every recipient is delivered or returned
	Defer Status = -1 // some recipient must be tried again
)

// A Reply is what an agent answers.
type Reply struct {
	Status  Status
	Bounced bool       // something was written to the bounce log
	Hop     dsn.Result // with a status: the next hop as a whole is out of service
}

// Attrs names the attributes of a reply.
func (r *Reply) Attrs(c *attr.Codec) {
	c.Str("dsn_status", (*string)(&r.Hop.Status))
	c.Str("diag_type", &r.Hop.DiagType)
	c.Str("diag_text", &r.Hop.DiagText)
	c.Str("mta_type", &r.Hop.MTAType)
	c.Str("mta_mname", &r.Hop.MTAName)
	c.Str("action", &r.Hop.Action)
	c.Str("reason", &r.Hop.Reason)
	c.Bool("bounced", &r.Bounced)
	c.Int("status", (*int)(&r.Status))
	c.End()
}
