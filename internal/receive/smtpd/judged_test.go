package smtpd

import (
	"strings"
	"testing"

	"postern/internal/mail/event"
)

// The trails of further recipients and of the content are kept for a JSON log,
// and only for that.
func TestJudged(t *testing.T) {
	for format, want := range map[string]string{"text": "", "json": "RCPT v@local.example permit_mynetworks|DATA  check_sender_access"} {
		b := newBench(t, "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nsmtpd_data_restrictions = check_sender_access inline:{x=OK}\n")
		b.common.MaillogFormat = format
		s := &session{Server: b.Server}
		s.subject.Trail = []event.Step{{Restriction: "permit_mynetworks"}}
		s.where = "RCPT"
		s.judged("v@local.example")
		s.subject.Trail = []event.Step{{Restriction: "check_sender_access"}}
		s.where = "DATA"
		s.judged("")
		s.subject.Trail = nil
		s.judged("nothing was asked")
		var got []string
		for _, j := range s.passed {
			got = append(got, j.Stage+" "+j.Recipient+" "+j.Trail[0].Restriction)
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%s: got %q, want %q", format, text, want)
		}
	}
}
