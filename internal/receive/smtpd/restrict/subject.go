package restrict

import (
	"postern/internal/mail/event"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
)

// Lookup status of a client's names, in the digits of reply codes.
const (
	NameOK    = 2
	NameRetry = 4 // a temporary failure
	NamePerm  = 5 // there is none, or it does not match
)

// A Subject is what the restrictions look at: the client, the session, and the
// transaction as far as it is known. The server keeps one per session and
// changes its fields as commands arrive.
type Subject struct {
	Stage string // CONNECT, HELO, EHLO, MAIL, RCPT, DATA, BDAT, END-OF-MESSAGE, VRFY, ETRN

	ClientName, ClientAddr, ClientPort string
	NameStatus                         int
	ReverseName                        string // PTR, whether or not it leads back
	ReverseStatus                      int
	ServerAddr, ServerPort             string
	LogClient                          event.Client

	Protocol      string // SMTP, ESMTP
	Helo          string
	HasHelo       bool
	Sender        string // internal form
	HasSender     bool
	Recipient     string // internal form: of this command, or the only one of the message
	HasRecipient  bool
	Recipients    int // accepted so far
	QueueID       string
	Instance      string
	Size          int64
	ETRNDomain    string
	SMTPUTF8      bool
	SASLMethod    string
	SASLUsername  string
	SASLSender    string
	SASLEnabled   bool
	TLS           *starttls.Session
	InputWaiting  func() bool // the client talks before its turn; may be nil
	PipeliningOK  bool        // EHLO was answered with PIPELINING
	Effects       Effects     // what access tables asked for in this transaction
	Trail         []event.Step
	Observe       func(event.Step) // told each step as well; may be nil
	PolicyUnasked bool             // policy servers are passed over
	deferIfPermit *smtp.Reply      // Postfix: sticky from list to list
	deferIfReject *smtp.Reply      // for one list
	afterClient   *smtp.Reply      // deferIfPermit as the client restrictions left it
	afterHelo     *smtp.Reply
	afterSender   *smtp.Reply
	Hangup        bool // the action HANGUP: the session ends without a reply

	recipientChecked bool // against the tables of its address class
	senderChecked    bool
	lists            map[listQuestion]listAnswer // of DNS lists
}

// Effects are what access(5) results ask for besides a reply.
type Effects struct {
	Hold, Discard bool
	Filter        string   // transport:destination
	Redirect      string   // address
	Bcc           []string // addresses
	Prepend       []string // header lines
}

// NewTransaction forgets what belongs to one message.
func (s *Subject) NewTransaction() {
	s.Sender, s.HasSender = "", false
	s.Recipient, s.HasRecipient = "", false
	s.Recipients = 0
	s.QueueID = ""
	s.Size = 0
	s.SMTPUTF8 = false
	s.SASLSender = ""
	s.Effects = Effects{}
	s.afterSender = s.afterHelo
	s.Trail = s.Trail[:0]
}

// NewSession forgets what belongs to the dialogue so far: after STARTTLS and
// XCLIENT. What the client restrictions have put off stays: without
// smtpd_delay_reject they are not evaluated again.
func (s *Subject) NewSession() {
	s.Helo, s.HasHelo, s.Protocol = "", false, "SMTP"
	s.afterHelo = s.afterClient
	s.NewTransaction()
}
