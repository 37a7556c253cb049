package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/base/sys"
	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/record"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/texthash"
)

var types = []table.Type{inline.Type(), texthash.Type(), {Name: "broken", Open: func(string, *table.Opener) (table.Table, error) {
	return brokenTable{}, nil
}}}

type brokenTable struct{}

func (brokenTable) Lookup(context.Context, string) (string, bool, error) {
	return "", false, fmt.Errorf("table is down")
}
func (brokenTable) Close() error { return nil }

// fixture is an instance with users ann and bob.
type fixture struct {
	*agenttest.Instance
	*Service
	t  *testing.T
	mu sync.Mutex
	// forwarded is what the cleanup service got: "sender > recipient …: first
	// lines of content".
	forwarded []string
	passed    []string
	refuse    bool // the cleanup service fails
	sendOpts  int  // of the message
	wishes    cleanup.Flags
	handedOn  int // options of the last request that was passed
}

func ids() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 12345, 12345
	}
	return os.Geteuid(), os.Getegid()
}

const config = `
alias_maps = inline:{%s}
home_mailbox = Mail/
recipient_delimiter = +
default_privs = nobody
`

func start(t *testing.T, aliases, extra string) *fixture {
	t.Helper()
	uid, gid := ids()
	base := t.TempDir()
	for d := base; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{t: t, Service: New().(*Service)}
	var passwd strings.Builder
	for _, name := range []string{"ann", "bob"} {
		home := filepath.Join(base, name)
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, uid, gid); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d::%s:/bin/sh\n", name, uid, gid, home)
	}
	fmt.Fprintf(&passwd, "nobody:x:%d:%d::/nonexistent:/bin/false\n", 54321, 54321)
	f.users = &sys.Users{Passwd: filepath.Join(base, "passwd")}
	if err := os.WriteFile(f.users.Passwd, []byte(passwd.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if aliases == "" {
		aliases = "{x = y}"
	}
	f.Instance = agenttest.New(t, f.Service, "local", fmt.Sprintf(config, aliases)+extra, types)
	f.Serve(t, "private/rewrite", f.rewrite)
	f.Serve(t, "public/cleanup", f.cleanup)
	f.Serve(t, "private/other", f.other)
	return f
}

func (f *fixture) Serve(t *testing.T, path string, serve func(*attr.Conn) error) {
	f.Instance.Serve(t, path, serve)
}

// home returns a path in ann's home directory.
func (f *fixture) home(name string) string {
	return filepath.Join(filepath.Dir(f.users.Passwd), "ann", name)
}

// write makes a file of ann's.
func (f *fixture) write(name, text string, mode os.FileMode) {
	f.t.Helper()
	if err := os.WriteFile(f.home(name), []byte(text), mode); err != nil {
		f.t.Fatal(err)
	}
	uid, gid := ids()
	if err := os.Chown(f.home(name), uid, gid); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(f.home(name), mode); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) rewrite(c *attr.Conn) error {
	protocol := attr.Protocol(rewrite.Protocol)
	if err := c.Send(&protocol); err != nil {
		return err
	}
	for {
		var req rewrite.Request
		if err := c.Recv(&req); err != nil {
			return err
		}
		if req.Kind == "rewrite" {
			if !strings.Contains(req.Address, "@") {
				req.Address += "@mx.example"
			}
			if err := c.Send(&rewrite.Rewritten{Address: req.Address}); err != nil {
				return err
			}
			continue
		}
		r := rewrite.Reply{Resolved: rewrite.Resolved{Transport: "local", Nexthop: "mx.example", Recipient: req.Address, Flags: rewrite.ClassLocal}}
		if !strings.HasSuffix(req.Address, "@mx.example") {
			r.Transport = "smtp"
		}
		if strings.HasPrefix(req.Address, "fail@") {
			r.Flags |= rewrite.Fail
		}
		if strings.HasPrefix(req.Address, "error@") {
			r.Flags |= rewrite.Error
		}
		if err := c.Send(&r); err != nil {
			return err
		}
	}
}

func (f *fixture) cleanup(c *attr.Conn) error {
	protocol := attr.Protocol(cleanup.Protocol)
	if err := c.Send(&protocol); err != nil {
		return err
	}
	var start cleanup.Start
	if err := c.Recv(&start); err != nil {
		return err
	}
	if err := c.Send(&cleanup.Created{QueueID: "NEWID"}); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	var sender, content string
	var rcpts []string
	for r := record.NewReader(c.R); ; {
		t, data, err := r.Next()
		if err != nil {
			return err
		}
		switch t {
		case record.Sender:
			sender = string(data)
		case record.Rcpt:
			rcpts = append(rcpts, string(data))
		case record.Norm:
			content += string(data) + "\n"
		}
		if t == record.End {
			break
		}
	}
	f.mu.Lock()
	f.forwarded = append(f.forwarded, sender+" > "+strings.Join(rcpts, " ")+": "+content)
	refuse := f.refuse
	f.wishes = start.Flags & (cleanup.FlagSMTPUTF8 | cleanup.FlagRequireTLS)
	f.mu.Unlock()
	var result cleanup.Result
	if refuse {
		result.Status = cleanup.StatusWrite
	}
	if err := c.Send(&result); err != nil {
		return err
	}
	return c.Flush()
}

// other is another transport.
func (f *fixture) other(c *attr.Conn) error {
	protocol := attr.Protocol(delivery.Protocol)
	if err := c.Send(&protocol); err != nil {
		return err
	}
	var req delivery.Request
	if err := c.Recv(&req); err != nil {
		return err
	}
	f.mu.Lock()
	f.handedOn = req.SendOpts
	for _, r := range req.Recipients {
		f.passed = append(f.passed, fmt.Sprintf("%s %s %d", req.Nexthop, r.Address, r.Offset))
	}
	f.mu.Unlock()
	if err := c.Send(&delivery.Reply{}); err != nil {
		return err
	}
	return c.Flush()
}

// deliver delivers a message to the recipients and returns the log without
// what is not the same each time, and the recipients that are left.
func (f *fixture) deliver(rcpts ...string) (log, todo string) {
	f.t.Helper()
	return f.deliverText("Subject: x\n\nbody\n", rcpts...)
}

func (f *fixture) deliverText(text string, rcpts ...string) (log, todo string) {
	f.t.Helper()
	for i, r := range rcpts {
		if !strings.Contains(r, "@") {
			rcpts[i] = r + "@mx.example"
		}
	}
	n := len(f.Log())
	req := f.Message(f.t, "s@b.example", text, rcpts...)
	req.SendOpts, req.EnvelopeID = f.sendOpts, "id 1"
	reply := f.Kit.Do(context.Background(), req, f.Service.deliver)
	left := f.Todo(f.t, req)
	if (reply.Status == delivery.Done) != (len(left) == 0) {
		f.t.Errorf("status %d with %q left", reply.Status, left)
	}
	re := regexp.MustCompile(`(to=<[^>]*>).*?(relay=\S+).*(dsn=.*)`)
	base := filepath.Dir(f.users.Passwd)
	var lines []string
	for _, l := range f.Log()[n:] {
		if m := re.FindStringSubmatch(l); m != nil {
			l = m[1] + " " + m[3]
		}
		l = strings.ReplaceAll(l, base, "BASE")
		lines = append(lines, strings.ReplaceAll(l, string(req.QueueID), "ID"))
	}
	return strings.Join(lines, "\n"), strings.Join(left, " ")
}

func (f *fixture) want(got, want string) {
	f.t.Helper()
	if got != want {
		f.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func (f *fixture) files(dir string) int {
	list, err := filepath.Glob(dir + "/*")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(list)
}

func TestMailboxes(t *testing.T) {
	f := start(t, "", "")
	log, _ := f.deliver("Ann+ext")
	f.want(log, "to=<Ann+ext@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
	if n := f.files(f.home("Mail/new")); n != 1 {
		t.Errorf("%d files", n)
	}
	f.HomeMailbox = "mbox"
	log, _ = f.deliver("ann")
	f.want(log, "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to mailbox)")
	f.HomeMailbox, f.MailSpoolDirectory = "", filepath.Dir(f.users.Passwd)+"/spool"
	if err := os.Mkdir(f.MailSpoolDirectory, 0o775); err != nil {
		t.Fatal(err)
	}
	log, _ = f.deliver("ann")
	f.want(log, "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to mailbox)")
	f.MailSpoolDirectory += "/"
	log, todo := f.deliver("nouser", "MAILER-DAEMON")
	f.want(log, `to=<nouser@mx.example> dsn=5.1.1, status=bounced (unknown user: "nouser")`+"\n"+
		"warning: required alias not found: mailer-daemon\n"+
		"to=<MAILER-DAEMON@mx.example> dsn=2.0.0, status=sent (discarded)")
	f.want(todo, "")
}

func TestAliases(t *testing.T) {
	f := start(t, `{list = ann, out@far.example, BOB}, {loop = loop, ann}, {a1 = a2}, {a2 = a1},
		{owned = out@far.example, ann}, {owner-owned = boss}, {bad = error@x.example}, {later = fail@x.example, ann},
		{ext+one = ann}, {cmd = "|exit 75"}`, "")
	tests := []struct{ rcpt, log, todo string }{
		{"list", "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)\n" +
			"to=<BOB@mx.example> dsn=2.0.0, status=sent (delivered to maildir)\n" +
			"to=<list@mx.example> dsn=2.0.0, status=sent (forwarded as NEWID)", ""},
		{"loop", "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)\n" +
			`to=<loop@mx.example> dsn=5.1.1, status=bounced (unknown user: "loop")`, ""},
		{"ext+one", "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)", ""},
		{"owned", "to=<owned@mx.example> dsn=2.0.0, status=sent (forwarded as NEWID)", ""},
		{"bad", "to=<error@x.example> dsn=5.1.3, status=bounced (bad recipient address syntax: error@x.example)", ""},
		{"later", "to=<fail@x.example> dsn=4.3.0, status=deferred (address resolver failure)\n" +
			"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)", "later@mx.example"},
		{"cmd", `to=<cmd@mx.example> dsn=4.3.0, status=deferred (temporary failure)`, "cmd@mx.example"},
	}
	for _, tt := range tests {
		log, todo := f.deliver(tt.rcpt)
		if lines, want := strings.Split(log, "\n"), strings.Split(tt.log, "\n"); !sameLines(lines, want) || todo != tt.todo {
			t.Errorf("%s: got\n%s\nleft %q; want\n%s\nleft %q", tt.rcpt, log, todo, tt.log, tt.todo)
		}
	}
	log, _ := f.deliver("a1")
	if !strings.Contains(log, "alias database loop for a") || !strings.Contains(log, "dsn=5.4.6, status=bounced (alias database loop") {
		t.Errorf("mutual aliases: %s", log)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.forwarded) != 2 || !strings.HasPrefix(f.forwarded[0], "s@b.example > out@far.example: Received: by mx.example (Postern)\n\tid NEWID; ") ||
		!strings.Contains(f.forwarded[0], "\nDelivered-To: list@mx.example\nSubject: x\n\nbody\n") ||
		!strings.HasPrefix(f.forwarded[1], "owner-owned@mx.example > out@far.example ann@mx.example: ") {
		t.Errorf("forwarded: %q", f.forwarded)
	}
}

func sameLines(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// A message that was not accepted for forwarding is tried again as a whole.
func TestForwardFails(t *testing.T) {
	f := start(t, "{list = out@far.example}", "")
	f.refuse = true
	log, todo := f.deliver("list")
	if !strings.Contains(log, "status=deferred (unable to forward message)") || todo != "list@mx.example" {
		t.Errorf("got %s, left %q", log, todo)
	}
}

func TestDotForward(t *testing.T) {
	f := start(t, "", "")
	f.write(".forward", "# comment\nbob, \\ann\n", 0o644)
	log, _ := f.deliver("ann")
	f.want(log, "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (forwarded as NEWID)")
	f.write(".forward+ext", "|cat > "+f.home("out")+"; env > "+f.home("env"), 0o600)
	f.write(".forward+ext", "\"|cat > "+f.home("out")+"; env > "+f.home("env")+"\"\n", 0o600)
	log, _ = f.deliver("ann+ext")
	f.want(log, "to=<ann+ext@mx.example> dsn=2.0.0, status=sent (delivered to command: cat > BASE/ann/out; env > BASE/ann/env)")
	out, err := os.ReadFile(f.home("out"))
	if err != nil || !strings.HasPrefix(string(out), "From s@b.example  ") ||
		!strings.HasSuffix(string(out), "\nReturn-Path: <s@b.example>\nX-Original-To: ann+ext@mx.example\nDelivered-To: ann+ext@mx.example\nSubject: x\n\nbody\n") {
		t.Errorf("got %q, %v", out, err)
	}
	env, err := os.ReadFile(f.home("env"))
	for _, v := range []string{"HOME=", "LOGNAME=ann", "SHELL=/bin/sh", "DOMAIN=mx.example", "EXTENSION=ext", "LOCAL=ann+ext", "USER=ann", "RECIPIENT=ann+ext@mx.example", "SENDER=s@b.example", "ENVID=id_1\n"} {
		if err != nil || !strings.Contains("\n"+string(env), "\n"+v) {
			t.Errorf("%s not in %q, %v", v, env, err)
		}
	}
	f.write(".forward", "", 0o644)
	log, _ = f.deliver("ann")
	f.want(log, "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
	f.write(".forward", "~/file, "+f.home("dir")+"/\n", 0o644)
	log, _ = f.deliver("ann")
	f.want(log, "to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to file: BASE/ann/file)\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
}

// A file that somebody else could have written is not used.
func TestUnsafeFiles(t *testing.T) {
	f := start(t, "", "")
	f.write(".forward", "out@far.example\n", 0o666)
	log, _ := f.deliver("ann")
	f.want(log, "warning: file BASE/ann/.forward is world writable\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
	if err := os.Remove(f.home(".forward")); err != nil {
		t.Fatal(err)
	}
	f.write("real", "out@far.example\n", 0o644)
	if err := os.Symlink(f.home("real"), f.home(".forward")); err != nil {
		t.Fatal(err)
	}
	log, _ = f.deliver("ann")
	f.want(log, "warning: file BASE/ann/.forward is not a regular file\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Remove(f.home(".forward")); err != nil {
		t.Fatal(err)
	}
	f.write(".forward", "out@far.example\n", 0o644)
	if err := os.Chown(f.home(".forward"), 999, 999); err != nil {
		t.Fatal(err)
	}
	log, _ = f.deliver("ann")
	f.want(log, "warning: file BASE/ann/.forward has bad owner uid 999\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
}

func TestInclude(t *testing.T) {
	f := start(t, "{x = y}", "")
	f.write("list", "ann\n# no\nout@far.example, |cmd\n/file\n", 0o644)
	f.write("open", "ann\n", 0o666)
	f.write("aliases", "list :include:"+f.home("list")+"\nopen :include:"+f.home("open")+"\nrel :include:list\nnone :include:/no/such\n", 0o644)
	if os.Geteuid() == 0 {
		if err := os.Chown(f.home("aliases"), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if f.aliases, err = f.Instance.Env.Tables.Maps("alias_maps", "texthash:"+f.home("aliases"), table.Secure); err != nil {
		t.Fatal(err)
	}
	log, todo := f.deliver("list")
	f.want(log, "to=<list@mx.example> dsn=5.7.1, status=bounced (mail to command is restricted)\n"+
		"to=<list@mx.example> dsn=5.7.1, status=bounced (mail to file is restricted)\n"+
		"to=<list@mx.example> dsn=2.0.0, status=sent (forwarded as NEWID)")
	f.want(todo, "")
	if len(f.forwarded) != 1 || !strings.HasPrefix(f.forwarded[0], "s@b.example > ann@mx.example out@far.example: ") {
		t.Errorf("forwarded %q", f.forwarded)
	}
	for rcpt, warning := range map[string]string{
		"open": ":include: file BASE/ann/open is world writable",
		"none": "unable to lookup :include: file /no/such: No such file or directory",
	} {
		log, todo := f.deliver(rcpt)
		f.want(log, "warning: "+warning+"\nto=<"+rcpt+"@mx.example> dsn=4.3.5, status=deferred (mail system configuration error)")
		f.want(todo, rcpt+"@mx.example")
	}
	log, _ = f.deliver("rel")
	f.want(log, "warning: :include:list uses a relative path\nto=<rel@mx.example> dsn=5.3.5, status=bounced (mail system configuration error)")
}

// What the sender asks of delivery goes with forwarded mail, and to other
// transports.
func TestWishesGoOn(t *testing.T) {
	f := start(t, "far=x@elsewhere.example", "mailbox_transport_maps = inline:{bob=other}\n")
	for _, tt := range []struct {
		opts int
		want cleanup.Flags
	}{
		{0, 0},
		{delivery.SendRequireTLS, cleanup.FlagRequireTLS},
		{delivery.SendRequireTLS | delivery.SendUTF8Requested, cleanup.FlagRequireTLS | cleanup.FlagSMTPUTF8},
	} {
		f.sendOpts = tt.opts
		f.deliver("far", "bob")
		if f.wishes != tt.want || f.handedOn != tt.opts {
			t.Errorf("options %d: forwarded with flags %d, passed with options %d", tt.opts, f.wishes, f.handedOn)
		}
	}
}

func TestTransports(t *testing.T) {
	f := start(t, "", "fallback_transport = other:far\nmailbox_transport_maps = inline:{bob=other}\nmailbox_command_maps = inline:{{ann=exit 0}}\n")
	log, todo := f.deliver("nouser", "bob", "ann")
	f.want(log, "ID: passing <nouser@mx.example> to transport=other\n"+
		"ID: passing <bob@mx.example> to transport=other\n"+
		"to=<ann@mx.example> dsn=2.0.0, status=sent (delivered to command: exit 0)")
	f.want(todo, "")
	if want := []string{"far nouser@mx.example -1", " bob@mx.example -1"}; !slices.Equal(f.passed, want) {
		t.Errorf("passed %q, want %q", f.passed, want)
	}
}

func TestLuserRelay(t *testing.T) {
	f := start(t, "", "luser_relay = ann+$user\n")
	log, _ := f.deliver("nouser")
	f.want(log, "to=<ann+nouser@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
}

func TestLoop(t *testing.T) {
	f := start(t, "", "")
	log, _ := f.deliverText("Received: x\n\tDelivered-To: bob@mx.example\ndelivered-to:  Ann@mx.example \n\nDelivered-To: bob@mx.example\n", "ann", "bob")
	f.want(log, "to=<ann@mx.example> dsn=5.4.6, status=bounced (mail forwarding loop for ann@mx.example)\n"+
		"to=<bob@mx.example> dsn=2.0.0, status=sent (delivered to maildir)")
}

// A table or user database that does not answer never bounces mail.
func TestTroubleDefers(t *testing.T) {
	for extra, want := range map[string]string{
		"alias_maps = broken:x\n":                                     "alias database unavailable",
		"mailbox_transport_maps = broken:x\n":                         "table lookup failure",
		"mailbox_command_maps = broken:x\n":                           "table lookup failure",
		"command_execution_directory = $no\nmailbox_command = true\n": "mail system configuration error",
	} {
		f := start(t, "", extra)
		log, todo := f.deliver("ann")
		if !strings.HasSuffix(log, "status=deferred ("+want+")") || todo != "ann@mx.example" {
			t.Errorf("%s: %s, left %q", extra, log, todo)
		}
	}
	f := start(t, "", "")
	f.users.Passwd += ".absent"
	log, _ := f.deliver("ann")
	if !strings.HasSuffix(log, "dsn=4.0.0, status=deferred (user lookup error)") {
		t.Error(log)
	}
}

func TestVerifyOnly(t *testing.T) {
	f := start(t, "{list = out@far.example, ann, |cmd, /file}", "")
	req := f.Message(t, "s@b.example", "Subject: x\n", "list@mx.example")
	req.Flags |= delivery.FlagUserVerify
	f.Kit.Do(context.Background(), req, f.Service.deliver)
	var got []string
	for _, l := range f.Log() {
		if _, s, ok := strings.Cut(l, "status="); ok {
			got = append(got, s)
		}
	}
	want := []string{"deliverable (forwards to out@far.example)", "deliverable (delivers to maildir)",
		"deliverable (delivers to command: cmd)", "deliverable (delivers to file: /file)"}
	if !sameLines(got, want) || len(f.forwarded) != 0 || f.files(f.home("Mail/new")) != 0 {
		t.Errorf("got %q, forwarded %q", got, f.forwarded)
	}
}

func TestBadParameters(t *testing.T) {
	for _, tt := range []struct {
		set  func(*Service)
		want string
	}{
		{func(s *Service) { s.AllowCommands = "all" }, "parameter allow_mail_to_commands: unknown value"},
		{func(s *Service) { s.PropagateExtensions = "x" }, "parameter propagate_unmatched_extensions"},
	} {
		s := New().(*Service)
		tt.set(s)
		if err := s.readLists(nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
	s := New().(*Service)
	for name, want := range map[string]string{"no-such-user": "unknown user name value", "root": "privileged user ID"} {
		s.DefaultPrivs = name
		if err := s.findNobody(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
