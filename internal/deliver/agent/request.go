package agent

import (
	"strings"
	"sync"

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

// readers keep the buffers of those who have read a message's content.
var readers = sync.Pool{New: func() any { return record.NewFileReader(nil, 0) }}

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

// WithContent calls f with what Content returns, which is not valid afterwards:
// for those who read the message to its end.
func (r *Request) WithContent(f func(*record.FileReader) error) error {
	content := readers.Get().(*record.FileReader)
	content.Reset(r.File, r.Offset)
	defer func() {
		content.Reset(nil, 0)
		readers.Put(content)
	}()
	return f(content)
}

// origTo is the original recipient when it is worth telling.
func origTo(rcpt *delivery.Recipient) string {
	if rcpt.OrigAddr == "" || strings.EqualFold(rcpt.OrigAddr, rcpt.Address) {
		return ""
	}
	return rcpt.OrigAddr
}
