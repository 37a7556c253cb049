package smtpclient

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"postern/internal/base/sys/systest"
	"postern/internal/ipc/delivery"
	"postern/internal/protocol/dns/dnstest"
)

const message1 = "From: a@a.example\nSubject: s\n\n.dot\nbody\n"

// sent begins the log lines of recipients that a server decided about.
const sent = "relay=127.0.0.1[127.0.0.1]:PORT1, delay=N, "

var dialogues = []struct {
	name   string
	config string
	script string
	to     string
	want   []string
	mail   string
	todo   string
}{
	{
		name: "pipelined", to: "b@b.example",
		script: hello + `
C: MAIL FROM:<a@a.example> SIZE=51 BODY=8BITMIME
C: RCPT TO:<b@b.example>
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 go ahead
D:
C: QUIT
S: 250 2.0.0 Ok: queued as X
S: 221 bye`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
	},
	{
		name: "HELO only", to: "b@b.example",
		script: `
S: 220 test.example
C: EHLO mx.example
S: 502 what
C: HELO mx.example
S: 250 test.example
C: MAIL FROM:<a@a.example>
S: 250 ok
C: RCPT TO:<b@b.example>
S: 250 ok
C: DATA
S: 354 go
D:
S: 250 taken
C: QUIT`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=2.0.0, status=sent (250 taken)"},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
	},
	{
		name: "one recipient refused, one put off", to: "b@b.example c@c.example d@d.example",
		script: hello + `
C: *
C: RCPT TO:<b@b.example>
C: RCPT TO:<c@c.example>
C: RCPT TO:<d@d.example>
C: DATA
S: 250 2.1.0 Ok
S: 550-5.1.1 no such
S: 550 5.1.1 user here
S: 250 2.1.5 Ok
S: 450 4.2.0 greylisted
S: 354 go ahead
D:
C: QUIT
S: 250 2.0.0 Ok`,
		want: []string{
			"ID: to=<b@b.example>, " + sent + "dsn=5.1.1, status=bounced (host 127.0.0.1[127.0.0.1] said: 550-5.1.1 no such 550 5.1.1 user here (in reply to RCPT TO command))",
			"ID: to=<d@d.example>, " + sent + "dsn=4.2.0, status=deferred (host 127.0.0.1[127.0.0.1] said: 450 4.2.0 greylisted (in reply to RCPT TO command))",
			"ID: to=<c@c.example>, " + sent + "dsn=2.0.0, status=sent (250 2.0.0 Ok)",
		},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
		todo: "d@d.example",
	},
	{
		name: "all recipients refused, but DATA accepted", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 550 5.1.1 no
S: 354 go ahead
D:
C: QUIT
S: 554 5.5.1 no valid recipients`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=5.1.1, status=bounced (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command))"},
	},
	{
		name: "all recipients refused", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 550 5.1.1 no
S: 503 5.5.1 no recipients
C: RSET
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=5.1.1, status=bounced (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command))"},
	},
	{
		name: "sender refused", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 554 5.7.1 go away
S: 503 5.5.1 need MAIL
S: 503 5.5.1 need RCPT
C: RSET
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=5.7.1, status=bounced (host 127.0.0.1[127.0.0.1] said: 554 5.7.1 go away (in reply to MAIL FROM command))"},
	},
	{
		name: "message refused", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 go ahead
D:
C: QUIT
S: 552 5.3.4 too big`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=5.3.4, status=bounced (host 127.0.0.1[127.0.0.1] said: 552 5.3.4 too big (in reply to end of DATA command))"},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
	},
	{
		name: "bad greeting", to: "b@b.example",
		script: "S: 554 5.7.1 no service\nC: QUIT",
		want:   []string{"ID: to=<b@b.example>, " + sent + "dsn=4.7.1, status=deferred (host 127.0.0.1[127.0.0.1] refused to talk to me: 554 5.7.1 no service)"},
		todo:   "b@b.example",
	},
	{
		name: "no greeting", to: "b@b.example",
		script: "X:",
		want:   []string{"ID: to=<b@b.example>, " + sent + "dsn=4.4.2, status=deferred (lost connection with 127.0.0.1[127.0.0.1] while receiving the initial server greeting)"},
		todo:   "b@b.example",
	},
	{
		name: "slow greeting", to: "b@b.example", config: "smtp_helo_timeout = 1s",
		script: "",
		want:   []string{"ID: to=<b@b.example>, " + sent + "dsn=4.4.2, status=deferred (conversation with 127.0.0.1[127.0.0.1] timed out while receiving the initial server greeting)"},
		todo:   "b@b.example",
	},
	{
		name: "lost at the end of data", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 go ahead
D:
X:`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=4.4.2, status=deferred (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)"},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
		todo: "b@b.example",
	},
	{
		name: "protocol error", to: "b@b.example",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.0.0 what
C: RSET
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=5.5.0, status=bounced (Protocol error: host 127.0.0.1[127.0.0.1] said: 250 2.0.0 what (in reply to DATA command))"},
	},
	{
		name: "too big", to: "b@b.example",
		script: strings.Replace(hello, "SIZE 1000000", "SIZE 10", 1) + "C: QUIT",
		want:   []string{"ID: to=<b@b.example>, " + sent + "dsn=5.3.4, status=bounced (message size 51 exceeds size limit 10 of server 127.0.0.1[127.0.0.1])"},
	},
	{
		name: "TLS required", to: "b@b.example", config: "smtp_tls_security_level = encrypt",
		script: hello + "C: QUIT",
		want:   []string{"ID: to=<b@b.example>, " + sent + "tls=!encrypt:none, dsn=4.7.4, status=deferred (TLS is required, but was not offered by host 127.0.0.1[127.0.0.1])"},
		todo:   "b@b.example",
	},
	{
		name: "soft bounce", to: "b@b.example", config: "soft_bounce = yes",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 550 5.1.1 no
S: 503 5.5.1 no recipients
C: RSET
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{"ID: to=<b@b.example>, " + sent + "dsn=4.1.1, status=SOFTBOUNCE (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command))"},
		todo: "b@b.example",
	},
	{
		name: "keywords discarded", to: "b@b.example", config: "smtp_discard_ehlo_keywords = pipelining, size, 8bitmime",
		script: hello + `
C: MAIL FROM:<a@a.example>
S: 250 2.1.0 Ok
C: RCPT TO:<b@b.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 go ahead
D:
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{
			"discarding EHLO keywords: pipelining size 8bitmime",
			"ID: to=<b@b.example>, " + sent + "dsn=2.0.0, status=sent (250 2.0.0 Ok)",
		},
		mail: "From: a@a.example\nSubject: s\n\n..dot\nbody\n",
	},
	{
		name: "reply filter", to: "b@b.example",
		config: "smtp_reply_filter = regexp:{{/^550 5.1.1 no/ 450 4.1.1 maybe}}",
		script: hello + `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 550 5.1.1 no
S: 503 5.5.1 no recipients
C: RSET
S: 250 2.0.0 Ok
C: QUIT`,
		want: []string{
			`127.0.0.1[127.0.0.1]:PORT1: replacing server reply "550 5.1.1 no" with "450 4.1.1 maybe"`,
			"ID: to=<b@b.example>, " + sent + "dsn=4.1.1, status=deferred (host 127.0.0.1[127.0.0.1] said: 450 4.1.1 maybe (in reply to RCPT TO command))",
		},
		todo: "b@b.example",
	},
}

// TestDialogues compares what the client says and logs with Postfix's words.
func TestDialogues(t *testing.T) {
	for _, tt := range dialogues {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.script)
			c, in := start(t, SMTP, tt.config)
			req := in.Message(t, "a@a.example", message1, strings.Fields(tt.to)...)
			for _, r := range req.Recipients {
				r.OrigAddr = ""
			}
			req.Nexthop = "[127.0.0.1]:" + s.port
			req.Encoding = "8bit"
			req.Size = 51
			c.kit.Do(t.Context(), req, c.Deliver)
			wantLines(t, lines(in, req, s.port), tt.want...)
			if got := strings.Join(s.messages(), "---\n"); got != tt.mail {
				t.Errorf("message: got %q, want %q", got, tt.mail)
			}
			if got := strings.Join(in.Todo(t, req), " "); got != tt.todo {
				t.Errorf("still to do: got %q, want %q", got, tt.todo)
			}
		})
	}
}

// TestPlaces walks over exchangers that fail in different ways.
func TestPlaces(t *testing.T) {
	down := strconv.Itoa(systest.RefusedPort(t))
	busy := serve(t, "S: 421 4.3.2 busy\nC: QUIT")
	good := serve(t, hello+"C: *\nC: *\nC: DATA\nS: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\nS: 354 go\nD:\nC: QUIT\nS: 250 2.0.0 Ok")
	c, in := start(t, SMTP, "")
	req := in.Message(t, "a@a.example", message1, "b@b.example")
	req.Nexthop = fmt.Sprintf("[127.0.0.1]:%s, [127.0.0.1]:%s [127.0.0.1]:%s", down, busy.port, good.port)
	reply := c.kit.Do(t.Context(), req, c.Deliver)
	wantLines(t, lines(in, req, down, busy.port, good.port),
		"connect to 127.0.0.1[127.0.0.1]:PORT1: Connection refused",
		"ID: host 127.0.0.1[127.0.0.1] refused to talk to me: 421 4.3.2 busy",
		"ID: to=<b@b.example>, relay=127.0.0.1[127.0.0.1]:PORT3, delay=N, dsn=2.0.0, status=sent (250 2.0.0 Ok)")
	if reply.Status != delivery.Done || reply.Hop.Status != "" {
		t.Errorf("reply %+v", reply)
	}
}

// TestNoPlace has the texts of destinations that cannot be found or reached.
func TestNoPlace(t *testing.T) {
	down := strconv.Itoa(systest.RefusedPort(t))
	ns := dnstest.Start(t, `
null.example.   MX 0 .
self.example.   MX 10 self.example.
self.example.   A 127.0.0.1
backup.example. MX 5 better.example.
backup.example. MX 10 self.example.
better.example. MX 1 .
noaddr.example. MX 10 nothing.example.
host.example.   A 127.0.0.1
!servfail bad.example.
`)
	const nf = "Host or domain name not found. Name service error for name="
	tests := []struct {
		nexthop, config string
		want            []string
		hop             string
	}{
		{"[127.0.0.1]:" + down, "", []string{
			"connect to 127.0.0.1[127.0.0.1]:PORT1: Connection refused",
			"dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:PORT1: Connection refused)"}, "4.4.1"},
		{"host.example:" + down, "", []string{
			"connect to host.example[127.0.0.1]:PORT1: Connection refused",
			"dsn=4.4.1, status=deferred (connect to host.example[127.0.0.1]:PORT1: Connection refused)"}, "4.4.1"},
		{"nothing.example", "", []string{"dsn=5.4.4, status=bounced (" + nf + "nothing.example type=A: Host not found)"}, ""},
		{"null.example", "", []string{"dsn=5.1.0, status=bounced (Domain null.example does not accept mail (nullMX))"}, ""},
		{"bad.example", "", []string{"dsn=4.4.3, status=deferred (" + nf + "bad.example type=MX: Host not found, try again)"}, "4.4.3"},
		{"self.example", "", []string{"dsn=5.4.6, status=bounced (mail for self.example loops back to myself)"}, ""},
		{"[self.example]", "", []string{"dsn=5.4.6, status=bounced (mail for self.example loops back to myself)"}, ""},
		{"backup.example", "", []string{"dsn=4.4.4, status=deferred (unable to find primary relay for backup.example)"}, "4.4.4"},
		{"noaddr.example", "", []string{
			"warning: no MX host for noaddr.example has a valid address record",
			"dsn=5.4.4, status=bounced (" + nf + "nothing.example type=A: Host not found)"}, ""},
		{"noaddr.example", "smtp_defer_if_no_mx_address_found = yes", []string{
			"warning: no MX host for noaddr.example has a valid address record",
			"dsn=4.4.4, status=deferred (" + nf + "nothing.example type=A: Host not found)"}, "4.4.4"},
		{"nothing.example", "relayhost = nothing.example", []string{
			"warning: relayhost configuration problem",
			"dsn=4.3.5, status=deferred (" + nf + "nothing.example type=A: Host not found)"}, "4.3.5"},
		{"nothing.example", "smtp_fallback_relay = [none.example]", []string{
			"warning: smtp_fallback_relay configuration problem",
			"dsn=4.3.5, status=deferred (" + nf + "none.example type=A: Host not found)"}, "4.3.5"},
		{"[x", "", []string{
			`warning: missing "]" in server description: [x`,
			"dsn=4.3.5, status=deferred (Server configuration error)"}, "4.3.5"},
	}
	for _, tt := range tests {
		t.Run(tt.nexthop, func(t *testing.T) {
			c, in := start(t, SMTP, "inet_interfaces = 127.0.0.1\ndns_resolver_addresses = "+ns.Addr()+"\n"+tt.config)
			req := in.Message(t, "a@a.example", message1, "b@b.example")
			req.Nexthop = tt.nexthop
			reply := c.kit.Do(t.Context(), req, c.Deliver)
			last := len(tt.want) - 1
			tt.want[last] = "ID: to=<b@b.example>, relay=none, delay=N, " + tt.want[last]
			wantLines(t, lines(in, req, down), tt.want...)
			if string(reply.Hop.Status) != tt.hop {
				t.Errorf("next hop's status: got %q, want %q", reply.Hop.Status, tt.hop)
			}
		})
	}
}
