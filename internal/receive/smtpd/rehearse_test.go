package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern/internal/base/sys/systest"
	"postern/internal/protocol/milter/miltertest"
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
		for _, e := range b.Rehearse(context.Background(), tt.r).Exchanges {
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

// indifferentPolicy is the address of a policy server that has nothing against
// anybody.
func indifferentPolicy(t *testing.T) string {
	return systest.Serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		for in := bufio.NewScanner(c); in.Scan(); {
			if in.Text() == "" {
				io.WriteString(c, "action=DUNNO\n\n")
			}
		}
	})
}

// Policy servers and milters are asked when the user wants it; a filter before
// the queue never is, and milters never see content.
func TestRehearseAsk(t *testing.T) {
	m := miltertest.New(t, "rcpt:v@local.example reply 550 5.7.1 not her")
	policy := indifferentPolicy(t)
	for _, ask := range []bool{false, true} {
		b := newBench(t, fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nsmtpd_proxy_filter = 127.0.0.1:1\nsmtpd_recipient_restrictions = check_policy_service inet:%s\n", m.Port, policy))
		r := b.Rehearse(context.Background(), Rehearsal{Client: netip.MustParseAddr("198.51.100.7"), Helo: "h.example", Sender: "a@b.example",
			Recipients: []string{"u@local.example", "v@local.example"}, Ask: ask})
		want := []Milter{{Name: fmt.Sprintf("inet:127.0.0.1:%d", m.Port), DefaultAction: "shutdown", Asked: ask}}
		if !slices.Equal(r.Milters, want) || r.ProxyFilter != "127.0.0.1:1" {
			t.Errorf("ask %t: milters %v, filter %q", ask, r.Milters, r.ProxyFilter)
		}
		verdict := "not asked"
		if ask {
			verdict = "dunno"
		}
		n := len(r.Exchanges)
		if first := fmt.Sprint(r.Exchanges[n-3].Trail); !strings.Contains(first, "-> "+verdict+" smtpd_recipient_restrictions: smtpd_reject_unlisted_recipient") {
			t.Errorf("ask %t: %s", ask, first)
		}
		if refused := strings.HasPrefix(r.Exchanges[n-2].Reply, "550 5.7.1 not her"); refused != ask || !strings.Contains(r.Exchanges[n-1].Reply, "\n250 2.0.0 Ok: queued") {
			t.Errorf("ask %t: %q", ask, r.Exchanges)
		}
		if ask {
			m.Await(t, "abort") // it has no answer: nobody waits until the milter has read it
		}
		told := strings.Join(m.Got(), "\n")
		if (told != "") != ask || strings.Contains(told, "rehearsal") {
			t.Errorf("ask %t: the milter was told %q", ask, told)
		}
		if ask && (!strings.Contains(told, "data") || !strings.Contains(told, "abort")) {
			t.Errorf("the milter was told %q", told)
		}
	}
}
