package message

// An ID is a header field that Postern knows.
type ID int

// The known fields. Unknown stands for all others.
const (
	Unknown ID = iota
	ApparentlyTo
	Bcc
	Cc
	ContentDescription
	ContentDisposition
	ContentID
	ContentLength
	ContentTransferEncoding
	ContentType
	Date
	DeliveredTo
	DispositionNotificationTo
	ErrorsTo
	From
	MailFollowupTo
	MessageID
	MIMEVersion
	Received
	ReplyTo
	RequireTLS
	ResentBcc
	ResentCc
	ResentDate
	ResentFrom
	ResentMessageID
	ResentReplyTo
	ResentSender
	ResentTo
	ReturnPath
	ReturnReceiptTo
	Sender
	TLSRequired
	To
)

// RequireTLSField carries REQUIRETLS (RFC 8689) through a content filter, which
// does not know the extension. Postfix: requiretls_esmtp_header.
const RequireTLSField = "Require-TLS-ESMTP: yes"

// TLSNotRequiredField says that delivery counts for more than TLS policy
// (RFC 8689 3).
const TLSNotRequiredField = "TLS-Required: no"

// Use says what a field holds.
type Use int

const (
	SenderUse    Use = 1 << iota // sender addresses
	RecipientUse                 // recipient addresses
	ExtractUse                   // recipients that sendmail -t sends to
	MIMEUse                      // describes a body
	ResentUse                    // belongs to a resent block
)

// A Name is a known header field name.
type Name struct {
	ID   ID
	Text string // as it is written
	Use  Use
}

var names = [...]Name{
	{ApparentlyTo, "Apparently-To", RecipientUse},
	{Bcc, "Bcc", RecipientUse | ExtractUse},
	{Cc, "Cc", RecipientUse | ExtractUse},
	{ContentDescription, "Content-Description", MIMEUse},
	{ContentDisposition, "Content-Disposition", MIMEUse},
	{ContentID, "Content-ID", MIMEUse},
	{ContentLength, "Content-Length", 0},
	{ContentTransferEncoding, "Content-Transfer-Encoding", MIMEUse},
	{ContentType, "Content-Type", MIMEUse},
	{Date, "Date", 0},
	{DeliveredTo, "Delivered-To", 0},
	{DispositionNotificationTo, "Disposition-Notification-To", SenderUse},
	{ErrorsTo, "Errors-To", SenderUse},
	{From, "From", SenderUse},
	{MailFollowupTo, "Mail-Followup-To", SenderUse},
	{MessageID, "Message-Id", 0},
	{MIMEVersion, "MIME-Version", MIMEUse},
	{Received, "Received", 0},
	{ReplyTo, "Reply-To", SenderUse},
	{RequireTLS, "Require-TLS-ESMTP", 0},
	{ResentBcc, "Resent-Bcc", RecipientUse | ExtractUse | ResentUse},
	{ResentCc, "Resent-Cc", RecipientUse | ExtractUse | ResentUse},
	{ResentDate, "Resent-Date", ResentUse},
	{ResentFrom, "Resent-From", SenderUse | ResentUse},
	{ResentMessageID, "Resent-Message-Id", ResentUse},
	{ResentReplyTo, "Resent-Reply-To", RecipientUse | ResentUse},
	{ResentSender, "Resent-Sender", SenderUse | ResentUse},
	{ResentTo, "Resent-To", RecipientUse | ExtractUse | ResentUse},
	{ReturnPath, "Return-Path", SenderUse},
	{ReturnReceiptTo, "Return-Receipt-To", SenderUse},
	{Sender, "Sender", SenderUse},
	{TLSRequired, "TLS-Required", 0},
	{To, "To", RecipientUse | ExtractUse},
}

// Lookup returns the known name that field, a whole header field, begins
// with, or nil.
func Lookup(field []byte) *Name {
	n := NameLength(field)
	if n == 0 {
		return nil
	}
	for i := range names {
		if len(names[i].Text) == n && equalFold(names[i].Text, field[:n]) {
			return &names[i]
		}
	}
	return nil
}

func equalFold(s string, b []byte) bool {
	for i := 0; i < len(s); i++ {
		if lower(s[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// NameLength returns the length of the field name at the start of line, or 0
// when line does not begin a header field: printable ASCII, then optional
// white space (Postfix: older mail has it), then a colon.
func NameLength(line []byte) int {
	n := 0
	for i, c := range line {
		switch {
		case c == ':':
			return n
		case c == ' ' || c == '\t':
			if n == 0 {
				return 0
			}
		case c < ' ' || c >= 0x7f || i > n:
			return 0
		default:
			n = i + 1
		}
	}
	return 0
}

// Value returns what follows the colon of a header field, without the white
// space around it.
func Value(field []byte) []byte {
	n := NameLength(field)
	if n == 0 {
		return nil
	}
	for field[n] != ':' {
		n++
	}
	return trim(field[n+1:])
}

func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
