package smtpd

import (
	"context"
	"net"
	"time"

	"postern/internal/ipc/cleanup"
	"postern/internal/mail/event"
	"postern/internal/protocol/milter"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
	"postern/internal/receive/smtpd/beforequeue"
	"postern/internal/receive/smtpd/restrict"
)

// A session is one connection.
type session struct {
	*Server
	ctx context.Context

	conn net.Conn // the innermost: TLS when it is in use
	raw  net.Conn // below TLS
	in   *smtp.Reader
	out  []byte // replies that wait for the end of a pipelined group

	peer       peer
	subject    restrict.Subject
	xf         xforward
	tls        *starttls.Session
	auth       *authState // nil while nobody has authenticated
	tx         *transaction
	milters    *milter.Chain
	bdatFailed bool // a chunk was refused; the rest of the message is swallowed

	line         string // the command as it was given
	where        string // the command that was given last, for logs
	bareNewline  smtp.BareNewline
	bareSeen     bool            // noted at the end of the session
	discards     map[string]bool // EHLO keywords that the client does not see; nil when not known
	heloRefused  bool            // by a milter, which is only said later
	errors       int
	junk         int
	passed       []event.Judgement // what let commands pass, for the JSON log
	counts       [cmdUnknown + 1]event.CommandCount
	rehearsing   *Rehearsal // the session does not take place; nil for one that does
	askedMilters []Milter   // of a rehearsal

	trusted     bool // may use XFORWARD: by the address of the connection
	counted     bool // anvil knows of the connection
	limited     bool // the client is not exempt from limits
	connections int  // of the client, as anvil counts them
	denied      smtp.Reply
	end         bool
	outOfTurn   bool   // said of a client that may go on
	reason      string // why the session ends, for the log
	octets      int64  // of message content when it ended; -1 outside of it

	milterRefused smtp.Reply // of the recipient of which the milters are being told
}

// A transaction is one message, from MAIL to the end of data. Without MAIL
// there is none.
type transaction struct {
	sender     string // internal form
	encoding   string // 7bit, 8bit; "" when BODY was not given
	size       int64  // as announced
	smtputf8   bool
	requireTLS bool   // REQUIRETLS was given
	ret        string // HDRS, FULL
	envelopeID string // decoded
	verp       string // delimiters; "" without XVERP
	authSender string // MAIL AUTH=
	authGiven  bool   // it was not <>
	arrival    time.Time
	// rewriteContext is local or remote, for incomplete addresses in the header.
	rewriteContext string
	recipients     []string // accepted ones
	overshoot      int      // refused because there were too many

	command string              // MAIL as it was given
	queue   queueFile           // nil until the queue file is open
	filter  *beforequeue.Filter // the same, when it is a filter

	handedOver bool // cleanup has the milters

	bdat   *bdatState
	status cleanup.Status
	flags  cleanup.Flags // told to cleanup in the stream
	octets int64
}

// reset ends the transaction, whatever its state. It is the only way out of
// one, used by every verb.
func (s *session) reset() {
	if s.tx != nil && s.tx.queue != nil {
		s.tx.queue.Close() // cleanup removes what is not finished
	}
	if s.tx != nil {
		s.milters.Abort()
	}
	s.tx = nil
	s.bdatFailed = false
	s.xf = xforward{}
	s.subject.NewTransaction()
}

// queueID names the message in log lines, "" before there is one.
func (s *session) queueID() string { return s.subject.QueueID }

// ok makes a reply; status is "" where there is none.
func ok(code int, status, text string) smtp.Reply {
	return smtp.NewReply(code, statusOf(status), text)
}
