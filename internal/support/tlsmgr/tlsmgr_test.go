package tlsmgr

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/base/maillog"
	ipc "postern/internal/ipc/tlsmgr"
)

func TestRotation(t *testing.T) {
	now := time.Date(2026, 11, 4, 8, 0, 0, 0, time.UTC)
	r := &ring{life: time.Hour, now: func() time.Time { return now }}
	var first []byte
	for _, tt := range []struct {
		after time.Duration
		keys  int
		left  time.Duration
		has   bool // the first key of all
	}{
		{0, 1, time.Hour, true},
		{59 * time.Minute, 1, time.Minute, true},
		{time.Minute, 2, time.Hour, true},
		{59 * time.Minute, 2, time.Minute, true},
		{time.Minute, 2, time.Hour, false},
		{10 * time.Hour, 1, time.Hour, false},
	} {
		now = now.Add(tt.after)
		keys, left, err := r.current()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = keys
		}
		if len(keys) != tt.keys*ipc.KeySize || left != tt.left || bytes.Contains(keys, first) != tt.has {
			t.Errorf("after %v: %d octets, %v left, has the first key: %v; want %+v", tt.after, len(keys), left, bytes.Contains(keys, first), tt)
		}
	}
	r.life = 0
	if _, _, err := r.current(); err == nil {
		t.Error("keys with a life of zero")
	}
}

// Two clients get the same keys; the process stays while tickets are out.
func TestService(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "private"), 0o700)
	l, err := net.Listen("unix", filepath.Join(dir, "private", "tlsmgr"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log, _ := maillog.Record()
	s := &Service{timeout: time.Hour, log: log, ipcTime: time.Minute, asked: make(chan struct{}, 1), keys: &ring{life: time.Hour, now: time.Now}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.Serve(context.Background(), c)
		}
	}()
	client := func() *ipc.Client {
		return ipc.NewClient(dir, "tlsmgr")
	}
	ctx := context.Background()
	a, left, err := client().TicketKeys(ctx)
	if err != nil || len(a) != 1 || left > time.Hour || left < 59*time.Minute {
		t.Fatalf("%d keys, %v, %v", len(a), left, err)
	}
	b, _, err := client().TicketKeys(ctx)
	if err != nil || len(b) != 1 || a[0] != b[0] {
		t.Errorf("the keys differ: %v", err)
	}
	if s.answer(ipc.Request{Kind: "seed"}).Status != ipc.Fail {
		t.Error("an unknown request is answered")
	}
	s.keys.life = 0
	if _, _, err := client().TicketKeys(ctx); err == nil {
		t.Error("keys although there are none")
	}
	none := ipc.NewClient(t.TempDir(), "tlsmgr")
	begin := time.Now()
	if _, _, err := none.TicketKeys(ctx); err == nil || time.Since(begin) > 20*time.Second {
		t.Errorf("without a service: %v after %v", err, time.Since(begin))
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	s.timeout = 0
	if err := s.Run(context.Background()); err != nil {
		t.Error(err)
	}
}
