package flush

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/flush"
	"postern/internal/mail/queue"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

type fixture struct {
	*Server
	dir      string
	lines    func() []string
	requests []string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	for _, q := range []string{"incoming", "deferred", "flush"} {
		if err := os.Mkdir(filepath.Join(dir, q), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log, lines := maillog.Record()
	domains, err := matchlist.New("fast_flush_domains", "site.example, other.example", table.NewOpener(nil), matchlist.Parent)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{dir: dir, lines: lines}
	f.Server = &Server{
		Config: Config{RefreshTime: time.Hour, PurgeTime: 24 * time.Hour}, log: log, domains: domains, now: time.Now,
		common: &param.Common{IPCTimeout: time.Minute, MaxIdle: time.Minute},
		store:  queue.New(queue.Config{Dir: dir, HashNames: []string{"deferred"}, HashDepth: 1}),
	}
	f.trigger = func(request string) error {
		f.requests = append(f.requests, request)
		return nil
	}
	f.env = &service.Env{Common: f.common, Log: log, Draining: make(chan struct{})}
	t.Cleanup(func() { f.store.Close() })
	return f
}

// deferred puts a message into the deferred queue, due in an hour.
func (f *fixture) deferred(t *testing.T) queue.ID {
	t.Helper()
	d, err := f.store.Create(queue.Incoming)
	if err != nil {
		t.Fatal(err)
	}
	d.Queue = queue.Deferred
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	f.store.SetNextTry(queue.Deferred, d.ID(), time.Now().Add(time.Hour))
	return d.ID()
}

// due says whether the message is in incoming, due, and marked.
func (f *fixture) due(id queue.ID) bool {
	info, err := f.store.Stat(queue.Incoming, id)
	return err == nil && info.Unthrottled() && info.Ready() && !info.ModTime.After(time.Now())
}

func (f *fixture) list(site string) string {
	b, _ := os.ReadFile(filepath.Join(f.dir, "flush", site))
	return string(b)
}

// ask sends one request over a connection that the service serves.
func (f *fixture) ask(t *testing.T, r flush.Request) flush.Status {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan struct{})
	go func() {
		f.Serve(context.Background(), b)
		close(done)
	}()
	c := attr.NewConn(a, time.Minute)
	p := attr.Protocol(flush.Protocol)
	if err := c.Recv(&p); err != nil {
		t.Fatal(err)
	}
	c.Send(&r)
	var status attr.Status
	if err := c.Recv(&status); err != nil {
		t.Fatal(err)
	}
	a.Close()
	<-done
	return flush.Status(status)
}

func TestRequests(t *testing.T) {
	f := newFixture(t)
	a, b, other := f.deferred(t), f.deferred(t), f.deferred(t)
	tests := []struct {
		request flush.Request
		want    flush.Status
	}{
		{flush.Request{Kind: flush.Add, Site: "no.example", QueueID: "ABC"}, flush.StatusDeny},
		{flush.Request{Kind: flush.Add, Site: "site.example", QueueID: "../x"}, flush.StatusBad},
		{flush.Request{Kind: flush.Add, Site: "Site.example", QueueID: string(a)}, flush.StatusOK},
		{flush.Request{Kind: flush.Add, Site: "site.example", QueueID: string(a)}, flush.StatusOK},
		{flush.Request{Kind: flush.Add, Site: "site.example", QueueID: "GONE"}, flush.StatusOK},
		{flush.Request{Kind: flush.Add, Site: "sub.site.example", QueueID: string(b)}, flush.StatusOK},
		{flush.Request{Kind: flush.Add, Site: "[192.0.2.1]", QueueID: string(b)}, flush.StatusDeny},
		{flush.Request{Kind: flush.SendSite, Site: "other.example"}, flush.StatusOK},
		{flush.Request{Kind: flush.SendSite, Site: "no.example"}, flush.StatusDeny},
		{flush.Request{Kind: flush.SendFile, QueueID: "A/B"}, flush.StatusBad},
		{flush.Request{Kind: flush.SendFile, QueueID: "GONE"}, flush.StatusOK},
		{flush.Request{Kind: flush.SendFile, QueueID: string(other)}, flush.StatusOK},
		{flush.Request{Kind: flush.SendSite, Site: "site.example"}, flush.StatusOK},
	}
	for _, tt := range tests {
		if got := f.ask(t, tt.request); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.request, got, tt.want)
		}
	}
	if !f.due(a) || f.due(b) || !f.due(other) {
		t.Errorf("due: %v %v %v", f.due(a), f.due(b), f.due(other))
	}
	if got := f.list("site_example"); got != "" {
		t.Errorf("list after it was sent: %q", got)
	}
	if got := f.list("sub_site_example"); got != string(b)+"\n" {
		t.Errorf("other list: %q", got)
	}
	if got := strings.Join(f.requests, ""); got != "II" {
		t.Errorf("qmgr was sent %q, want II", got)
	}
	if log := f.lines(); len(log) != 0 {
		t.Errorf("log %q", log)
	}
	if got := f.ask(t, flush.Request{Kind: flush.Purge}); got != flush.StatusOK || !f.due(b) {
		t.Errorf("purge: %d, due %v", got, f.due(b))
	}
}

func TestRefresh(t *testing.T) {
	f := newFixture(t)
	id := f.deferred(t)
	f.add(context.Background(), "site.example", string(id))
	os.WriteFile(filepath.Join(f.dir, "flush", "empty_example"), nil, 0o600)
	os.WriteFile(filepath.Join(f.dir, "flush", "bad_example"), []byte("x/y\n\n"), 0o600)
	f.refresh(context.Background(), f.RefreshTime)
	if f.due(id) {
		t.Error("a fresh list was worked on")
	}
	f.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	f.refresh(context.Background(), f.RefreshTime)
	if _, err := f.store.Stat(queue.Incoming, id); err != nil {
		t.Errorf("an old list was not worked on: %v", err)
	}
	if log := f.lines(); len(log) != 2 || !strings.Contains(log[0], "bad queue id") {
		t.Errorf("log %q", log)
	}
	f.now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	f.refresh(context.Background(), f.RefreshTime)
	if left, _ := os.ReadDir(filepath.Join(f.dir, "flush")); len(left) != 0 {
		t.Errorf("%d empty lists left", len(left))
	}
}

func TestWakeup(t *testing.T) {
	f := newFixture(t)
	id := f.deferred(t)
	f.add(context.Background(), "site.example", string(id))
	f.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	a, b := net.Pipe()
	done := make(chan error)
	go func() { done <- f.Serve(context.Background(), b) }()
	c := attr.NewConn(a, time.Minute)
	p := attr.Protocol(flush.Protocol)
	if err := c.Recv(&p); err != nil {
		t.Fatal(err)
	}
	a.Write([]byte("W"))
	a.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := f.store.Stat(queue.Incoming, id); err != nil {
		t.Error(err)
	}
}
