package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/verify"
	"postern/internal/mail/address"
	"postern/internal/mail/record"
)

// dateLayout is RFC 5322 3.3 as Postfix writes it.
const dateLayout = "Mon, _2 Jan 2006 15:04:05 -0700 (MST)"

// A prober sends probes.
type prober struct {
	common  *param.Common
	now     func() time.Time
	sender  verify.Sender
	classes []string // smtputf8_autodetect_classes
	cleanup *cleanup.Client
	rewrite *rewrite.Client
}

// send hands a probe of an address to cleanup. It is not mapped: the address
// itself is what is asked about, and the answer comes under its name.
func (p *prober) send(ctx context.Context, addr string) error {
	sender := p.sender.At(p.now())
	if sender != "" {
		var err error
		if sender, err = p.rewrite.Rewrite(ctx, rewrite.Local, sender); err != nil {
			return err
		}
	}
	flags := cleanup.MaskInternal
	if p.common.SMTPUTF8Enable {
		if slices.Contains(p.classes, "verify") || slices.Contains(p.classes, "all") {
			flags |= cleanup.FlagAutoUTF8
		}
		if !ascii(addr) {
			flags |= cleanup.FlagSMTPUTF8
		}
	}
	q, err := p.cleanup.Open(ctx, flags)
	if err != nil {
		return err
	}
	defer q.Close()
	p.write(q.W, q.QueueID, sender, addr)
	status, reason, err := q.Finish(ctx)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("cleanup service refuses a probe: %s: %s", status, reason)
	}
	return nil
}

// write writes the message, which nobody will read.
func (p *prober) write(w *record.Writer, id, sender, addr string) {
	now := p.now()
	w.Printf(record.Time, "%d %d", now.Unix(), now.Nanosecond()/1000)
	w.Attr("log_message_origin", "local")
	w.Attr("rewrite_context", rewrite.Local)
	w.Attr("trace_flags", strconv.Itoa(delivery.FlagMTAVerify))
	w.PutString(record.Sender, sender)
	w.PutString(record.Rcpt, addr)
	w.PutString(record.Mesg, "")
	date := now.Format(dateLayout)
	w.Printf(record.Norm, "Received: by %s (%s)", p.common.MyHostname, p.common.MailName)
	w.Printf(record.Norm, "\tid %s; %s", id, date)
	w.Printf(record.Norm, "Date: %s", date)
	w.Printf(record.Norm, "From: %s", address.Quote822(sender))
	w.PutString(record.Xtra, "")
	w.PutString(record.End, "")
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
