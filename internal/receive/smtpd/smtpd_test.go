package smtpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/record"
	"postern/internal/protocol/dns"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/pattern"
	"postern/internal/table/static"
)

// A queue is a cleanup service that keeps what it is given.
type queue struct {
	mu       sync.Mutex
	messages []string // records, "T data" a line
	started  int
	status   cleanup.Status
	flags    chan<- cleanup.Flags // those of each message, when somebody listens
}

func (q *queue) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go q.talk(attr.NewConn(c, time.Minute))
	}
}

func (q *queue) talk(c *attr.Conn) {
	defer c.Close()
	hello := attr.Protocol(cleanup.Protocol)
	c.Send(&hello)
	for {
		var start cleanup.Start
		if c.Recv(&start) != nil {
			return
		}
		q.mu.Lock()
		q.started++
		if q.flags != nil {
			q.flags <- start.Flags
		}
		id := fmt.Sprintf("QID%d", q.started)
		q.mu.Unlock()
		c.Send(&cleanup.Created{QueueID: id})
		c.Flush()
		text, err := readRecords(c.R)
		if err != nil {
			return
		}
		q.mu.Lock()
		if q.status == 0 {
			q.messages = append(q.messages, text)
		}
		c.Send(&cleanup.Result{Status: q.status})
		q.mu.Unlock()
		c.Flush()
	}
}

func readRecords(r *bufio.Reader) (string, error) {
	var b strings.Builder
	rd := record.NewReader(r)
	for {
		t, data, err := rd.Next()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%c %s\n", t, data)
		if t == record.End {
			return b.String(), nil
		}
	}
}

func (q *queue) taken() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.messages)
}

// resolver knows local.example and relay.example.
type resolver struct{}

func (resolver) Rewrite(_ context.Context, _, addr string) (string, error) { return addr, nil }

func (resolver) Resolve(_ context.Context, _, addr string) (rewrite.Resolved, error) {
	r := rewrite.Resolved{Transport: "smtp", Recipient: addr, Flags: rewrite.ClassDefault}
	switch {
	case strings.HasSuffix(addr, "@local.example"):
		r.Transport, r.Flags = "local", rewrite.ClassLocal
	case strings.HasSuffix(addr, "@relay.example"):
		r.Flags = rewrite.ClassRelay
	case strings.HasSuffix(addr, "@fail.example"):
		r.Flags = rewrite.Fail
	case strings.Contains(addr, ".."):
		r.Flags = rewrite.Error
	}
	return r, nil
}

// names is a name service without names.
type names struct{}

func (names) Lookup(context.Context, string, dns.Type) dns.Answer {
	return dns.Answer{Class: dns.NotFound}
}

// A bench is a server with everything around it.
type bench struct {
	*Server
	queue  *queue
	log    func() []string
	strain atomic.Bool // all sessions are taken
}

func newBench(t testing.TB, settings string) *bench {
	t.Helper()
	dir := t.TempDir()
	conf, err := maincf.Read(strings.NewReader("myhostname = mail.local.example\ncompatibility_level = 3.6\nmynetworks = 192.0.2.0/24\n"+
		"inet_interfaces = 192.0.2.99\nlocal_recipient_maps = inline:{u=1,v=1,postmaster=1}\nalias_maps =\nmydestination = local.example\nrelay_domains = relay.example\n"+
		"smtpd_forbidden_commands = CONNECT GET POST\nsmtpd_sasl_mechanism_filter = plain, login\nsmtpd_error_sleep_time = 0\n"+settings), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	conf = conf.Override("queue_directory", dir, "test")
	var common, stressCommon param.Common
	s := New().(*Server)
	set, stressSet := param.NewSet(), param.NewSet()
	common.Params(set)
	s.Params(set)
	stressCommon.Params(stressSet)
	s.StressParams(stressSet)
	if err := errors.Join(set.Load(conf), stressSet.Load(conf.Override("stress", "yes", "test"))); err != nil {
		t.Fatal(err)
	}
	log, lines := maillog.Record()
	tables := table.NewOpener(append(pattern.Types(), inline.Type(), static.Type()))
	tables.UTF8 = true
	s.names, s.resolver = &dns.Native{DNS: names{}}, resolver{}
	b := &bench{Server: s, queue: &queue{}, log: lines}
	err = s.Open(&service.Env{Program: "smtpd", Name: "smtp", Type: "inet", Config: conf, Common: &common, Log: log,
		Tables: tables, Stress: b.strain.Load, StressCommon: &stressCommon})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "public")
	os.Mkdir(path, 0o700)
	l, err := net.Listen("unix", filepath.Join(path, "cleanup"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go b.queue.serve(l)
	for _, s := range []*Server{s, s.stressed} {
		s.cleanup = cleanup.NewClient(endpoint.New(dir, "public", "cleanup", cleanup.Protocol, endpoint.Times{Timeout: time.Minute}), time.Minute)
		s.counter = nil
		s.statfs = func() (int64, error) { return 1 << 40, nil }
		s.now = func() time.Time { return time.Date(2026, 11, 4, 8, 9, 10, 0, time.UTC) }
	}
	return b
}

// A caller is a client of the server.
type caller struct {
	t testing.TB
	net.Conn
	r    *bufio.Reader
	done chan struct{}
}

// dial starts a session; it comes from 127.0.0.1.
func (b *bench) dial(t testing.TB) *caller {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{t: t, Conn: here, r: bufio.NewReader(here), done: make(chan struct{})}
	here.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		defer close(c.done)
		b.Serve(context.Background(), there)
		there.Close()
	}()
	t.Cleanup(func() { c.Close() })
	return c
}

// reply reads one reply, its lines joined by "|"; "EOF" at the end.
func (c *caller) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, "EOF"), "|")
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "|")
		}
	}
}

// play runs a dialogue: "C: " lines are sent, with escapes and without a line
// end when they end in `\`; "S: " lines are expected, a final * matching anything.
func (b *bench) play(t *testing.T, dialogue string) {
	t.Helper()
	c := b.dial(t)
	for n, line := range strings.Split(strings.TrimSpace(dialogue), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "C: "):
			text := line[3:] + "\r\n"
			if raw, ok := strings.CutPrefix(line, "C: raw "); ok {
				text = strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00").Replace(raw)
			}
			io.WriteString(c, text)
		case strings.HasPrefix(line, "S: "):
			want, got := line[3:], c.reply()
			if prefix, star := strings.CutSuffix(want, "*"); got != want && !(star && strings.HasPrefix(got, prefix)) {
				t.Fatalf("line %d: got %q, want %q", n+1, got, want)
			}
		}
	}
	c.Close()
	<-c.done
}

func (b *bench) logged(t *testing.T, want string) {
	t.Helper()
	if all := strings.Join(b.log(), "\n"); !strings.Contains(all, want) {
		t.Errorf("log has no line %q:\n%s", want, all)
	}
}

const hello = `
S: 220 mail.local.example ESMTP Postern
C: EHLO client.example
S: 250-mail.local.example|250-PIPELINING|250-SIZE 10240000|250-VRFY|250-ETRN|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-DSN|250-SMTPUTF8|250 CHUNKING
`

func TestMessage(t *testing.T) {
	b := newBench(t, "")
	b.play(t, hello+`
C: MAIL FROM:<a@client.example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@o.example
S: 250 2.1.5 Ok
C: DATA
S: 354 End data with <CR><LF>.<CR><LF>
C: raw Subject: x\r\n\r\n..dot\r\nbare\n.\r\nNUL\0\r\n.\r\n
S: 250 2.0.0 Ok: queued as QID1
C: QUIT
S: 221 2.0.0 Bye`)
	got := b.queue.taken()
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	for _, want := range []string{
		"T 1793779750 0\nA log_ident=QID1\nA rewrite_context=remote\nA envelope_id=x+y\nA ret_flags=2\nS a@client.example\n",
		"A client_name=unknown\nA reverse_client_name=unknown\nA client_address=127.0.0.1\n",
		"A encoding=8bit\nA dsn_orig_rcpt=rfc822;o@o.example\nA notify_flags=10\nR u@local.example\nM \n",
		"N Received: from client.example (unknown [127.0.0.1])\nN \tby mail.local.example (Postern) with ESMTP id QID1\n" +
			"N \tfor <u@local.example>; Wed, 04 Nov 2026 08:09:10 +0000 (UTC)\nN Subject: x\nN \nN .dot\nN bare\nN NUL\x00\nX \nE \n",
	} {
		if !strings.Contains(got[0], want) {
			t.Errorf("message\n%s\nhas no\n%s", got[0], want)
		}
	}
	b.logged(t, "connect from unknown[127.0.0.1]")
	b.logged(t, "QID1: client=unknown[127.0.0.1]")
	b.logged(t, "disconnect from unknown[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5")
}

func TestDialogues(t *testing.T) {
	tests := []struct{ name, settings, dialogue, log string }{
		{"relay", "", `
C: MAIL FROM:<a@client.example>
S: 250 2.1.0 Ok
C: RCPT TO:<x@other.example>
S: 454 4.7.1 <x@other.example>: Relay access denied
C: DATA
S: 554 5.5.1 Error: no valid recipients`,
			"NOQUEUE: reject: RCPT from unknown[127.0.0.1]: 454 4.7.1 <x@other.example>: Relay access denied; from=<a@client.example> to=<x@other.example> proto=ESMTP helo=<client.example>"},
		{"unknown user", "", `
C: MAIL FROM:<>
S: 250 2.1.0 Ok
C: RCPT TO:<nobody@local.example>
S: 550 5.1.1 <nobody@local.example>: Recipient address rejected: User unknown in local recipient table
C: RCPT TO:<postmaster>
S: 250 2.1.5 Ok`, ""},
		{"temporary", "", `
C: MAIL FROM:<>
S: 250 2.1.0 Ok
C: RCPT TO:<x@fail.example>
S: 451 4.3.0 <x@fail.example>: Temporary lookup failure`, ""},
		{"size", "", `
C: MAIL FROM:<a@b> SIZE=99999999
S: 552 5.3.4 Message size exceeds fixed limit
C: MAIL FROM:<a@b> SIZE=9999999999999999999999
S: 552 5.3.4 Message size exceeds file system imposed limit`, "NOQUEUE: reject: MAIL from unknown[127.0.0.1]: 552 5.3.4 Message size exceeds fixed limit; from=<a@b> proto=ESMTP helo=<client.example>"},
		{"foreign", "", "C: GET / HTTP/1.0\nS: 221 2.7.0 Error: I can break rules, too. Goodbye.\nS: EOF", "warning: non-SMTP command from unknown[127.0.0.1]: GET / HTTP/1.0"},
		{"header", "", "C: Subject: x\nS: 221 2.7.0 *\nS: EOF", ""},
		{"errors", "smtpd_hard_error_limit = 2\n", `
C: FOO
S: 500 5.5.2 Error: command not recognized
C: FOO
S: 500 5.5.2 Error: command not recognized
S: 421 4.7.0 mail.local.example Error: too many errors
S: EOF`, "too many errors after UNKNOWN from unknown[127.0.0.1]"},
		{"junk", "smtpd_junk_command_limit = 1\nsmtpd_hard_error_limit = 1\n", `
C: NOOP
S: 250 2.0.0 Ok
C: NOOP
S: 250 2.0.0 Ok
S: 421 4.7.0 *`, ""},
		{"recipient limit", "smtpd_recipient_limit = 1\nsmtpd_recipient_overshoot_limit = 1\nsmtpd_hard_error_limit = 1\n", `
C: MAIL FROM:<>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: RCPT TO:<v@local.example>
S: 452 4.5.3 Error: too many recipients
C: RCPT TO:<v@local.example>
S: 452 4.5.3 Error: too many recipients
S: 421 *`, ""},
		{"pipelining", "", "C: raw EHLO x\\r\\nMAIL FROM:<a@b>\\r\\n\nS: 554 5.5.0 Error: SMTP protocol synchronization\nS: EOF",
			`improper command pipelining after EHLO from unknown[127.0.0.1]: MAIL FROM:<a@b>\r\n`},
		{"bare LF", "smtpd_forbid_bare_newline = reject\n", "C: raw NOOP\\n\nS: 550 5.5.2 mail.local.example Error: bare <LF> received\nS: EOF", ""},
		{"UTF-8", "", "C: raw MAIL FROM:<\xe9@b>\\r\\n\nS: 500 5.5.2 Error: bad UTF-8 syntax", ""},
		{"long line", "", "C: NOOP " + strings.Repeat("x", 9000) + "\nS: 250 2.0.0 Ok", "request longer than 2048: NOOP xxxx"},
		{"BDAT", "", `
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: raw BDAT 5\r\na\r\n.\r
S: 250 2.0.0 Ok: 5 bytes
C: DATA
S: 503 5.5.1 Error: DATA after BDAT
C: raw BDAT 3 LAST\r\n\nxy
S: 250 2.0.0 Ok: 10 bytes queued as QID1
C: NOOP
S: 250 2.0.0 Ok`, ""},
		{"BDAT refused", "", `
C: raw BDAT 9 LAST\r\nQUIT\r\n123
S: 503 5.5.1 Error: need RCPT command
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: raw BDAT 4\r\nQUIT
S: 554 5.5.1 Error: no valid recipients
C: raw BDAT 4 LAST\r\nQUIT
S: 551 5.0.0 Discarded 4 bytes after earlier error
C: NOOP
S: 250 2.0.0 Ok`, ""},
		{"BDAT size", "", "C: BDAT 1x\nS: 521 5.5.4 Syntax: BDAT count [LAST]\nS: EOF", ""},
		{"BDAT sign", "", "C: BDAT +1\nS: 521 5.5.4 Syntax: BDAT count [LAST]\nS: EOF", ""},
		{"encrypt", "", "C: STARTTLS\nS: 502 5.5.1 Error: command not implemented\nC: AUTH PLAIN x\nS: 503 5.5.1 Error: authentication not enabled", ""},
		{"XCLIENT stranger", "", "C: XCLIENT ADDR=192.0.2.1\nS: 550 5.7.0 Error: insufficient authorization", ""},
		{"too large", "message_size_limit = 50\n", `
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: ` + strings.Repeat("x", 100) + `
C: .
S: 552 5.3.4 Error: message file too big
C: NOOP
S: 250 2.0.0 Ok`, ""},
		{"smuggling", "", `
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: raw a\n.\nMAIL FROM:<evil@b>\r\n.\nb\n.\r\nc\r\r\n.\r\r\nd\r.\r\r\n.\r\n
S: 250 2.0.0 Ok: queued as QID1
C: NOOP
S: 250 2.0.0 Ok`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.settings)
			greeting := hello
			if strings.Contains(tt.settings, "message_size_limit") {
				greeting = strings.ReplaceAll(hello, "10240000", "50")
			}
			b.play(t, greeting+tt.dialogue)
			if tt.log != "" {
				b.logged(t, tt.log)
			}
		})
	}
}

func TestXclient(t *testing.T) {
	b := newBench(t, "smtpd_authorized_xclient_hosts = 127.0.0.1\nlocal_recipient_maps =\n")
	b.play(t, `
S: 220 *
C: XCLIENT ADDR=192.0.2.7 NAME=good.example REVERSE_NAME=[UNAVAILABLE]
S: 220 *
C: EHLO x
S: 250-*
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: RCPT TO:<x@other.example>
S: 250 2.1.5 Ok
C: XCLIENT ADDR=192.0.2.8
S: 503 5.5.1 Error: MAIL transaction in progress
C: QUIT
S: 221 *`)
	b.logged(t, "QID1: client=good.example[192.0.2.7]")
	b.logged(t, "disconnect from good.example[192.0.2.7]")
}

// permit_inet_interfaces is about the client that XCLIENT tells of: a proxy on
// this host does not make strangers its own clients.
func TestXclientOwnAddress(t *testing.T) {
	b := newBench(t, "inet_interfaces = 127.0.0.1\nsmtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_delay_reject = no\nsmtpd_client_restrictions = permit_inet_interfaces, reject\n")
	b.play(t, `
S: 220 *
C: XCLIENT ADDR=192.0.2.7 NAME=stranger.example
S: 554 5.7.1 <stranger.example[192.0.2.7]>: Client host rejected: Access denied
C: QUIT
S: 221 *`)
}

// Of a message that cleanup finds too large, cleanup tells.
func TestCleanupTellsOfSize(t *testing.T) {
	b := newBench(t, "")
	b.queue.status = cleanup.StatusSize
	b.play(t, `
S: 220 *
C: HELO x
S: 250 *
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: .
S: 552 5.3.4 *
C: QUIT
S: 221 *`)
	for _, line := range b.log() {
		if strings.Contains(line, "queue file size limit exceeded") {
			t.Errorf("smtpd tells of it, too: %s", line)
		}
	}
}

func TestCleanupFails(t *testing.T) {
	b := newBench(t, "")
	b.queue.status = cleanup.StatusWrite
	b.play(t, hello+`
C: MAIL FROM:<a@b>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: .
S: 451 4.3.0 Error: queue file write error
C: QUIT
S: 221 *`)
}

func TestReceivedText(t *testing.T) {
	for _, tt := range [][2]string{{"joe", "joe"}, {"a)b", "a?b"}, {"(a", "(a)"}, {"a\\\"\n", "a?\"?"}} {
		if got := commentText(tt[0]); got != tt[1] {
			t.Errorf("commentText(%q) = %q, want %q", tt[0], got, tt[1])
		}
	}
}

func TestPaths(t *testing.T) {
	tests := []struct {
		text         string
		kind         pathKind
		addr         string
		ok, strictOK bool
	}{
		{"<a@b>", pathForward, "a@b", true, true},
		{"a@b", pathForward, "a@b", true, false},
		{"<>", pathReverse, "", true, true},
		{"<>", pathForward, "", false, false},
		{"<@x,@y:a@b>", pathForward, "a@b", true, true},
		{`<"a b"@c>`, pathForward, "a b@c", true, true},
		{"<a b@c>", pathForward, "", false, false},
		{"<a@b,c@d>", pathForward, "", false, false},
		{"<a@b><c@d>", pathForward, "", false, false},
		{"foo<a@b>", pathForward, "a@b", true, false},
		{"<<a@b>>", pathForward, "a@b", true, true},
		{"(c)a@b", pathForward, "a@b", true, false},
		{"a@b>", pathReverse, "a@b", true, false},
		{">a@b", pathReverse, "a@b", true, false},
		{"a>@b", pathReverse, "", false, false},
		{"<a@b>>", pathReverse, "a@b", true, true},
		{"<a@b>>>", pathReverse, "", false, false},
		{"<<a@b>", pathReverse, "", false, false},
		{"x<<a@b>>", pathReverse, "", false, false},
		{"<a@b>x", pathReverse, "", false, false},
		{"<a@b>(c)", pathReverse, "a@b", true, false},
		{"<a@b>,x", pathReverse, "", false, false},
		{"(<x>)<a@b>", pathReverse, "a@b", true, false},
		{"x:y<a@b>", pathReverse, "", false, false},
		{"a@b,", pathReverse, "a@b", true, false},
		{"<;>", pathReverse, "", false, false},
		{`""`, pathReverse, "", true, false},
		{"(c)", pathReverse, "", true, false},
		{"(c)", pathForward, "", false, false},
		{"<x<a>>", pathForward, "", false, false},
		{"<><a>", pathForward, "", false, false},
		{"<,@d>", pathForward, "", false, false},
		{"<(<)a@b>", pathForward, "a@b", true, true},
		{"g:a@b;", pathForward, "g:a@b", true, false},
	}
	for _, tt := range tests {
		addr, ok := parsePath(tt.text, tt.kind, false)
		if ok != tt.ok || ok && addr != tt.addr {
			t.Errorf("parsePath(%q) = %q, %v", tt.text, addr, ok)
		}
		if _, ok := parsePath(tt.text, tt.kind, true); ok != tt.strictOK {
			t.Errorf("strict parsePath(%q) = %v", tt.text, ok)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add("<a@b> SIZE=1")
	f.Add(`<"a\"b"@[1.2.3.4]>`)
	f.Add("<@a:b@c")
	f.Fuzz(func(t *testing.T, s string) {
		path, _, ok := cutPath(s)
		if !ok {
			return
		}
		addr, ok := parsePath(path, pathForward, false)
		if ok && addr == "" {
			t.Errorf("%q gives an empty address", s)
		}
	})
}

// FuzzSession feeds a whole session; it must end, and what it takes must be
// whole messages.
func FuzzSession(f *testing.F) {
	f.Add("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@local.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	f.Add("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<u@local.example>\r\nBDAT 3 LAST\r\nabcQUIT\r\n")
	f.Add("MAIL FROM:<a@b> AUTH=<> SIZE=0 BODY=7BIT\r\nXCLIENT NAME=a\r\nETRN #x\r\nHELP\r\n")
	b := newBench(f, "smtpd_forbid_unauth_pipelining = no\nsmtpd_authorized_xclient_hosts = 127.0.0.1\nmessage_size_limit = 10000\n")
	f.Fuzz(func(t *testing.T, in string) {
		c := b.dial(t)
		go func() {
			io.WriteString(c, in)
			c.Conn.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(io.Discard, c)
		<-c.done
	})
}
