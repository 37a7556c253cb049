package crash

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/protocol/milter/miltertest"
	"postern/test/harness"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// An injection is one field that somebody else fills and that reaches a log
// line or a header field.
type injection struct {
	field string
	port  string   // which service is asked
	say   []string // commands; each is sent as it is, with CRLF behind it
}

// evil has what could break a line, a terminal or a header field.
const evil = "\x1b[31m\x7f\x01\rX-Forged: yes\x0b\x85\xc2\x85\xff"

// injections are the fields of clients.
func injections() []injection {
	user := base64.StdEncoding.EncodeToString([]byte("\x00a\r\nNov 24 00:00:00 mail postfix/smtpd[1]: forged\x1b[31m\x00x"))
	xtext := strings.NewReplacer("\r", "+0D", "\n", "+0A", "\x1b", "+1B", " ", "+20").Replace("h\r\nX-Forged: yes\x1b[31m")
	mail := []string{"MAIL FROM:<a@client.example>", "RCPT TO:<alice@example.com>", "RCPT TO:<u@refused.example>", "DATA", "Subject: x\r\n\r\nx\r\n."}
	with := func(before ...string) []string { return append(before, mail...) }
	return []injection{
		{"HELO", "", with("EHLO x" + evil)},
		{"HELO, SMTP", "", with("HELO x" + evil)},
		{"MAIL", "", []string{"EHLO x", "MAIL FROM:<a" + evil + "@client.example>", `MAIL FROM:<"a` + evil + `"@client.example>`, "RCPT TO:<u@refused.example>", "RCPT TO:<alice@example.com>", "DATA", "Subject: x\r\n\r\nx\r\n."}},
		{"RCPT", "", []string{"EHLO x", "MAIL FROM:<a@client.example>", "RCPT TO:<a" + evil + "@example.com>", `RCPT TO:<"a` + evil + `"@example.com>`, `RCPT TO:<"a` + evil + `"@refused.example>`}},
		{"MAIL parameters", "", []string{"EHLO x", "MAIL FROM:<a@client.example> ENVID=" + evil, "MAIL FROM:<a@client.example> " + evil + "=1", "MAIL FROM:<a@client.example> ENVID=" + xtext, "RCPT TO:<alice@example.com> ORCPT=rfc822;" + xtext, "DATA", "Subject: x\r\n\r\nx\r\n."}},
		{"unknown verb", "", []string{evil, "FOO " + evil, "VRFY " + evil, "ETRN " + evil}},
		{"AUTH user", "", with("EHLO x", "AUTH PLAIN "+user, "AUTH "+evil)},
		{"XCLIENT", "xclient", with("XCLIENT NAME="+xtext+" HELO="+xtext+" LOGIN="+xtext, "XCLIENT HELO="+xtext, "XCLIENT LOGIN="+xtext, "XCLIENT "+evil+"="+evil, "EHLO x")},
		{"XFORWARD", "xclient", with("EHLO x", "XFORWARD NAME="+xtext, "XFORWARD HELO="+xtext, "XFORWARD IDENT="+xtext, "XFORWARD PROTO="+xtext, "XFORWARD "+evil+"="+evil)},
		{"HAProxy, version 1", "haproxy", []string{"PROXY TCP4 " + evil + " 127.0.0.1 1 2"}},
		{"HAProxy, version 2", "haproxy", []string{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x10" + evil}},
		{"policy reply", "policy", with("EHLO x")},
		{"milter reply", "milter", with("EHLO x")},
		{"header fields", "", []string{"EHLO x", "MAIL FROM:<a@client.example>", "RCPT TO:<alice@example.com>", "DATA", "Message-Id: <" + evil + ">\r\nX-Info: " + evil + "\r\n\r\nx\r\n."}},
	}
}

// TestInjection fills every field that reaches a log line or a header field
// with what would forge another. No line of the log and no field of a message is
// forged, and the log is printable, whether it is text or JSON.
func TestInjection(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) { injectAll(t, format) })
	}
}

// checkLine looks whether a line of the log is one line, and printable, and
// whether it is an object.
func checkLine(t *testing.T, line string) (object bool) {
	t.Helper()
	var fields struct {
		Time, Process, Text string
	}
	object = json.Unmarshal([]byte(line), &fields) == nil
	switch {
	case object && fields.Time != "" && !unprintable.MatchString(fields.Text) && !unprintable.MatchString(line):
	case !object && utf8.ValidString(line) && logLine.MatchString(line):
	default:
		t.Errorf("log line %q", line)
	}
	return object
}

func injectAll(t *testing.T, format string) {
	policy := harness.NewPolicy(t, "protocol_state=RCPT PREPEND X-Policy: a"+evil+"\n")
	refuse := harness.NewPolicy(t, "recipient=u@refused.example 550 5.7.1 no"+evil+"\n")
	milter := miltertest.New(t, `rcpt:refused reply 550 5.7.1 no\r\nX-Forged: yes`+"\x1b[31m")
	ports := map[string]int{"xclient": harness.FreePort(t), "haproxy": harness.FreePort(t), "policy": harness.FreePort(t), "milter": harness.FreePort(t)}
	sink := harness.NewSink(t, "RCPT 550-5.1.1 no"+evil+" | 550 5.1.1 X-Forged: yes"+evil+"\n")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = check_recipient_access inline:{refused.example=REJECT}\nsmtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 100\n"+
			"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_forbid_unauth_pipelining = no\nheader_checks = regexp:@DIR@/etc/checks\ntransport_maps = inline:{bounced.example=smtp:[127.0.0.1]:%d}\nsmtpd_forbidden_commands =\n", sink.Port),
		Master: "127.0.0.1:@PORT@ inet n - n - - smtpd -o maillog_format=" + format + "\n" + fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_authorized_xclient_hosts=127.0.0.1 -o smtpd_authorized_xforward_hosts=127.0.0.1 -o maillog_format=%s\n"+
			"127.0.0.1:%d inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy -o maillog_format=%s\n"+
			"127.0.0.1:%d inet n - n - - smtpd -o {smtpd_recipient_restrictions=check_policy_service inet:127.0.0.1:%d, check_policy_service inet:127.0.0.1:%d} -o maillog_format=%s\n"+
			"127.0.0.1:%d inet n - n - - smtpd -o smtpd_milters=inet:127.0.0.1:%d -o smtpd_recipient_restrictions= -o maillog_format=%s\n",
			ports["xclient"], format, ports["haproxy"], format, ports["policy"], policy.Port, refuse.Port, format, ports["milter"], milter.Port, format),
		Files: map[string]string{"checks": "/^X-Info:/ INFO seen\n/^Message-Id:/ WARN seen\n"}})
	harness.NewAuth(t, i, "alice secret\n")
	i.Start()
	fields := 0
	for _, in := range injections() {
		addr := i.Addr()
		if in.port != "" {
			addr = fmt.Sprintf("127.0.0.1:%d", ports[in.port])
		}
		fill(t, addr, in)
		fields++
	}
	// What the next hop says comes back in a notice.
	c, _ := connect(t, i, "127.0.0.1")
	for _, command := range []string{"EHLO x", "MAIL FROM:<alice@example.com>", "RCPT TO:<u@bounced.example>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT"} {
		c.Say(command)
	}
	fields++
	i.WaitLog(`status=bounced \(host `)
	i.WaitSettled()
	lines := strings.Split(strings.TrimRight(i.Log(), "\n"), "\n")
	objects := 0
	for _, line := range lines {
		if checkLine(t, line) {
			objects++
		}
	}
	if (objects > 0) != (format == "json") {
		t.Errorf("%d of %d log lines are objects", objects, len(lines))
	}
	files, _ := filepath.Glob(i.Host("mail/*/new/*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		checkMessage(t, string(b))
	}
	t.Logf("%s: %d fields, %d log lines, %d messages: none forged", format, fields, len(lines), len(files))
	if len(files) < 6 {
		t.Errorf("only %d messages came through: too little was tried", len(files))
	}
}

// fill plays an injection; what the server answers does not matter, except
// that it stays a reply.
func fill(t *testing.T, addr string, in injection) {
	t.Helper()
	c, err := harness.Dial(addr, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if in.port != "haproxy" {
		c.Reply()
	}
	for _, command := range append(in.say, "QUIT") {
		if _, err := io.WriteString(c, command+"\r\n"); err != nil {
			return
		}
		reply, err := c.Reply()
		if err != nil {
			return
		}
		if strings.ContainsAny(reply, "\x1b\x01\r\x0b") || len(reply) < 3 || reply[0] < '2' || reply[0] > '5' {
			t.Errorf("%s: %.100q is answered by %q", in.field, command, reply)
		}
	}
}

// checkMessage looks for header fields that nobody has the right to write, in
// the message and in the parts of a notice.
func checkMessage(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "X-Forged") {
			t.Errorf("a forged field in\n%q", text)
			return
		}
	}
	head, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(head, "\n") {
		if strings.HasPrefix(line, "Message-Id:") || strings.HasPrefix(line, "X-Info:") || strings.HasPrefix(line, "X-Policy:") {
			continue // content, which is the sender's, or the policy server's
		}
		if strings.ContainsAny(line, "\x1b\x01\x0b\x7f") {
			t.Errorf("control characters in %q", line)
		}
	}
}
