package pipe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/delivery"
	"postern/internal/service"
	"postern/internal/table"
)

// testing services: withArgs gives the service the arguments of its master.cf
// entry, which an instance does not have.
type withArgs struct {
	*Service
	args []string
}

func (w withArgs) Open(env *service.Env) error {
	env.Args = w.args
	env.Privileged = env.Privileged && os.Geteuid() == 0
	return w.Service.Open(env)
}

func users(t *testing.T) *sys.Users {
	t.Helper()
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 12345, 12345
	}
	path := filepath.Join(t.TempDir(), "passwd")
	text := fmt.Sprintf("vmail:x:%d:%d::/:/bin/sh\nroot:x:0:0::/:/bin/sh\ngroup:x:7:0::/:/bin/sh\npostfix:x:999:998::/:/bin/sh\n", uid, gid)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return &sys.Users{Passwd: path}
}

func start(t *testing.T, config string, args ...string) (*Service, *agenttest.Instance) {
	t.Helper()
	s := New().(*Service)
	s.users = users(t)
	in := agenttest.New(t, withArgs{s, args}, "mypipe", config, nil)
	for d := in.Dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return s, in
}

func run(t *testing.T, s *Service, in *agenttest.Instance, req *delivery.Request) (log string) {
	t.Helper()
	n := len(in.Log())
	s.Kit.Do(context.Background(), req, s.deliver)
	re := regexp.MustCompile(`(to=<[^>]*>).*?relay=mypipe.*(dsn=.*)`)
	var lines []string
	for _, l := range in.Log()[n:] {
		if m := re.FindStringSubmatch(l); m != nil {
			l = m[1] + " " + m[2]
		}
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n")
}

func TestDeliver(t *testing.T) {
	s, in := start(t, "recipient_delimiter = +\n", "flags=FRBqhu.>", "user=vmail", `eol=\r\n`, "argv=/bin/sh", "-c",
		`{ cat; echo; printf '[%s]' "$$@"; } > out; echo done`, "x", "-f", "$sender", "${recipient}", "$user-$extension", "--", "${nexthop}", "$$", "${queue_id?id}")
	req := in.Message(t, "John Doe@B.Example", "Subject: x\n\n.dot\nFrom me\n", "Ann+X@V.Example", "bob@v.example")
	req.Nexthop = "Next.Example"
	log := run(t, s, in, req)
	if want := "to=<Ann+X@V.Example> dsn=2.0.0, status=sent (delivered via mypipe service (done))\n" +
		"to=<bob@v.example> dsn=2.0.0, status=sent (delivered via mypipe service (done))"; log != want {
		t.Errorf("got %s, want %s", log, want)
	}
	out, err := os.ReadFile("out")
	if err != nil {
		t.Fatal(err)
	}
	from, rest, _ := strings.Cut(string(out), "\r\n")
	if !strings.HasPrefix(from, `From "John Doe"@B.Example  `) {
		t.Errorf("first line %q", from)
	}
	want := "Return-Path: <\"John Doe\"@B.Example>\r\nSubject: x\r\n\r\n..dot\r\n>From me\r\n\r\n\n" +
		`[-f]["John Doe"@B.Example][ann+x@v.example][bob@v.example][ann-x][bob-][--][next.example][$][id]`
	if rest != want {
		t.Errorf("got  %q\nwant %q", rest, want)
	}
}

func TestHeaders(t *testing.T) {
	s, in := start(t, "", "flags=DORX", "user=vmail", "null_sender=", "argv=/bin/sh", "-c", `{ cat; printf '[%s]' "$$@"; } > out`, "x", "$sender", "$size", "<$envid>")
	req := in.Message(t, "", "Subject: x\n", "ann@v.example")
	req.Recipients[0].OrigAddr = "orig@v.example"
	req.EnvelopeID = "a b"
	log := run(t, s, in, req)
	if !strings.HasSuffix(log, "dsn=2.0.0, status=sent (delivered via mypipe service)") {
		t.Error(log)
	}
	out, err := os.ReadFile("out")
	want := fmt.Sprintf("Return-Path: <>\nX-Original-To: orig@v.example\nDelivered-To: ann@v.example\nSubject: x\n[][%d][<a b>]", req.Size)
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	log = run(t, s, in, in.Message(t, "a@b", "Delivered-To: ANN@v.example\n", "ann@v.example"))
	if !strings.HasSuffix(log, "dsn=5.4.6, status=bounced (mail forwarding loop for ann@v.example)") {
		t.Error(log)
	}
	log = run(t, s, in, in.Message(t, "a@b", "Subject: x\n", "ann@v.example", "bob@v.example"))
	if !strings.HasSuffix(log, "\nwarning: pipe flag `D' requires mypipe_destination_recipient_limit = 1") || strings.Count(log, "dsn=4.3.5, status=deferred (mail system configuration error)") != 2 {
		t.Error(log)
	}
}

func TestOutcomes(t *testing.T) {
	tests := []struct{ script, want string }{
		{"exit 75", "dsn=4.3.0, status=deferred (temporary failure)"},
		{"echo nobody here; exit 67", "dsn=5.1.1, status=bounced (user unknown. Command output: nobody here )"},
		{"echo 4.2.2 full; exit 1", "dsn=4.2.2, status=deferred (full )"},
		{"exit 3", `dsn=5.3.0, status=bounced (Command died with status 3: "/bin/sh")`},
		{"kill -9 $$", `dsn=4.3.0, status=deferred (Command died with signal 9: "/bin/sh")`},
		{"sleep 60", `dsn=5.3.0, status=bounced (Command time limit exceeded: "/bin/sh")`},
	}
	for _, tt := range tests {
		s, in := start(t, "mypipe_time_limit = ${command_time_limit}\ncommand_time_limit = 1\n", "user=vmail", "argv=/bin/sh", "-c", strings.ReplaceAll(tt.script, "$", "$$"))
		if log := run(t, s, in, in.Message(t, "a@b", "Subject: x\n", "ann@v.example")); !strings.HasSuffix(log, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.script, log, tt.want)
		}
	}
	s, in := start(t, "", "user=vmail", "size=10", "argv=/no/such/command")
	log := run(t, s, in, in.Message(t, "a@b", "Subject: x\n", "ann@v.example"))
	if !strings.HasSuffix(log, "dsn=5.2.3, status=bounced (message too large)") {
		t.Error(log)
	}
	s.attrs.size = 0
	log = run(t, s, in, in.Message(t, "a@b", "Subject: x\n", "ann@v.example"))
	if !strings.Contains(log, "dsn=4.3.0, status=deferred (Command failed: cannot run /no/such/command: No such file or directory)") {
		t.Error(log)
	}
	req := in.Message(t, "a@b", "Subject: x\n", "ann@v.example")
	req.Flags |= delivery.FlagUserVerify
	if log := run(t, s, in, req); !strings.HasSuffix(log, "status=deliverable (delivers to command: /no/such/command)") {
		t.Error(log)
	}
}

func TestBadAttributes(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, "missing argv="},
		{[]string{"user=vmail"}, "missing argv="},
		{[]string{"user=vmail", "argv="}, "missing argv="},
		{[]string{"argv=x"}, "missing user="},
		{[]string{"user=nobodyhere", "argv=x"}, "unknown username: nobodyhere"},
		{[]string{"user=vmail:nogrouphere", "argv=x"}, "unknown group: nogrouphere"},
		{[]string{"frob=1", "argv=x"}, "unknown attribute name: frob=1"},
		{[]string{"flags=DZ", "argv=x"}, "unknown flag: Z"},
		{[]string{"frob", "argv=x"}, "unknown attribute name: frob"},
		{[]string{"size=-1", "argv=x"}, "bad size= value: -1"},
		{[]string{`eol=\9`, "argv=x"}, "bad eol= value"},
		{[]string{"user=vmail", "argv=x", "$foo"}, `unknown macro name: "foo"`},
		{[]string{"user=vmail", "argv=x", "${user"}, "truncated macro reference"},
	}
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		for user, want := range map[string]string{
			"root": "specifies root privileges", "group": "privileged group id 0",
			"postfix": "mail system owner postfix", "vmail:postdrop-absent": "unknown group",
		} {
			tests = append(tests, struct {
				args []string
				want string
			}{[]string{"user=" + user, "argv=x"}, want})
		}
	}
	for _, tt := range tests {
		s := New().(*Service)
		s.users = users(t)
		env := &service.Env{Name: "mypipe", Config: maincf.Empty("main.cf"), Common: &param.Common{QueueDirectory: dir, MailOwner: "postfix", SetgidGroup: "postdrop"}, Args: tt.args, Log: maillog.Discard(), Tables: table.NewOpener(nil), Privileged: os.Geteuid() == 0}
		s.Kit = agent.Kit{}
		if err := s.Open(env); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestUnescape(t *testing.T) {
	got, err := unescape(`a\n\r\t\\\101\0z`)
	if want := "a\n\r\t\\A\x00z"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{`\`, `\x`, `\777`} {
		if got, err := unescape(bad); err == nil {
			t.Errorf("%q: got %q", bad, got)
		}
	}
}

func TestArgv(t *testing.T) {
	a, err := parseAttributes([]string{"flags=D", "argv=a", "b=c"})
	if err != nil || !slices.Equal(a.argv, []string{"a", "b=c"}) {
		t.Errorf("got %+v, %v", a, err)
	}
}
