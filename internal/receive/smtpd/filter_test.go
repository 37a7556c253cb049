package smtpd

import (
	"testing"

	"postern/internal/protocol/smtp"
)

func TestRejectFilter(t *testing.T) {
	b := newBench(t, "smtpd_reject_filter_maps = regexp:{ {/no such user/ 450 4.2.0 later}, {/denied/ 250 2.0.0 Ok},"+
		" {/bare/ 521 short}, {/busy/ 421 4.3.2} }\nsmtpd_reject_footer = help at $server_name\n")
	tests := []struct{ in, want string }{
		{"550 5.1.1 no such user", "450 4.2.0 later help at mail.local.example"},
		{"550 5.1.1 other", "550 5.1.1 other help at mail.local.example"},
		{"554 5.7.1 denied", "554 5.7.1 denied help at mail.local.example"}, // never success
		{"501 5.5.4 bare", "501 5.5.4 bare help at mail.local.example"},     // needs a status
		{"421 4.3.2 busy", "421 4.3.2 busy help at mail.local.example"},     // needs a text
	}
	for _, tt := range tests {
		s := &session{Server: b.Server, ctx: t.Context()}
		r, ok := smtp.ParseReply(tt.in)
		if !ok {
			t.Fatal(tt.in)
		}
		r = s.filterReject(r)
		s.addFooter(&r)
		if got := r.String(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
