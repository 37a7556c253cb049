package smtpd

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

func TestRehearse(t *testing.T) {
	b := withUsers(t, "smtpd_client_restrictions = check_client_access inline:{198.51.100=DUNNO,203.0.113=REJECT}\n"+
		"smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination\nsmtpd_data_restrictions = check_sender_access inline:{{a@b.example=PREPEND X-Seen: yes}}\n")
	for _, tt := range []struct {
		name    string
		r       Rehearsal
		replies string // of all commands, separated by |
		trail   string // the last step of the last command that has any
	}{
		{"a stranger", Rehearsal{Client: netip.MustParseAddr("198.51.100.7"), Helo: "h.example", Sender: "a@b.example", Recipients: []string{"u@local.example", "x@else.example"}},
			"220|250|250|250|554|250", "smtpd_data_restrictions check_sender_access"},
		{"a user", Rehearsal{Client: netip.MustParseAddr("198.51.100.7"), Helo: "h.example", User: "joe", Sender: "a@c.example", Recipients: []string{"x@else.example"}},
			"220|250|250|250|250|250", ""},
		{"unwanted", Rehearsal{Client: netip.MustParseAddr("203.0.113.9"), Name: "c.example", Helo: "h.example", TLS: true, Sender: "", Recipients: []string{"u@local.example"}},
			"220|250|250|250|554", "smtpd_client_restrictions check_client_access"},
	} {
		var replies []string
		trail := ""
		for _, e := range b.Rehearse(context.Background(), tt.r) {
			code := e.Reply
			if i := strings.LastIndexByte(code, '\n'); i >= 0 {
				code = code[i+1:]
			}
			replies = append(replies, code[:min(3, len(code))])
			if len(e.Trail) > 0 {
				s := e.Trail[len(e.Trail)-1]
				trail = s.List + " " + s.Restriction
			}
		}
		if got := strings.Join(replies, "|"); got != tt.replies || tt.trail != "" && trail != tt.trail {
			t.Errorf("%s: got %s, %s; want %s, %s", tt.name, got, trail, tt.replies, tt.trail)
		}
	}
	if got := b.queue.taken(); len(got) != 2 || !strings.Contains(got[0], "N X-Seen: yes") || !strings.Contains(got[1], "ESMTPA id") {
		t.Errorf("queue files: %q", got)
	}
	if strings.Contains(strings.Join(b.log(), "\n"), "connect from") {
		t.Error("a session is logged")
	}
}
