package smtpd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/protocol/milter/miltertest"
)

// The table of milters by client wins; a value that makes no sense, and a table
// that cannot be asked, make mail wait.
func TestMilterMaps(t *testing.T) {
	one := miltertest.New(t, "mail reply 550 5.7.1 one")
	two := miltertest.New(t, "mail reply 550 5.7.1 two")
	for _, tt := range []struct{ maps, want string }{
		{"", "550 5.7.1 one"},
		{"inline:{192.0.2.1=DISABLE}", "550 5.7.1 one"},
		{"inline:{127.0.0.1=disable}", "250 2.1.0 Ok"},
		{fmt.Sprintf("inline:{{127.0.0.1=inet:127.0.0.1:%d}}", two.Port), "550 5.7.1 two"},
		{"inline:{127.0.0.1=frob}", "451 4.3.5 Server configuration problem - try again later"},
		{"nosuchtype:x", "451 4.3.5 Server configuration problem - try again later"},
	} {
		maps := ""
		if tt.maps != "" {
			maps = "smtpd_milter_maps = " + tt.maps + "\n"
		}
		b := newBench(t, fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\n%s", one.Port, maps))
		b.play(t, hello+"C: MAIL FROM:<a@b.example>\nS: "+tt.want+"\nC: QUIT\nS: 221*")
	}
}

// What a client sends does not become strings of its own for a milter.
func TestMilterArguments(t *testing.T) {
	m := miltertest.New(t, "")
	b := newBench(t, fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\n", m.Port))
	b.play(t, hello+`C: raw FROB\0QUIT\r\n
S: 500*
C: MAIL FROM:<a@b.example> SIZE=1 BODY=8BITMIME
S: 250*
C: QUIT
S: 221*`)
	m.Await(t, "quit")
	got := m.Got()
	for _, want := range []string{`unknown "FROB"`, `mail "<a@b.example>" "SIZE=1" "BODY=8BITMIME"`} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
}

// A milter that dies between two commands costs its default action, and the
// session goes on.
func TestMilterDies(t *testing.T) {
	m := miltertest.New(t, "rcpt drop")
	for action, want := range map[string]string{"accept": "250 2.1.5 Ok", "tempfail": "451 4.7.1 Service unavailable - try again later",
		"reject": "550 5.5.0 Service unavailable", "quarantine": "250 2.1.5 Ok", "shutdown": "421 4.7.0 Server closing connection|EOF"} {
		b := newBench(t, fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nmilter_default_action = %s\n", m.Port, action))
		c := b.dial(t)
		c.reply()
		for _, line := range []string{"EHLO client.example", "MAIL FROM:<a@b.example>"} {
			fmt.Fprintf(c, "%s\r\n", line)
			c.reply()
		}
		fmt.Fprint(c, "RCPT TO:<u@local.example>\r\n")
		got := c.reply()
		if action == "shutdown" {
			got += "|" + c.reply()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", action, got, want)
		}
		c.Close()
		<-c.done
		b.logged(t, "can't read SMFIC_RCPT reply packet header: the milter closed the connection")
	}
}
