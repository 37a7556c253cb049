package virtual

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/delivery"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/static"
)

var types = []table.Type{inline.Type(), static.Type(), {Name: "broken", Open: func(string, *table.Opener) (table.Table, error) {
	return brokenTable{}, nil
}}}

type brokenTable struct{}

func (brokenTable) Lookup(context.Context, string) (string, bool, error) {
	return "", false, fmt.Errorf("table is down")
}
func (brokenTable) Close() error { return nil }

const config = `
virtual_mailbox_base = $queue_directory/mail
virtual_mailbox_maps = inline:{{u@v.example = v/u/}, {m@v.example = v/m}, {x+y@v.example = v/xy/}, {x@v.example = v/x/}, {@all.example = all/}, {d@v.example = mdir}}
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
recipient_delimiter = +
`

// numbers are a user and a group that may write below a temporary directory.
func numbers() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 12345, 12345
	}
	return os.Geteuid(), os.Getegid()
}

func start(t *testing.T, extra string) (*Service, *agenttest.Instance) {
	t.Helper()
	uid, gid := numbers()
	s := New().(*Service)
	in := agenttest.New(t, s, "virtual", fmt.Sprintf(config, uid, gid)+extra, types)
	for d := in.Dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("mail", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("mail", 0o777); err != nil {
		t.Fatal(err)
	}
	return s, in
}

// outcome is the end of each log line about a recipient: to=… dsn=… status=….
func outcome(lines []string) (list []string) {
	re := regexp.MustCompile(`(to=<[^>]*>).*?(relay=\S+).*(dsn=.*)`)
	for _, l := range lines {
		if m := re.FindStringSubmatch(l); m != nil {
			list = append(list, m[1]+" "+m[2]+" "+m[3])
		} else {
			list = append(list, l)
		}
	}
	return list
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func read(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %q, %v", pattern, names, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDeliver(t *testing.T) {
	s, in := start(t, "")
	req := in.Message(t, "a@b.example", "Subject: x\n\nFrom here\n", "U@v.example", "u@V.example", "m@v.example", "x+z@v.example", "any@all.example", "no@v.example")
	reply := s.Kit.Do(context.Background(), req, s.deliver)
	if reply.Status != delivery.Done || !reply.Bounced {
		t.Errorf("reply %+v", reply)
	}
	wantLines(t, outcome(in.Log()),
		"to=<U@v.example> relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		"to=<m@v.example> relay=virtual, dsn=2.0.0, status=sent (delivered to mailbox)",
		"to=<x+z@v.example> relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		"to=<any@all.example> relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		`to=<no@v.example> relay=virtual, dsn=5.1.1, status=bounced (unknown user: "no@v.example")`)
	wantLines(t, in.Records(), `bounce 0: <no@v.example> 5.1.1 unknown user: "no@v.example"`)
	wantLines(t, in.Todo(t, req))
	if got, want := read(t, "mail/v/u/new/*"), "Return-Path: <a@b.example>\nX-Original-To: U@v.example\nDelivered-To: U@v.example\nSubject: x\n\nFrom here\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := read(t, "mail/v/m"); !strings.HasPrefix(got, "From a@b.example  ") || !strings.Contains(got, "\n>From here\n\n") {
		t.Errorf("got %q", got)
	}
}

func TestVerifyOnly(t *testing.T) {
	s, in := start(t, "")
	req := in.Message(t, "a@b.example", "Subject: x\n", "u@v.example")
	req.Flags |= delivery.FlagUserVerify
	s.Kit.Do(context.Background(), req, s.deliver)
	wantLines(t, outcome(in.Log()), "to=<u@v.example> relay=virtual, dsn=2.0.0, status=deliverable (delivers to maildir)")
	if _, err := os.Stat("mail/v"); err == nil {
		t.Error("something was delivered")
	}
}

// A mistake of the administrator or a table that is down never bounces.
func TestMisconfigured(t *testing.T) {
	tests := []struct{ config, warning string }{
		{"virtual_mailbox_base =\n", "bad string length 0 < 1: virtual_mailbox_base = "},
		{"virtual_mailbox_base =\nvirtual_mailbox_maps =\n", "bad string length 0 < 1: virtual_mailbox_base = "},
		{"virtual_mailbox_base = mail\n", "do not specify relative pathname: virtual_mailbox_base = mail"},
		{"virtual_uid_maps =\n", "recipient u@v.example: not found in virtual_uid_maps"},
		{"virtual_uid_maps = static:99\n", "recipient u@v.example: bad uid 99 in virtual_uid_maps"},
		{"virtual_gid_maps = static:x\n", "recipient u@v.example: bad gid x in virtual_gid_maps"},
		{"virtual_mailbox_maps = broken:x\n", "table is down"},
	}
	for _, tt := range tests {
		s, in := start(t, tt.config)
		req := in.Message(t, "a@b.example", "Subject: x\n", "u@v.example")
		if reply := s.Kit.Do(context.Background(), req, s.deliver); reply.Status != delivery.Defer {
			t.Errorf("%s: reply %+v", tt.config, reply)
		}
		got := strings.Join(outcome(in.Log()), "\n")
		if !strings.Contains(got, "warning: ") || !strings.Contains(got, tt.warning) ||
			!strings.HasSuffix(got, "dsn=4.3.5, status=deferred (mail system configuration error)") {
			t.Errorf("%s: log\n%s", tt.config, got)
		}
		wantLines(t, in.Todo(t, req), "u@v.example")
	}
}

func TestFailures(t *testing.T) {
	s, in := start(t, "virtual_mailbox_limit = 1000\n")
	if err := os.WriteFile("mail/v", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	req := in.Message(t, "a@b.example", "Subject: x\n", "u@v.example")
	s.Kit.Do(context.Background(), req, s.deliver)
	if err := os.Remove("mail/v"); err != nil {
		t.Fatal(err)
	}
	big := in.Message(t, "a@b.example", strings.Repeat("x", 2000)+"\n", "u@v.example", "m@v.example")
	s.Kit.Do(context.Background(), big, s.deliver)
	if err := os.Mkdir("mail/mdir", 0o700); err != nil {
		t.Fatal(err)
	}
	dir := in.Message(t, "a@b.example", "Subject: x\n", "d@v.example")
	s.Kit.Do(context.Background(), dir, s.deliver)
	lines := outcome(in.Log())
	for i, want := range []string{
		"warning: virtual_mailbox_limit is smaller than message_size_limit: .*",
		`.*dsn=4.2.0, status=deferred \(maildir delivery failed: create maildir file .*/mail/v/u/tmp/.*: Not a directory\)`,
		`.*dsn=5.2.2, status=bounced \(maildir delivery failed: error writing message: File too large\)`,
		`.*dsn=5.2.2, status=bounced \(delivery failed to mailbox .*/mail/v/m: error writing message: File too large\)`,
		`.*dsn=4.2.0, status=deferred \(delivery failed to mailbox .*/mail/mdir: .*Is a directory\)`,
	} {
		if i >= len(lines) || !regexp.MustCompile("^"+want+"$").MatchString(lines[i]) {
			t.Errorf("line %d: got\n%s\nwant\n%s", i, strings.Join(lines, "\n"), want)
		}
	}
}

func BenchmarkMaildir(b *testing.B) {
	uid, gid := numbers()
	s := New().(*Service)
	in := agenttest.New(b, s, "virtual", fmt.Sprintf(config, uid, gid), types)
	for d := in.Dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Mkdir("mail", 0o777); err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod("mail", 0o777); err != nil {
		b.Fatal(err)
	}
	req := in.Message(b, "a@b.example", strings.Repeat(strings.Repeat("x", 70)+"\n", 60), "u@v.example")
	b.ReportAllocs()
	for b.Loop() {
		r := *req
		rcpt := *req.Recipients[0]
		r.Recipients = []*delivery.Recipient{&rcpt}
		r.Flags = 0
		if reply := s.Kit.Do(context.Background(), &r, s.deliver); reply.Status != delivery.Done {
			b.Fatal(in.Log())
		}
	}
}
