package restrict

import (
	"strings"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/verify"
)

// VerifyConfig holds the parameters of address verification.
type VerifyConfig struct {
	Sender    string // address_verify_sender
	SenderTTL time.Duration
	PollCount int
	PollDelay time.Duration
	From, To  unverified // reject_unverified_sender, reject_unverified_recipient
}

// An unverified is what happens to an address that a probe could not confirm.
type unverified struct {
	Reject, Defer int // reply codes; 250 takes the address anyway
	Reason        string
	Tempfail      tempfail
}

func (c *VerifyConfig) params(s *param.Set) {
	s.Str(&c.Sender, "address_verify_sender", "$double_bounce_sender")
	s.Time(&c.SenderTTL, "address_verify_sender_ttl", "0s", param.Min(0))
	s.NInt(&c.PollCount, "address_verify_poll_count", "${stress?{1}:{3}}", param.Min(1))
	s.Time(&c.PollDelay, "address_verify_poll_delay", "3s", param.Min(1))
	code := func(p *int, name string) { s.Int(p, name, 450, param.Min(200), param.Max(599)) }
	code(&c.From.Reject, "unverified_sender_reject_code")
	code(&c.From.Defer, "unverified_sender_defer_code")
	code(&c.To.Reject, "unverified_recipient_reject_code")
	code(&c.To.Defer, "unverified_recipient_defer_code")
	s.Str(&c.From.Reason, "unverified_sender_reject_reason", "")
	s.Str(&c.To.Reason, "unverified_recipient_reject_reason", "")
	s.Str((*string)(&c.From.Tempfail), "unverified_sender_tempfail_action", "$reject_tempfail_action", param.MinLen(1))
	s.Str((*string)(&c.To.Tempfail), "unverified_recipient_tempfail_action", "$reject_tempfail_action", param.MinLen(1))
}

func rejectUnverifiedSender(v *eval, _ *item) Verdict {
	if !v.s.HasSender || v.s.Sender == "" {
		return Verdict{}
	}
	return v.unverified(v.s.Sender, aboutSender, "4.1.7", &v.Verify.From)
}

func rejectUnverifiedRecipient(v *eval, _ *item) Verdict {
	if !v.s.HasRecipient {
		return Verdict{}
	}
	return v.unverified(v.s.Recipient, aboutRecipient, "4.1.1", &v.Verify.To)
}

// unverified refuses an address that mail cannot be delivered to, and defers
// one of which that is not known yet.
func (v *eval) unverified(addr, about, status string, c *unverified) Verdict {
	r, trouble := v.resolve(v.s.Sender, addr)
	if trouble.Kind != Dunno {
		return trouble
	}
	if !strings.Contains(r.Recipient, "@") {
		return Verdict{}
	}
	a, err := v.verified(addr)
	if err != nil {
		v.env.Log.Warningf("%s service failure: %v", v.env.Common.VerifyServiceName, err)
		w := reject(450, statusFor(status), rejected(addr, about, "address verification problem"))
		w.fault = true
		return w
	}
	code := c.Defer
	switch a.Status {
	case verify.OK:
		return Verdict{}
	case verify.Bounce:
		code = c.Reject
	}
	reason := a.Reason
	if c.Reason != "" {
		reason = c.Reason
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	switch code / 100 {
	case 2:
		return Verdict{}
	case 4:
		return later(c.Tempfail, reply(code, statusFor(status), rejected(addr, about, "unverified address: "+reason)))
	}
	return reject(code, statusFor(status), rejected(addr, about, "undeliverable address: "+reason))
}

// maxReason bounds what a reply says of a probe. Postfix: 250.
const maxReason = 250

// verified asks about an address until there is an answer, or for as long as
// the client may be kept waiting.
func (v *eval) verified(addr string) (a verify.Answer, err error) {
	for n := 1; ; n++ {
		a, err = v.env.Verify(v.ctx, addr)
		if err != nil || a.Status != verify.Todo || n >= v.Verify.PollCount {
			return a, err
		}
		v.env.Sleep(v.ctx, v.Verify.PollDelay)
		if err := v.ctx.Err(); err != nil {
			return a, err
		}
	}
}
