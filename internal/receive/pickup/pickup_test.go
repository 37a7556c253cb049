package pickup

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/cleanup"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
)

// fakeCleanup answers every message with result and keeps its records.
type fakeCleanup struct {
	result   cleanup.Result
	messages chan string
}

func (f *fakeCleanup) serve(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go f.session(nc)
	}
}

func (f *fakeCleanup) session(nc net.Conn) {
	defer nc.Close()
	c := attr.NewConn(nc, time.Minute)
	p := attr.Protocol(cleanup.Protocol)
	c.Send(&p)
	var start cleanup.Start
	if c.Recv(&start) != nil {
		return
	}
	c.Send(&cleanup.Created{QueueID: "NEWID"})
	c.Flush()
	r := record.NewReader(c.R)
	text := fmt.Sprintf("flags=%d", start.Flags)
	for {
		t, data, err := r.Next()
		if err != nil {
			return
		}
		text += fmt.Sprintf("\n%c%s", t, data)
		if t == record.End {
			break
		}
	}
	c.Send(&f.result)
	c.Flush()
	f.messages <- text
}

type fixture struct {
	*Server
	fake  *fakeCleanup
	dir   string
	lines func() []string
}

func newFixture(t *testing.T, settings ...string) *fixture {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"maildrop", "corrupt", "public"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	l, err := net.Listen("unix", "public/cleanup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &fixture{fake: &fakeCleanup{messages: make(chan string, 10)}, dir: dir}
	go f.fake.serve(l)

	text := "queue_directory = " + dir + "\nmyhostname = mail.example.com\nmail_name = Postern\nmaillog_file=/dev/null\ncompatibility_level=3.6\n" + strings.Join(settings, "\n") + "\n"
	cf, err := maincf.Read(strings.NewReader(text), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	var common param.Common
	set := param.NewSet()
	common.Params(set)
	f.Server = &Server{now: time.Now}
	f.Params(set)
	if err := set.Load(cf); err != nil {
		t.Fatal(err)
	}
	log, lines := maillog.Record()
	f.lines = lines
	if err := f.Open(&service.Env{Common: &common, Log: log, Config: cf}); err != nil {
		t.Fatal(err)
	}
	return f
}

// drop puts a message of the given records ("Ssender") into maildrop.
func (f *fixture) drop(t *testing.T, records ...string) queue.ID {
	t.Helper()
	d, err := f.store.Create(queue.Maildrop)
	if err != nil {
		t.Fatal(err)
	}
	w := record.NewWriter(d)
	for _, r := range records {
		w.PutString(record.Type(r[0]), r[1:])
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

func (f *fixture) files(t *testing.T, q queue.Name) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.dir, string(q)))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func (f *fixture) run() { f.Trigger(context.Background(), []byte("W")) }

func TestTake(t *testing.T) {
	f := newFixture(t, "content_filter = scan:dummy")
	f.drop(t, "T1795508745 811022", "Arewrite_context=local", "Acreate_time=1 2", "FFull Name", "Sjohn doe@example.com",
		"Rb@c", "M", "N indented", "Lpiece", "N", "X", "Rd@e", "E")
	f.run()
	lines := strings.Split(<-f.fake.messages, "\n")
	if len(lines) < 10 || !strings.HasPrefix(lines[9], "N\tid NEWID; ") {
		t.Fatalf("got %q", lines)
	}
	want := []string{"flags=627", "Lscan:dummy", "T1795508745 811022", "Arewrite_context=local", "FFull Name", "Sjohn doe@example.com", "Rb@c", "M",
		fmt.Sprintf("NReceived: by mail.example.com (Postern, from userid %d)", os.Geteuid()), lines[9],
		"N", "N indented", "Lpiece", "N", "X", "Rd@e", "E"}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q\nwant %q", lines, want)
	}
	if n := f.files(t, queue.Maildrop); n != 0 {
		t.Errorf("%d files left in maildrop", n)
	}
	wantLine := fmt.Sprintf(`NEWID: uid=%d from=<"john doe"@example.com>`, os.Geteuid())
	if log := f.lines(); len(log) != 1 || log[0] != wantLine {
		t.Errorf("log %q, want %q", log, wantLine)
	}
}

func TestRequeued(t *testing.T) {
	f := newFixture(t)
	id := f.drop(t, "C1 2 3", "Acreate_time=7", "S", "Lold:filter", "R/x", "M", "NSubject: x", "X", "E")
	if err := f.store.SetMode(queue.Maildrop, id, 0o700); err != nil {
		t.Fatal(err)
	}
	f.run()
	got := strings.Join(strings.Split(<-f.fake.messages, "\n")[1:], "|")
	if !strings.HasPrefix(got, "T") || !strings.Contains(got, "|S|R/x|M|NReceived: ") || !strings.HasSuffix(got, "|NSubject: x|X|E") {
		t.Errorf("got %q", got)
	}
	if log := f.lines(); len(log) != 1 || !strings.HasSuffix(log[0], " from=<> orig_id="+string(id)) {
		t.Errorf("log %q", log)
	}
}

// What a sender asks of delivery stands in a size record: of sendmail, or of a
// message that has been in the queue.
func TestWishes(t *testing.T) {
	f := newFixture(t)
	size := func(opts int) string { return string(record.Size) + string(record.Sizes{SendOpts: opts}.Append(nil)) }
	for _, tt := range []struct {
		records []string
		want    cleanup.Flags
	}{
		{nil, 0},
		{[]string{"T1795508745 811022", size(32)}, cleanup.FlagRequireTLS},
		{[]string{size(32 | 1 | 16)}, cleanup.FlagRequireTLS | cleanup.FlagSMTPUTF8},
		{[]string{size(2)}, 0},
		{[]string{"Arewrite_context=local", size(32)}, 0},
		{[]string{"Cnonsense"}, 0},
	} {
		f.drop(t, append(tt.records, "S", "Rx", "M", "X", "E")...)
		f.run()
		first, _, _ := strings.Cut(<-f.fake.messages, "\n")
		if want := fmt.Sprintf("flags=%d", f.flags|tt.want); first != want {
			t.Errorf("%q: got %s, want %s", tt.records, first, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	tests := []struct {
		name    string
		records []string
	}{
		{"no sender", []string{"Rx", "M", "X", "E"}},
		{"wrong record", []string{"Sx", "Nx", "M", "X", "E"}},
		{"no end", []string{"Sx", "Rx", "M", "Nx"}},
		{"long line", []string{"Sx", "M", "N" + strings.Repeat("x", 2049), "X", "E"}},
		{"bad pointer", []string{"Sx", "M", "px", "X", "E"}},
		{"empty", nil},
	}
	for _, tt := range tests {
		f := newFixture(t)
		f.drop(t, tt.records...)
		f.run()
		if f.files(t, queue.Maildrop) != 0 || f.files(t, queue.Corrupt) != 1 {
			t.Errorf("%s: not moved to the corrupt queue", tt.name)
		}
		if len(f.fake.messages) != 0 {
			t.Errorf("%s: cleanup got a message", tt.name)
		}
		if log := strings.Join(f.lines(), "\n"); !strings.Contains(log, "warning: uid=") {
			t.Errorf("%s: log %q", tt.name, log)
		}
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		result  cleanup.Result
		left    int
		corrupt int
		warned  bool
	}{
		{cleanup.Result{}, 0, 0, false},
		{cleanup.Result{Status: cleanup.StatusWrite}, 1, 0, true},
		{cleanup.Result{Status: cleanup.StatusDefer, Reason: "later"}, 1, 0, false},
		{cleanup.Result{Status: cleanup.StatusRecipients}, 0, 0, true},
		{cleanup.Result{Status: cleanup.StatusBad}, 0, 1, true},
	}
	for _, tt := range tests {
		f := newFixture(t)
		f.fake.result = tt.result
		f.drop(t, "Sx", "Ry", "M", "X", "E")
		f.run()
		warned := strings.Contains(strings.Join(f.lines(), "\n"), "warning: ")
		if l, c := f.files(t, queue.Maildrop), f.files(t, queue.Corrupt); l != tt.left || c != tt.corrupt || warned != tt.warned {
			t.Errorf("%+v: %d left, %d corrupt, warned %v", tt.result, l, c, warned)
		}
	}
}

func TestUnfinished(t *testing.T) {
	f := newFixture(t)
	d, err := f.store.Create(queue.Maildrop)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Cancel()
	temp := filepath.Join(f.dir, "maildrop", "123.456")
	os.WriteFile(temp, nil, 0o600)
	os.Symlink("/etc/passwd", filepath.Join(f.dir, "maildrop", "LINK"))
	f.run()
	if n := f.files(t, queue.Maildrop); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
	f.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	f.run()
	if n := f.files(t, queue.Maildrop); n != 1 {
		t.Errorf("%d files after a day, want the link only", n)
	}
}

func TestBadOptions(t *testing.T) {
	for _, c := range []Config{{ReceiveOverrideOptions: "no_such"}, {AutodetectClasses: "none"}} {
		s := &Server{Config: c, common: &param.Common{SMTPUTF8Enable: true}}
		if _, err := s.cleanupFlags(); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	s := &Server{Config: Config{ReceiveOverrideOptions: "no_header_body_checks no_milters,no_address_mappings"}, common: &param.Common{}}
	if flags, err := s.cleanupFlags(); flags != cleanup.FlagBounce || err != nil {
		t.Errorf("flags %d, %v", flags, err)
	}
}
