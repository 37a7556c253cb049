package smtpclient

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/dsn"
)

// one runs one delivery over one scripted session, without times and ports in
// the log.
func one(t *testing.T, config, script, content string, change func(*delivery.Request)) (*server, []string) {
	t.Helper()
	s := serve(t, script)
	c, in := start(t, SMTP, config)
	req := in.Message(t, "a@a.example", content, "b@b.example")
	req.Nexthop = "[127.0.0.1]:" + s.port
	req.Recipients[0].OrigAddr = ""
	if change != nil {
		change(req)
	}
	c.kit.Do(t.Context(), req, c.Deliver)
	return s, lines(in, req, s.port)
}

const take = `
C: *
C: *
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 go ahead
D:
C: QUIT
S: 250 2.0.0 Ok`

// offers is a greeting with the keywords given.
func offers(keywords ...string) string {
	text := "S: 220 test.example ESMTP\nC: EHLO mx.example\nS: 250-test.example\n"
	for _, k := range keywords {
		text += "S: 250-" + k + "\n"
	}
	return text + "S: 250 PIPELINING\n"
}

func TestCommands(t *testing.T) {
	tests := []struct {
		name     string
		config   string
		keywords string
		change   func(*delivery.Request)
		want     string
	}{
		{"DSN", "", "DSN", func(r *delivery.Request) {
			r.EnvelopeID, r.RetFlags = "id+1 x", delivery.RetHeaders
			r.Recipients[0].DSNOrigRcpt = "rfc822;o@o.example"
			r.Recipients[0].Notify = dsn.NotifySuccess | dsn.NotifyDelay
		}, "C: MAIL FROM:<a@a.example> ENVID=id+2B1+20x RET=HDRS\nC: RCPT TO:<b@b.example> ORCPT=rfc822;o@o.example NOTIFY=SUCCESS,DELAY\n"},
		{"original recipient", "", "DSN", func(r *delivery.Request) { r.Recipients[0].OrigAddr = "o+x@o.example" },
			"C: MAIL FROM:<a@a.example>\nC: RCPT TO:<b@b.example> ORCPT=rfc822;o+2Bx@o.example\n"},
		{"quoted", "", "DSN", func(r *delivery.Request) { r.Sender = ""; r.Recipients[0].Address = "x y@b.example" },
			"C: MAIL FROM:<>\nC: RCPT TO:<\"x y\"@b.example>\n"},
		{"UTF-8", "", "SMTPUTF8 8BITMIME", func(r *delivery.Request) {
			r.SendOpts = delivery.SendUTF8Requested | delivery.SendUTF8Recipient
			r.Encoding = "8bit"
			r.Recipients[0].Address = "ü@b.example"
		}, "C: MAIL FROM:<a@a.example> BODY=8BITMIME SMTPUTF8\nC: RCPT TO:<ü@b.example>\n"},
		{"XFORWARD", "smtp_send_xforward_command = yes", "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT", func(r *delivery.Request) {
			r.ClientName, r.ClientAddr, r.ClientHelo, r.LogIdent = "c.example", "192.0.2.1", "h=1", "Q1"
		}, "C: XFORWARD NAME=c.example ADDR=192.0.2.1\nC: XFORWARD HELO=h+3D1 IDENT=Q1 SOURCE=LOCAL\n" +
			"C: MAIL FROM:<a@a.example>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\nS: 354 go ahead\nD:\nC: QUIT\nS: 250 2.0.0 Ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			script := offers(strings.Split(tt.keywords, " ")...)
			if strings.HasPrefix(tt.keywords, "XFORWARD") {
				script = offers(tt.keywords) + tt.want
			} else {
				script += strings.Replace(take, "C: *\nC: *\n", tt.want, 1)
			}
			_, log := one(t, tt.config, script, message1, tt.change)
			if len(log) != 1 || !strings.Contains(log[0], "status=sent (250 2.0.0 Ok)") {
				t.Errorf("log: %q", log)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	tests := []struct {
		name, config, script, want string
	}{
		{"rcpt", "", `
C: *
C: *
S: 250 2.1.0 Ok
S: 250 2.1.5 fine
C: RSET
S: 250 ok
C: QUIT`, "dsn=2.1.5, status=deliverable (250 2.1.5 fine)"},
		{"refused", "", `
C: *
C: *
S: 250 2.1.0 Ok
S: 550 5.1.1 no
C: RSET
S: 250 ok
C: QUIT`, "dsn=5.1.1, status=undeliverable (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 no (in reply to RCPT TO command))"},
		{"data", "smtp_address_verify_target = data", `
C: *
C: *
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
C: DATA
S: 354 2.0.0 go`, "status=deliverable (354 2.0.0 go)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, log := one(t, tt.config, offers()+tt.script, message1, func(r *delivery.Request) { r.Flags = delivery.FlagUserVerify })
			if len(log) == 0 || !strings.Contains(log[len(log)-1], tt.want) {
				t.Errorf("got %q, want %q", log, tt.want)
			}
		})
	}
}

func TestContent(t *testing.T) {
	long := strings.Repeat("x", 25)
	const multipart = `Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 8bit

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

--grüße=
trailing 
--b

plain
--b--
end
`
	tests := []struct {
		name, config, content, want string
		log                         []string
		change                      func(*delivery.Request)
	}{
		{"long lines", "smtp_line_length_limit = 10", "A: b\n\n" + long + "\n0123456789\n.\n", "A: b\n\nxxxxxxxxxx\n xxxxxxxxx\n xxxxxx\n0123456789\n..\n",
			[]string{"ID: breaking line > 10 bytes with <CR><LF>SPACE"}, nil},
		{"no limit", "smtp_line_length_limit = 0", "A: b\n\n" + long + "\n", "A: b\n\n" + long + "\n", nil, nil},
		{"to 7 bit", "", multipart, `Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 7bit

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

--gr=C3=BC=C3=9Fe=3D
trailing=20
--b

plain
--b--
end
`, nil, func(r *delivery.Request) { r.Encoding = "8bit" }},
		{"not to 7 bit", "disable_mime_output_conversion = yes", multipart, multipart, nil, func(r *delivery.Request) { r.Encoding = "8bit" }},
		{"soft line breaks", "", "Content-Transfer-Encoding: 8bit\n\n" + strings.Repeat("ä", 30) + "\n",
			"Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=C3=A4", 12) + "=C3=\n" + strings.Repeat("=A4=C3", 12) + "=A4=\n" +
				strings.Repeat("=C3=A4", 5) + "\n", nil, func(r *delivery.Request) { r.Encoding = "8bit" }},
		{"checks", "smtp_header_checks = regexp:{{/^Subject: x/ REPLACE Subject: y}, {/^A: b/ IGNORE}, {/^C: d/ PREPEND P: q}}\nsmtp_body_checks = inline:{{secret = STRIP why}}",
			"Subject: x\nA: b\nC: d\n\nsecret\nopen\n", "Subject: y\nP: q\nC: d\n\nopen\n",
			[]string{"ID: replace: header Subject: x: Subject: y", "ID: prepend: header C: d: P: q", "ID: strip: body secret: why"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, log := one(t, tt.config, offers()+take, tt.content, tt.change)
			wantLines(t, log[:max(0, len(log)-1)], tt.log...)
			if got := strings.Join(s.messages(), ""); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestGenericMaps(t *testing.T) {
	s := serve(t, strings.Replace(offers()+take, "C: *\nC: *\n", "C: MAIL FROM:<me@isp.example>\nC: RCPT TO:<b@b.example>\n", 1))
	c, in := start(t, SMTP, "smtp_generic_maps = inline:{a@a.example=me@isp.example}")
	in.Serve(t, "private/rewrite", func(c *attr.Conn) error {
		protocol := attr.Protocol(rewrite.Protocol)
		if err := c.Send(&protocol); err != nil {
			return err
		}
		for {
			var r rewrite.Request
			if err := c.Recv(&r); err != nil {
				return err
			}
			if err := c.Send(&rewrite.Rewritten{Address: r.Address}); err != nil {
				return err
			}
		}
	})
	req := in.Message(t, "a@a.example", "From: A <a@a.example>\nTo: c@c.example, a@a.example (A)\nX: a@a.example\n\nbody\n", "b@b.example")
	req.Nexthop = "[127.0.0.1]:" + s.port
	c.kit.Do(t.Context(), req, c.Deliver)
	want := "From: A <me@isp.example>\nTo: c@c.example, me@isp.example (A)\nX: a@a.example\n\nbody\n"
	if got := strings.Join(s.messages(), ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := in.Todo(t, req); len(got) != 0 {
		t.Errorf("to do: %v; log %v", got, in.Log())
	}
}

func TestLMTP(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "lmtp"))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, l: l, scripts: []string{`
S: 220 test LMTP
C: LHLO mx.example
S: 250-test
S: 250 PIPELINING
C: MAIL FROM:<a@a.example>
C: RCPT TO:<b@b.example>
C: RCPT TO:<c@c.example>
C: RCPT TO:<d@d.example>
C: DATA
S: 250 ok
S: 250 ok
S: 550 5.1.1 no
S: 250 ok
S: 354 go
D:
C: QUIT
S: 250 2.1.5 saved
S: 452 4.2.2 full
S: 221 bye`}}
	s.start()
	c, in := start(t, LMTP, "")
	req := in.Message(t, "a@a.example", message1, "b@b.example", "c@c.example", "d@d.example")
	req.Nexthop = "unix:" + filepath.Join(dir, "lmtp")
	c.kit.Do(t.Context(), req, c.Deliver)
	name := "mx.example[" + filepath.Join(dir, "lmtp") + "]"
	wantLines(t, lines(in, req),
		"ID: to=<c@c.example>, relay="+name+", delay=N, dsn=5.1.1, status=bounced (host "+name+" said: 550 5.1.1 no (in reply to RCPT TO command))",
		"ID: to=<b@b.example>, relay="+name+", delay=N, dsn=2.1.5, status=sent (250 2.1.5 saved)",
		"ID: to=<d@d.example>, relay="+name+", delay=N, dsn=4.2.2, status=deferred (host "+name+" said: 452 4.2.2 full (in reply to end of DATA command))")
}

func TestLMTPNoSocket(t *testing.T) {
	c, in := start(t, LMTP, "")
	req := in.Message(t, "a@a.example", message1, "b@b.example")
	req.Nexthop = "unix:private/nothing"
	c.kit.Do(t.Context(), req, c.Deliver)
	const why = "connect to mx.example[private/nothing]: No such file or directory"
	wantLines(t, lines(in, req), why, "ID: to=<b@b.example>, relay=none, delay=N, dsn=4.4.1, status=deferred ("+why+")")
}

// TestPool uses one connection several times, and survives one that dies.
func TestPool(t *testing.T) {
	mail := strings.Replace(take, "C: QUIT\n", "", 1)
	s := serve(t, offers()+mail+mail+"\nX:", offers()+mail)
	c, in := start(t, SMTP, "smtp_connection_cache_time_limit = 60s")
	var last *delivery.Request
	for i := range 3 {
		req := in.Message(t, "a@a.example", fmt.Sprintf("N: %d\n", i), "b@b.example")
		req.Nexthop = "[127.0.0.1]:" + s.port
		req.Flags |= delivery.FlagConnLoad | delivery.FlagConnStore
		c.kit.Do(t.Context(), req, c.Deliver)
		last = req
	}
	var got []string
	for _, l := range lines(in, last, s.port) {
		got = append(got, l[strings.Index(l, "relay="):])
	}
	wantLines(t, got,
		"relay=127.0.0.1[127.0.0.1]:PORT1, delay=N, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
		"relay=127.0.0.1[127.0.0.1]:PORT1, conn_use=2, delay=N, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
		"relay=127.0.0.1[127.0.0.1]:PORT1, delay=N, dsn=2.0.0, status=sent (250 2.0.0 Ok)")
	if got := len(s.messages()); got != 3 {
		t.Errorf("%d messages", got)
	}
}

// TestManyRecipients sends more commands than a window holds to a server that
// replies to each line before it reads the next.
func TestManyRecipients(t *testing.T) {
	const n = 3000
	script := offers() + "C: *\nS: 250 2.1.0 Ok\n"
	var to []string
	for i := range n {
		to = append(to, fmt.Sprintf("recipient%d@a-long-domain-name.example", i))
		script += "C: RCPT TO:<" + to[i] + ">\nS: 250 2.1.5 " + strings.Repeat("Ok ", 50) + "\n"
	}
	script += "C: DATA\nS: 354 go\nD:\nC: QUIT\nS: 250 2.0.0 Ok"
	s := serve(t, script)
	c, in := start(t, SMTP, "")
	req := in.Message(t, "a@a.example", message1, to...)
	req.Nexthop = "[127.0.0.1]:" + s.port
	c.kit.Do(t.Context(), req, c.Deliver)
	if got := in.Todo(t, req); len(got) != 0 {
		t.Errorf("%d recipients are left", len(got))
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, config := range []string{
		"smtp_tls_security_level = dane",
		"smtp_tls_security_level = nonsense",
		"smtp_tls_wrappermode = yes",
		"smtp_sasl_auth_enable = yes",
		"smtp_dns_reply_filter = inline:{a=b}",
		"smtp_address_preference = ipv9",
		"smtp_address_verify_target = dot",
		"smtp_host_lookup = nis",
		"smtp_tcp_port = nosuchport",
		"best_mx_transport = local",
	} {
		t.Run(config, func(t *testing.T) {
			if err := open(t, config); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestFlags(t *testing.T) {
	s := serve(t, offers()+take)
	c, in := start(t, SMTP, "")
	for _, w := range []string{"flags=DOR", "flags=X"} {
		if err := c.argument(w); err != nil {
			t.Fatal(err)
		}
	}
	if c.argument("flags=Z") == nil || c.argument("user=x") == nil {
		t.Error("a bad argument is accepted")
	}
	req := in.Message(t, "a@a.example", "A: b\n\n", "b@b.example")
	req.Nexthop = "[127.0.0.1]:" + s.port
	c.kit.Do(t.Context(), req, c.Deliver)
	want := "Return-Path: <a@a.example>\nX-Original-To: b@b.example\nDelivered-To: b@b.example\nA: b\n\n"
	if got := strings.Join(s.messages(), ""); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	req = in.Message(t, "a@a.example", "Delivered-To: B@b.example\n\n", "b@b.example")
	req.Nexthop = "[127.0.0.1]:" + s.port
	c.kit.Do(t.Context(), req, c.Deliver)
	log := lines(in, req)
	if got := log[len(log)-1]; !strings.Contains(got, "dsn=5.4.6, status=bounced (mail forwarding loop for b@b.example)") {
		t.Errorf("got %s", got)
	}
}
