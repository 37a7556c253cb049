package agent

import (
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
)

// Expanded tells the sender, who wants to know of success, that rcpt has become
// other addresses. It logs nothing and settles nothing; what cannot be recorded
// is not worth a delay. RFC 3461 5.2.7.3.
func (rep *Report) Expanded(rcpt *delivery.Recipient, reason string) {
	if rep.req.VerifyOnly() {
		return
	}
	res := dsn.Make("2.0.0", reason)
	res.Action = "expanded"
	if err := rep.append(rep.kit.logs.trace, rcpt, res); err != nil {
		rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
	}
}

// Passed takes over the reply of another agent that a recipient was passed to.
func (rep *Report) Passed(reply *delivery.Reply) {
	rep.shared.mu.Lock()
	defer rep.shared.mu.Unlock()
	rep.shared.reply.Bounced = rep.shared.reply.Bounced || reply.Bounced
}
