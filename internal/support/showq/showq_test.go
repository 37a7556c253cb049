package showq

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/showq"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/mail/statuslog"
)

func newServer(t *testing.T) (*Server, func() []string) {
	t.Helper()
	dir := t.TempDir()
	for _, q := range []string{"maildrop", "incoming", "active", "deferred", "hold", "defer"} {
		if err := os.Mkdir(filepath.Join(dir, q), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log, lines := maillog.Record()
	s := &Server{
		common: &param.Common{EmptyAddressRecipient: "MAILER-DAEMON", DuplicateFilterLimit: 1000, SMTPUTF8Enable: true},
		log:    log,
		store:  queue.New(queue.Config{Dir: dir, HashNames: []string{"deferred", "defer"}, HashDepth: 1}),
	}
	t.Cleanup(func() { s.store.Close() })
	return s, lines
}

func put(t *testing.T, s *Server, q queue.Name, records ...string) queue.ID {
	t.Helper()
	d, err := s.store.Create(queue.Incoming)
	if err != nil {
		t.Fatal(err)
	}
	w := record.NewWriter(d)
	for _, r := range records {
		w.PutString(record.Type(r[0]), r[1:])
	}
	d.Queue = q
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

// list returns the listing with each message on a line.
func list(t *testing.T, s *Server) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.List(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	r, err := showq.NewReader(bufio.NewReader(&b))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for {
		m, err := r.Next()
		if err == io.EOF {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %d %d %v <%s>", m.Queue, m.Arrival, m.Size, m.ForcedExpire, m.Sender)
		for {
			rcpt, err := r.NextRecipient()
			if err != nil {
				break
			}
			fmt.Fprintf(&text, " %s(%s)", rcpt.Address, rcpt.Reason)
		}
		text.WriteByte('\n')
	}
}

func TestList(t *testing.T) {
	s, lines := newServer(t)
	put(t, s, queue.Hold, "C            700             100               1", "T1795508745 811022", "S", "Ra b@c", "Rd\xc3\xa9@\x01", "Dgone@x", "E")
	id := put(t, s, queue.Deferred, "T5", "Ss@x", "Rlate@x", "Rnew@x", "Rlate@x", "M", "NRx", "X", "Rextra@x", "E")
	for _, rec := range []statuslog.Record{
		{Address: "late@x", Result: dsn.Result{Status: "4.0.0", Action: "delayed", Reason: "no way"}},
		{Address: "other@x", Result: dsn.Result{Status: "4.0.0", Action: "delayed", Reason: "no\x02way"}},
	} {
		if err := s.store.AppendLog(queue.Defer, id, rec.Append(nil, true)); err != nil {
			t.Fatal(err)
		}
	}
	expired := put(t, s, queue.Active, "T7 1", "Ss@x", "R", "E")
	s.store.SetMode(queue.Active, expired, 0o710)
	unfinished := put(t, s, queue.Incoming, "T7", "Ss@x", "E")
	s.store.SetMode(queue.Incoming, unfinished, 0o600)
	want := `active 7 14 true <s@x> MAILER-DAEMON()
deferred 5 50 false <s@x> late@x(no way) other@x(no?way) new@x() extra@x()
hold 1795508745 700 false <MAILER-DAEMON> "a b"@c() dé@?()
`
	if got := list(t, s); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if log := lines(); len(log) != 0 {
		t.Errorf("log %q", log)
	}
}

func TestBadFiles(t *testing.T) {
	for _, records := range [][]string{
		{"T1", "Rx", "E"},
		{"T1", "Sx", "Sy", "E"},
		{"T1", "Sx", "Ry"},
		{"pbad"},
		{"C1", "Sx", "E"},
	} {
		s, lines := newServer(t)
		put(t, s, queue.Active, records...)
		put(t, s, queue.Hold, "T1", "Ss", "Rr", "E")
		if got := list(t, s); !strings.HasSuffix(got, "hold 1 11 false <s> r()\n") {
			t.Errorf("%q: %q", records, got)
		}
		if log := lines(); len(log) != 1 || !strings.HasPrefix(log[0], "warning: ") {
			t.Errorf("%q: log %q", records, log)
		}
	}
}
