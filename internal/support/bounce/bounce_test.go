package bounce

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	ipc "postern/internal/ipc/bounce"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
	"postern/internal/table"
)

// A notice is a message that reached the cleanup service.
type notice struct {
	flags        cleanup.Flags
	sender, rcpt string
	text         string
}

// A bench is the service with a queue and a cleanup service that keeps what it
// gets.
type bench struct {
	t      *testing.T
	s      *Server
	lines  func() []string
	status cleanup.Status

	mu      sync.Mutex
	notices []notice
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newBench(t *testing.T, name, mainCF string) *bench {
	t.Helper()
	b := &bench{t: t}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"incoming", "active", "bounce", "defer", "trace", "public", "etc"} {
		must(t, os.Mkdir(d, 0o700))
	}
	must(t, os.WriteFile("etc/main.cf", []byte("queue_directory = "+dir+"\nmyhostname = mail.example.com\ncompatibility_level = 3.6\n"+mainCF), 0o600))
	config, err := maincf.Load(filepath.Join(dir, "etc"))
	must(t, err)
	b.s = New().(*Server)
	b.s.now = func() time.Time { return time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC) }
	set, common := param.NewSet(), &param.Common{}
	common.Params(set)
	b.s.Params(set)
	must(t, set.Load(config))
	log, lines := maillog.Record()
	b.lines = lines
	must(t, b.s.Open(&service.Env{Program: "bounce", Name: name, Config: config, Common: common, Log: log,
		Tables: table.NewOpener(nil), Draining: make(chan struct{})}))
	l, err := net.Listen("unix", "public/cleanup")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.cleanup(c)
		}
	}()
	return b
}

func (b *bench) cleanup(c net.Conn) {
	defer c.Close()
	a := attr.NewConn(c, time.Minute)
	p := attr.Protocol(cleanup.Protocol)
	a.Send(&p)
	for n := 1; ; n++ {
		var start cleanup.Start
		if a.Recv(&start) != nil {
			return
		}
		a.Send(&cleanup.Created{QueueID: fmt.Sprint("NEW", n)})
		a.Flush()
		note := notice{flags: start.Flags}
		r := record.NewReader(a.R)
		for t := record.Type(0); t != record.End; {
			var data []byte
			var err error
			if t, data, err = r.Next(); err != nil {
				return
			}
			switch t {
			case record.Sender:
				note.sender = string(data)
			case record.Rcpt:
				note.rcpt = string(data)
			case record.Norm:
				note.text += string(data) + "\n"
			case record.Cont:
				note.text += string(data)
			}
		}
		b.mu.Lock()
		status := b.status
		if status == 0 {
			b.notices = append(b.notices, note)
		}
		b.mu.Unlock()
		a.Send(&cleanup.Result{Status: status})
		a.Flush()
	}
}

// message writes a queue file to report on.
func (b *bench) message(sender string, lines ...string) queue.ID {
	b.t.Helper()
	d, err := b.s.store.Create(queue.Active)
	must(b.t, err)
	w := record.NewWriter(d)
	sizes := record.Sizes{Recipients: 1}
	w.Put(record.Size, sizes.Append(nil))
	w.Printf(record.Time, "%d 0", b.s.now().Add(-time.Minute).Unix())
	w.PutString(record.Sender, sender)
	w.PutString(record.Rcpt, "a@x.example")
	w.PutString(record.Mesg, "")
	sizes.ContentOffset = w.Offset()
	for _, line := range lines {
		w.PutString(record.Norm, line)
	}
	sizes.Content = w.Offset() - sizes.ContentOffset
	w.PutString(record.Xtra, "")
	w.PutString(record.End, "")
	must(b.t, w.Flush())
	_, err = d.WriteAt(record.Append(nil, record.Size, string(sizes.Append(nil))), 0)
	must(b.t, err)
	must(b.t, d.Commit())
	return d.ID()
}

func (b *bench) append(id queue.ID, rcpt ipc.Recipient, res dsn.Result) {
	b.t.Helper()
	must(b.t, b.s.handle(context.Background(), &ipc.Request{Op: ipc.OpAppend, Message: ipc.Message{QueueID: id}, Recipient: rcpt, Result: res}))
}

func (b *bench) ask(op, flags int, m ipc.Message) error {
	m.QueueName = queue.Active
	return b.s.handle(context.Background(), &ipc.Request{Op: op, Flags: flags, Message: m})
}

func (b *bench) logged(text string) bool {
	return strings.Contains(strings.Join(b.lines(), "\n"), text)
}

var unknown = dsn.Result{Status: "5.1.1", Action: "failed", Reason: "host mx.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
	DiagType: "smtp", DiagText: "550 5.1.1 no such user", MTAType: "dns", MTAName: "mx.example"}

func TestNonDelivery(t *testing.T) {
	b := newBench(t, "bounce", "smtputf8_enable = no\n")
	id := b.message("s@example.com", "Subject: hello", "", "body")
	b.append(id, ipc.Recipient{Address: "a@x.example", OrigAddr: "o@x.example", Offset: 100, DSNOrigRcpt: "rfc822;o@x.example"}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "s@example.com", EnvelopeID: "env1"}))
	if len(b.notices) != 1 {
		t.Fatalf("%d notices", len(b.notices))
	}
	got := b.notices[0]
	boundary := string(id) + ".1793606400/mail.example.com"
	var text []string
	for _, line := range builtin[failure].Text {
		text = append(text, strings.ReplaceAll(line, "$myhostname", "mail.example.com"))
	}
	want := `Received: by mail.example.com (Postern)
	id NEW1; Mon,  2 Nov 2026 08:00:00 +0000 (UTC)
Date: Mon,  2 Nov 2026 08:00:00 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON>
Subject: Undelivered Mail Returned to Sender
To: s@example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="` + boundary + `"

This is a MIME-encapsulated message.

--` + boundary + `
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

` + strings.Join(text, "\n") + `

<a@x.example> (expanded from <o@x.example>): host mx.example[192.0.2.1] said:
    550 5.1.1 no such user (in reply to RCPT TO command)

--` + boundary + `
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com
Original-Envelope-Id: env1
X-Postern-Queue-ID: ` + string(id) + `
X-Postern-Sender: rfc822; s@example.com
Arrival-Date: Mon,  2 Nov 2026 07:59:00 +0000 (UTC)

Final-Recipient: rfc822; a@x.example
Original-Recipient: rfc822;o@x.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example
Diagnostic-Code: smtp; 550 5.1.1 no such user

--` + boundary + `
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <s@example.com>
Subject: hello

body

--` + boundary + `--
`
	if got.text != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.text, want)
	}
	if got.sender != "" || got.rcpt != "s@example.com" {
		t.Errorf("from <%s> to <%s>", got.sender, got.rcpt)
	}
	if _, err := b.s.store.Stat(queue.Bounce, id); err == nil {
		t.Error("the log is left")
	}
	if !b.logged(string(id) + ": sender non-delivery notification: NEW1") {
		t.Error(b.lines())
	}
}

// A notice about a message with REQUIRETLS (RFC 8689 5) has its header only and
// travels without, unless requiretls_redact_dsn = no; "TLS-Required: no" is
// handed on.
func TestTLSWishes(t *testing.T) {
	const require, notRequired = delivery.SendRequireTLS, delivery.SendTLSNotReq
	for _, tt := range []struct {
		config             string
		opts               int
		body, field, asked bool
	}{
		{"", 0, true, false, false},
		{"", require, false, false, false},
		{"", notRequired, true, true, false},
		{"", require | notRequired, false, false, false},
		{"requiretls_redact_dsn = no\n", require, true, false, true},
		{"requiretls_redact_dsn = no\n", notRequired, true, true, false},
	} {
		b := newBench(t, "bounce", tt.config)
		id := b.message("s@example.com", "Subject: hello", "", "secret")
		b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
		must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "s@example.com", SendOpts: tt.opts}))
		got := b.notices[0]
		header, _, _ := strings.Cut(got.text, "\n\n")
		if body, field, asked := strings.Contains(got.text, "\nsecret\n"), strings.Contains(header, "\nTLS-Required: no"),
			got.flags&cleanup.FlagRequireTLS != 0; body != tt.body || field != tt.field || asked != tt.asked {
			t.Errorf("%q, options %d: body %v, field %v, REQUIRETLS %v", tt.config, tt.opts, body, field, asked)
		}
		if tt.opts&require != 0 && !strings.Contains(got.text, "Subject: hello") {
			t.Errorf("options %d: no header of the message in\n%s", tt.opts, got.text)
		}
	}
}

func TestLogStaysUntilTheReportIsQueued(t *testing.T) {
	b := newBench(t, "bounce", "")
	id := b.message("s@example.com", "Subject: hello", "")
	b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
	b.status = cleanup.StatusWrite
	m := ipc.Message{QueueID: id, Sender: "s@example.com"}
	if err := b.ask(ipc.OpFlush, 0, m); err == nil {
		t.Error("no error")
	}
	if _, err := b.s.store.Stat(queue.Bounce, id); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	b.status = 0
	b.mu.Unlock()
	must(t, b.ask(ipc.OpFlush, 0, m))
	if len(b.notices) != 1 {
		t.Errorf("%d notices", len(b.notices))
	}
}

func TestNotify(t *testing.T) {
	b := newBench(t, "bounce", "")
	id := b.message("s@example.com", "Subject: hello", "")
	b.append(id, ipc.Recipient{Address: "never@x.example", Notify: dsn.NotifyNever}, unknown)
	b.append(id, ipc.Recipient{Address: "success@x.example", Notify: dsn.NotifySuccess}, unknown)
	m := ipc.Message{QueueID: id, Sender: "s@example.com", RetFlags: delivery.RetHeaders}
	must(t, b.ask(ipc.OpFlush, 0, m))
	if len(b.notices) != 0 {
		t.Fatal("a notice that nobody wants")
	}
	b.append(id, ipc.Recipient{Address: "never@x.example", Notify: dsn.NotifyNever}, unknown)
	b.append(id, ipc.Recipient{Address: "failure@x.example", Notify: dsn.NotifyFailure | dsn.NotifyDelay}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, m))
	if len(b.notices) != 1 {
		t.Fatalf("%d notices", len(b.notices))
	}
	text := b.notices[0].text
	if strings.Contains(text, "never@x") || !strings.Contains(text, "Final-Recipient: rfc822; failure@x.example") ||
		!strings.Contains(text, "Content-Type: text/rfc822-headers\n") {
		t.Error(text)
	}
}

func TestWhoIsTold(t *testing.T) {
	for _, c := range []struct {
		classes, sender string
		want            string // sender>recipient of each notice
	}{
		{"", "s@example.com", "<>s@example.com"},
		{"bounce", "s@example.com", "<>s@example.com double-bounce@mail.example.com>postmaster"},
		{"bounce", "", ""},
		{"2bounce", "", "double-bounce@mail.example.com>postmaster"},
		{"2bounce", "double-bounce@mail.example.com", ""},
	} {
		b := newBench(t, "bounce", "notify_classes = "+c.classes+"\n")
		id := b.message(c.sender, "Subject: hello", "")
		b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
		must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: c.sender}))
		var got []string
		for _, n := range b.notices {
			if n.sender == "" {
				n.sender = "<"
			}
			got = append(got, n.sender+">"+n.rcpt)
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("notify_classes %q, sender <%s>: got %q, want %q", c.classes, c.sender, g, c.want)
		}
		if _, err := b.s.store.Stat(queue.Bounce, id); err == nil {
			t.Error("the log is left")
		}
	}
}

func TestSizeLimit(t *testing.T) {
	b := newBench(t, "bounce", "bounce_size_limit = 100\n")
	id := b.message("s@example.com", "Subject: hello", "", strings.Repeat("x", 200))
	b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	if text := b.notices[0].text; !strings.Contains(text, "Undelivered Message Headers") || strings.Contains(text, "xxxx") {
		t.Error(text)
	}
}

func TestDelayWarning(t *testing.T) {
	b := newBench(t, "defer", "delay_warning_time = 4h\n")
	id := b.message("s@example.com", "Subject: hello", "", "body")
	b.append(id, ipc.Recipient{Address: "a@x.example"}, dsn.Result{Status: "4.4.1", Action: "delayed", Reason: "connection refused"})
	must(t, b.ask(ipc.OpWarn, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	text := b.notices[0].text
	for _, want := range []string{"Subject: Delayed Mail (still being retried)\n", "For 4 hour(s)", "message is 5 day(s) old",
		"Action: delayed\n", "Status: 4.4.1\n", "Will-Retry-Until: Sat,  7 Nov 2026 07:59:00 +0000 (UTC)\n", "Undelivered Message Headers"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if _, err := b.s.store.Stat(queue.Defer, id); err != nil {
		t.Error("the log is gone")
	}
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	if text := b.notices[1].text; !strings.Contains(text, "Action: failed\nStatus: 4.4.1\n") {
		t.Error(text)
	}
}

func TestTrace(t *testing.T) {
	b := newBench(t, "trace", "")
	id := b.message("s@example.com", "Subject: hello", "", "body")
	b.append(id, ipc.Recipient{Address: "a@x.example"}, dsn.Result{Status: "2.0.0", Action: "delivered", Reason: "delivery via local: delivered to mailbox"})
	must(t, b.ask(ipc.OpTrace, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	text := b.notices[0].text
	for _, want := range []string{"Subject: Successful Mail Delivery Report\n", "Action: delivered\n",
		"Diagnostic-Code: X-Postern; delivery via local: delivered to mailbox\n", "Content-Description: Message Headers\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	must(t, b.ask(ipc.OpTrace, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	if len(b.notices) != 1 {
		t.Error("a report without a log")
	}
}

func TestVerp(t *testing.T) {
	b := newBench(t, "bounce", "")
	id := b.message("list@example.com", "Subject: hello", "")
	b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
	b.append(id, ipc.Recipient{Address: "b@y.example"}, unknown)
	must(t, b.ask(ipc.OpVerp, 0, ipc.Message{QueueID: id, Sender: "list@example.com", Verp: "+="}))
	if len(b.notices) != 2 || b.notices[0].rcpt != "list+a=x.example@example.com" || b.notices[1].rcpt != "list+b=y.example@example.com" {
		t.Errorf("%+v", b.notices)
	}
	if strings.Contains(b.notices[0].text, "b@y.example") {
		t.Error("a notice tells of the other recipient")
	}
}

func TestUTF8(t *testing.T) {
	b := newBench(t, "bounce", "")
	id := b.message("ö@example.com", "Subject: hello", "")
	b.append(id, ipc.Recipient{Address: "ä@x.example"}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "ö@example.com", SendOpts: delivery.SendUTF8Requested}))
	n := b.notices[0]
	for _, want := range []string{"report-type=delivery-status;", "Content-Type: message/global-delivery-status\n",
		"Content-Type: message/global\n", "Final-Recipient: utf-8; ä@x.example\n"} {
		if !strings.Contains(n.text, want) {
			t.Errorf("%q is missing in\n%s", want, n.text)
		}
	}
	if n.flags&cleanup.FlagSMTPUTF8 == 0 {
		t.Error("flags")
	}
}

func TestMessageIsGone(t *testing.T) {
	b := newBench(t, "bounce", "")
	b.append("ABCDEF123", ipc.Recipient{Address: "a@x.example"}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: "ABCDEF123", Sender: "s@example.com"}))
	if len(b.notices) != 1 || !strings.Contains(b.notices[0].text, "Status: 5.1.1") {
		t.Errorf("%+v", b.notices)
	}
}

func TestOne(t *testing.T) {
	b := newBench(t, "bounce", "")
	id := b.message("s@example.com", "Subject: hello", "")
	must(t, b.s.handle(context.Background(), &ipc.Request{Op: ipc.OpOne, Message: ipc.Message{QueueName: queue.Active, QueueID: id, Sender: "owner@example.com"},
		Recipient: ipc.Recipient{Address: "a@x.example"}, Result: unknown}))
	if len(b.notices) != 1 || b.notices[0].rcpt != "owner@example.com" {
		t.Errorf("%+v", b.notices)
	}
}

func TestThreaded(t *testing.T) {
	b := newBench(t, "bounce", "enable_threaded_bounces = yes\n")
	id := b.message("s@example.com", "Message-Id: <1@a>", "References: <x@a>", "\t<y@a>", "", "Message-Id: no")
	b.append(id, ipc.Recipient{Address: "a@x.example"}, unknown)
	must(t, b.ask(ipc.OpFlush, 0, ipc.Message{QueueID: id, Sender: "s@example.com"}))
	if text := b.notices[0].text; !strings.Contains(text, "References: <1@a>\nIn-Reply-To: <1@a>\n") {
		t.Error(text)
	}
}

func TestTemplateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bounce.cf")
	must(t, os.WriteFile(path, []byte("# ours\nfailure_template = <<EOF\nFrom: Robot\nSubject: No\n\nHost $myhostname, $$5, $maximal_queue_lifetime_hours h\nEOF\n"), 0o600))
	b := newBench(t, "bounce", "bounce_template_file = "+path+"\n")
	tm := b.s.templates[failure]
	if tm.From != "Robot" || tm.Subject != "No" || tm.PostmasterSubject != builtin[failure].PostmasterSubject || tm.Text[0] != "Host mail.example.com, $5, 120 h" {
		t.Errorf("%+v", tm)
	}
	if b.s.templates[delay].Text[0] != "This is the mail system at host mail.example.com." {
		t.Errorf("%+v", b.s.templates[delay])
	}
}

func TestBadTemplateFile(t *testing.T) {
	for text, want := range map[string]string{
		"failure_template = x\n":                           "line 1",
		"other_template = <<EOF\nEOF\n":                    "unknown template",
		"failure_template = <<EOF\nSubject: a\n\ntext\n":   "is missing",
		"failure_template = <<EOF\nX-Y: a\n\ntext\nEOF\n":  "unknown header",
		"failure_template = <<EOF\nSubject: ä\n\nt\nEOF\n": "not ASCII",
		"failure_template = <<EOF\nSubject: a\nEOF\n":      "no text",
	} {
		path := filepath.Join(t.TempDir(), "bounce.cf")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		var def templates
		for k := range builtin {
			def[k] = builtin[k]
		}
		if _, err := readTemplates(path, def); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("From: a\nSubject: b\n\ntext")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := builtin[failure].parse(strings.Split(text, "\n"))
		if err == nil && len(got.Text) == 0 {
			t.Error("no text")
		}
	})
}
