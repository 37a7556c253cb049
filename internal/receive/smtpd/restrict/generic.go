package restrict

import (
	"context"
	"strconv"
	"time"
)

func checkPermit(*eval, *item) Verdict { return permit() }

func checkReject(v *eval, _ *item) Verdict {
	return v.refuse(v.RejectCode, "5.7.1", "Access denied")
}

func checkDefer(v *eval, _ *item) Verdict {
	return v.refuse(v.DeferCode, "4.3.2", "Try again later")
}

func checkDeferIfPermit(v *eval, _ *item) Verdict {
	w := v.refuse(450, "4.7.0", "defer_if_permit requested")
	w.Kind = DeferIfPermit
	return w
}

func checkDeferIfReject(v *eval, _ *item) Verdict {
	w := v.refuse(450, "4.7.0", "defer_if_reject requested")
	w.Kind = DeferIfReject
	return w
}

// maxSleep bounds the restriction "sleep", so that a session cannot be kept
// for good.
const maxSleep = 1000 * time.Second

func checkSleep(v *eval, it *item) Verdict {
	n, err := strconv.Atoi(it.arg)
	if err != nil || n < 0 {
		v.env.Log.Warningf("restriction sleep must be followed by number")
		return misconfigured()
	}
	d := min(time.Duration(n)*time.Second, maxSleep)
	ctx, cancel := context.WithTimeout(v.ctx, d+time.Second)
	defer cancel()
	v.env.Sleep(ctx, d)
	return Verdict{}
}

// rejectMultiRecipientBounce refuses a null sender with several recipients: no
// notification has more than one. It knows only at DATA.
func rejectMultiRecipientBounce(v *eval, _ *item) Verdict {
	most := 1 // Postfix: at RCPT there are those before, and this one
	if v.s.Stage == "RCPT" {
		most = 0
	}
	if !v.s.HasSender || v.s.Sender != "" || v.s.Recipients <= most {
		return Verdict{}
	}
	return v.refuse(v.MultiRecipientBounce, "5.5.3", "Multi-recipient bounce")
}

func rejectPlaintextSession(v *eval, _ *item) Verdict {
	if v.s.TLS != nil {
		return Verdict{}
	}
	return reject(v.Plaintext, "4.7.1", "Session encryption is required")
}

// rejectUnauthPipelining refuses a client that sends commands before it may.
func rejectUnauthPipelining(v *eval, _ *item) Verdict {
	if v.s.InputWaiting == nil || !v.s.InputWaiting() {
		return Verdict{}
	}
	if v.s.PipeliningOK && (v.s.Stage == "MAIL" || v.s.Stage == "RCPT" || v.s.Stage == "BDAT") {
		return Verdict{}
	}
	return v.refuse(503, "5.5.0", "Improper use of SMTP command pipelining")
}
