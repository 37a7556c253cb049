package cleanup

import (
	"context"
	"net"
	"testing"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/mail/record"
)

// serve is a service that takes as many messages on a connection as limit says
// and then closes it.
func serve(t *testing.T, dir string, limit int) {
	t.Helper()
	l, err := net.Listen("unix", dir+"/cleanup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go take(attr.NewConn(nc, time.Minute), limit)
		}
	}()
}

func take(c *attr.Conn, limit int) {
	defer c.Close()
	p := attr.Protocol(Protocol)
	c.Send(&p)
	for range limit {
		var start Start
		if c.Recv(&start) != nil {
			return
		}
		c.Send(&Created{QueueID: "ID"})
		c.Flush()
		r := record.NewReader(c.R)
		for {
			typ, _, err := r.Next()
			if err != nil {
				return
			}
			if typ == record.End {
				break
			}
		}
		c.Send(&Result{Status: Status(start.Flags), Reason: "because"})
		c.Flush()
	}
}

func TestClient(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, 2)
	ep := endpoint.New(dir, "", "cleanup", Protocol, endpoint.Times{Timeout: time.Minute})
	c := NewClient(ep, time.Minute)
	defer c.Close()
	ctx := context.Background()
	// Every second message finds a connection that the service has closed.
	for i := range 6 {
		s, err := c.Open(ctx, Flags(i))
		if err != nil {
			t.Fatal(err)
		}
		if s.QueueID != "ID" {
			t.Errorf("queue id %q", s.QueueID)
		}
		s.W.PutString(record.Sender, "x")
		s.W.PutString(record.End, "")
		status, reason, err := s.Finish(ctx)
		if err != nil || status != Status(i) || reason != "because" {
			t.Errorf("message %d: %d %q %v", i, status, reason, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestGiveUp(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, 1)
	ep := endpoint.New(dir, "", "cleanup", Protocol, endpoint.Times{Timeout: time.Minute})
	s, err := Dial(context.Background(), ep, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// Without End the service never answers.
	if _, _, err := s.Finish(ctx); err == nil {
		t.Error("no error after the context has ended")
	}
	if _, _, err := s.Finish(ctx); err == nil {
		t.Error("no error from a session that has ended")
	}
}

func TestDetail(t *testing.T) {
	for _, tt := range []struct {
		s    Status
		code int
		dsn  string
		text string
	}{
		{0, 250, "2.0.0", "Success"},
		{StatusSize, 552, "5.3.4", "message file too big"},
		{StatusDefer | StatusContent, 451, "4.7.1", "service unavailable"},
		{StatusWrite, 451, "4.3.0", "queue file write error"},
		{1 << 20, 451, "4.3.0", "unknown cleanup error"},
	} {
		d := tt.s.Detail()
		if d.Code != tt.code || d.DSN != tt.dsn || d.Text != tt.text {
			t.Errorf("%d: %+v", tt.s, d)
		}
	}
}
