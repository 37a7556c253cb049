package cleanup

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/static"
)

// An instance is a cleanup service and what it talks to, in a queue directory
// of its own, which is the working directory.
type instance struct {
	t      testing.TB
	s      *Server
	log    func() []string
	client *ipc.Client

	mu      sync.Mutex
	bounces []string
	wakes   chan string
}

const baseConfig = `
myhostname = mail.example.com
mydomain = example.com
myorigin = example.com
mydestination = example.com
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mail_name = Postfix
recipient_delimiter = +
`

func newInstance(t testing.TB, config string) *instance {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"public", "private", "incoming", "hold", "trace"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c, err := maincf.Read(strings.NewReader(baseConfig+"queue_directory = "+dir+"\n"+config), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{t: t, s: New().(*Server), wakes: make(chan string, 100)}
	common := &param.Common{}
	set := param.NewSet()
	common.Params(set)
	in.s.Params(set)
	if err := set.Load(c); err != nil {
		t.Fatal(err)
	}
	log, lines := maillog.Record()
	in.log = lines
	in.listen("private/rewrite", in.serveRewrite)
	in.listen("private/bounce", in.serveBounce)
	in.listen("private/trace", in.serveBounce)
	in.listen("public/qmgr", in.serveTrigger)
	opener := table.NewOpener([]table.Type{inline.Type(), static.Type(), {Name: "re", Open: openRE}, {Name: "broken", Open: openBroken}})
	opener.Log = log
	env := &service.Env{Program: "cleanup", Config: c, Common: common, Log: log, Tables: opener}
	if err := in.s.Open(env); err != nil {
		t.Fatal(err)
	}
	in.listen("public/cleanup", func(c net.Conn) { in.s.Serve(context.Background(), c) })
	ep := endpoint.New("", "public", "cleanup", ipc.Protocol, endpoint.Times{Timeout: time.Minute})
	in.client = ipc.NewClient(ep, 10*time.Second)
	t.Cleanup(func() { in.client.Close() })
	return in
}

func (in *instance) listen(path string, serve func(net.Conn)) {
	l, err := net.Listen("unix", path)
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// serveRewrite completes addresses with @example.com.
func (in *instance) serveRewrite(nc net.Conn) {
	c := attr.NewConn(nc, 10*time.Second)
	p := attr.Protocol(rewrite.Protocol)
	c.Send(&p)
	for {
		var req rewrite.Request
		if c.Recv(&req) != nil {
			return
		}
		if !strings.Contains(req.Address, "@") {
			req.Address += "@example.com"
		}
		c.Send(&rewrite.Rewritten{Address: req.Address})
	}
}

func (in *instance) serveBounce(nc net.Conn) {
	c := attr.NewConn(nc, 10*time.Second)
	p := attr.Protocol(bounce.Protocol)
	c.Send(&p)
	for {
		var req bounce.Request
		if c.Recv(&req) != nil {
			return
		}
		in.mu.Lock()
		in.bounces = append(in.bounces, fmt.Sprintf("%d %s %s %s %s %s", req.Op, req.Message.Sender,
			req.Recipient.Address, req.Result.Action, req.Result.Status, req.Result.Reason))
		in.mu.Unlock()
		status := attr.Status(0)
		c.Send(&status)
	}
}

func (in *instance) serveTrigger(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		s, err := r.ReadString(0)
		if err != nil {
			return
		}
		in.wakes <- strings.TrimSuffix(s, "\x00")
	}
}

// openRE is a table of lines "regexp value".
func openRE(name string, _ *table.Opener) (table.Table, error) {
	body, err := table.Braced(name)
	if err != nil {
		return nil, err
	}
	var r reTable
	for _, rule := range strings.Split(body, ";;") {
		pattern, value, _ := strings.Cut(strings.TrimSpace(rule), " ")
		re, err := regexp.Compile("(?is)" + pattern)
		if err != nil {
			return nil, err
		}
		r = append(r, reRule{re, value})
	}
	return r, nil
}

type reRule struct {
	re    *regexp.Regexp
	value string
}

type reTable []reRule

func (r reTable) Lookup(_ context.Context, key string) (string, bool, error) {
	for _, rule := range r {
		if rule.re.MatchString(key) {
			return rule.value, true, nil
		}
	}
	return "", false, nil
}
func (reTable) Close() error     { return nil }
func (reTable) Keys() table.Keys { return table.Pattern }

func openBroken(string, *table.Opener) (table.Table, error) { return nil, fmt.Errorf("broken table") }

// A mail is what a client sends.
type mail struct {
	flags     ipc.Flags
	envelope  string // lines "T data"
	content   string
	extracted string
}

const smtpClient = ipc.MaskExternal | ipc.FlagSMTPReply

const defaultEnvelope = `T 1795509001 141703
A rewrite_context=local
S user@host.example.com
A log_message_origin=localhost[127.0.0.1]
A log_helo_name=client.example
A log_protocol_name=ESMTP
R bob@example.com
`

// send hands a message in and returns its queue id and what became of it.
func (in *instance) send(m mail) (string, ipc.Status, string) {
	in.t.Helper()
	s, err := in.client.Open(context.Background(), m.flags)
	if err != nil {
		in.t.Fatal(err)
	}
	defer s.Close()
	if m.envelope == "" {
		m.envelope = defaultEnvelope
	}
	put := func(lines string) {
		for l := range strings.Lines(lines) {
			l = strings.TrimSuffix(l, "\n")
			s.W.PutString(record.Type(l[0]), strings.TrimPrefix(l[1:], " "))
		}
	}
	put(m.envelope)
	s.W.PutString(record.Mesg, "")
	for l := range strings.Lines(m.content) {
		s.W.PutString(record.Norm, strings.TrimSuffix(l, "\n"))
	}
	s.W.PutString(record.Xtra, "")
	put(m.extracted)
	s.W.PutString(record.End, "")
	status, reason, err := s.Finish(context.Background())
	if err != nil {
		in.t.Fatal(err)
	}
	return s.QueueID, status, reason
}

// records returns the file's records, one a line, without the size record.
func (in *instance) records(q queue.Name, id string) string {
	in.t.Helper()
	data, err := os.ReadFile(in.s.store.Path(q, queue.ID(id)))
	if err != nil {
		in.t.Fatal(err)
	}
	r := record.NewReader(bytes.NewReader(data))
	var b strings.Builder
	for {
		t, d, err := r.Next()
		if err != nil {
			return strings.ReplaceAll(b.String(), id, "ID")
		}
		switch {
		case t == record.Size:
		case t == record.Attr && strings.HasPrefix(string(d), "create_time="):
			b.WriteString("A create_time=…\n")
		default:
			fmt.Fprintf(&b, "%c %s\n", t, d)
		}
	}
}

// sizes returns the numbers of the size record.
func (in *instance) sizes(q queue.Name, id string) record.Sizes {
	in.t.Helper()
	data, err := os.ReadFile(in.s.store.Path(q, queue.ID(id)))
	if err != nil {
		in.t.Fatal(err)
	}
	s, err := record.ParseSizes(data[2 : 2+record.SizesData])
	if err != nil {
		in.t.Fatal(err)
	}
	return s
}

func (in *instance) logText(id string) string {
	return strings.ReplaceAll(strings.Join(in.log(), "\n"), id, "ID")
}

// compare compares texts and shows the first line that differs.
func compare(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := 0; i < len(g) || i < len(w); i++ {
		gl, wl := "(end)", "(end)"
		if i < len(g) {
			gl = g[i]
		}
		if i < len(w) {
			wl = w[i]
		}
		if gl != wl {
			t.Errorf("%s, line %d:\n got %s\nwant %s\nall:\n%s", what, i+1, gl, wl, got)
			return
		}
	}
}
