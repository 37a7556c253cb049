package agent

import (
	"strings"

	"postern/internal/base/maillog"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// A Request is a message with recipients to deliver it to. Its queue file is
// open and locked for as long as the function runs.
type Request struct {
	delivery.Request
	File *queue.File
	Log  *maillog.Logger
}

// VerifyOnly says that nothing may be delivered: the function reports as Sent
// what it would deliver ("delivers to mailbox").
func (r *Request) VerifyOnly() bool { return r.Flags&delivery.VerifyFlags != 0 }

// SMTPUTF8 says that the message needs SMTPUTF8 (RFC 6531).
func (r *Request) SMTPUTF8() bool { return r.SendOpts&delivery.SendUTF8 != 0 }

// Content returns the records of the message content, from the first header
// line on; they end with a record Xtra.
func (r *Request) Content() *record.FileReader {
	return record.NewFileReader(r.File, r.Offset)
}

// origTo is the original recipient when it is worth telling.
func origTo(rcpt *delivery.Recipient) string {
	if rcpt.OrigAddr == "" || strings.EqualFold(rcpt.OrigAddr, rcpt.Address) {
		return ""
	}
	return rcpt.OrigAddr
}
