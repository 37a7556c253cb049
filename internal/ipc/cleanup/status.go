package cleanup

// Flags tell cleanup what to do with a message (Postfix: the numbers of its
// cleanup protocol).
type Flags int

const (
	FlagBounce     Flags = 1    // bounce a message that turns out to be bad; else the client does
	FlagFilter     Flags = 2    // header and body checks, content filter
	FlagHold       Flags = 4    // place the message on hold
	FlagDiscard    Flags = 8    // accept and throw away
	FlagBCC        Flags = 16   // automatic bcc recipients
	FlagMap        Flags = 32   // canonical, virtual and masquerade mapping
	FlagMilter     Flags = 64   // run non_smtpd_milters, or those that the client passes
	FlagSMTPReply  Flags = 128  // the reason is an SMTP reply
	FlagSMTPUTF8   Flags = 256  // the sender asked for SMTPUTF8
	FlagAutoUTF8   Flags = 512  // detect the need for SMTPUTF8
	FlagRequireTLS Flags = 1024 // the sender asked for REQUIRETLS

	MaskExternal = FlagFilter | FlagBCC | FlagMap | FlagMilter // mail from outside
	MaskInternal = FlagMap                                     // notices and forwarded mail
	MaskExtra    = FlagHold | FlagDiscard                      // may be added in the record stream
)

// Status is the set of what went wrong with a message; zero means that it is
// safely in the queue.
type Status int

const (
	StatusBad        Status = 1     // the client breaks the protocol
	StatusWrite      Status = 2     // the queue file could not be written
	StatusSize       Status = 4     // larger than message_size_limit
	StatusContent    Status = 8     // refused by content inspection
	StatusHops       Status = 16    // too many Received: fields
	StatusRecipients Status = 64    // no recipients
	StatusProxy      Status = 128   // the before-queue filter fails (smtpd only)
	StatusDefer      Status = 256   // try again later
	StatusNoPerm     Status = 512   // not permitted
	StatusBareLF     Status = 65536 // bare newline (smtpd only)

	// MaskCannotBounce are the errors after which cleanup does not bounce by
	// itself: the client has to keep the message.
	MaskCannotBounce = StatusBad | StatusWrite | StatusDefer
	// MaskIncomplete are the errors after which the queue file is not complete.
	MaskIncomplete = StatusBad | StatusWrite | StatusSize | StatusDefer
)

// A Detail is how a status is told to an SMTP client and in a notice.
type Detail struct {
	Status Status
	Code   int    // SMTP reply code
	DSN    string // enhanced status code
	Text   string
}

// details stand in the order of their weight: of several errors the first counts.
var details = [...]Detail{
	{StatusDefer, 451, "4.7.1", "service unavailable"},
	{StatusProxy, 451, "4.3.0", "queue file write error"},
	{StatusBad, 451, "4.3.0", "internal protocol error"},
	{StatusRecipients, 550, "5.1.0", "no recipients specified"},
	{StatusHops, 554, "5.4.0", "too many hops"},
	{StatusSize, 552, "5.3.4", "message file too big"},
	{StatusContent, 550, "5.7.1", "message content rejected"},
	{StatusWrite, 451, "4.3.0", "queue file write error"},
	{StatusNoPerm, 550, "5.7.1", "service denied"},
	{StatusBareLF, 521, "5.5.2", "bare <LF> received"},
}

// Detail returns what to say about the gravest error in s.
func (s Status) Detail() Detail {
	if s == 0 {
		return Detail{0, 250, "2.0.0", "Success"}
	}
	for _, d := range details {
		if s&d.Status != 0 {
			return d
		}
	}
	return Detail{s, 451, "4.3.0", "unknown cleanup error"}
}

func (s Status) String() string { return s.Detail().Text }
