package anvil

import (
	"slices"
	"testing"
	"time"

	ipc "postern/internal/ipc/anvil"
)

func TestCounter(t *testing.T) {
	now := time.Date(2026, 11, 4, 8, 9, 5, 0, time.UTC)
	c := newCounter(time.Minute, func() time.Time { return now })
	a, b := c.client(), c.client()
	const who = "smtp:192.0.2.1"
	steps := []struct {
		l           *client
		event       ipc.Event
		count, rate int
	}{
		{a, ipc.Connect, 1, 1},
		{b, ipc.Connect, 2, 2},
		{a, ipc.Message, 0, 1},
		{a, ipc.Recipient, 0, 1},
		{a, ipc.Recipient, 0, 2},
		{b, ipc.NewTLSStat, 0, 0},
		{b, ipc.NewTLS, 0, 1},
		{b, ipc.NewTLSStat, 0, 1},
		{a, ipc.Disconnect, 0, 0},
		{a, ipc.Disconnect, 0, 0},
		{a, ipc.Connect, 2, 3},
		{a, ipc.Lookup, 2, 3},
	}
	for i, s := range steps {
		got := s.l.tell(ipc.Request{Event: s.event, Ident: who})
		if got.Status != ipc.OK || got.Count != s.count || got.Rate != s.rate {
			t.Errorf("step %d, %s: got %+v, want count %d, rate %d", i, s.event, got, s.count, s.rate)
		}
	}
	if got := a.tell(ipc.Request{Event: "nonsense", Ident: who}); got.Status != ipc.Fail {
		t.Errorf("unknown request: status %d", got.Status)
	}
	b.close() // a server dies
	if got := a.tell(ipc.Request{Event: ipc.Lookup, Ident: who}); got.Count != 1 || got.Recipients != 2 {
		t.Errorf("after the end of a server: %+v", got)
	}
	want := []string{
		"statistics: max connection rate 3/60s for (smtp:192.0.2.1) at Nov  4 08:09:05",
		"statistics: max connection count 2 for (smtp:192.0.2.1) at Nov  4 08:09:05",
		"statistics: max message rate 1/60s for (smtp:192.0.2.1) at Nov  4 08:09:05",
		"statistics: max recipient rate 2/60s for (smtp:192.0.2.1) at Nov  4 08:09:05",
		"statistics: max newtls rate 1/60s for (smtp:192.0.2.1) at Nov  4 08:09:05",
		"statistics: max cache size 1 at Nov  4 08:09:05",
	}
	if got := c.statistics(); !slices.Equal(got, want) {
		t.Errorf("statistics: got %q, want %q", got, want)
	}
	a.close()
	now = now.Add(2 * time.Minute)
	if got := a.c.client().tell(ipc.Request{Event: ipc.Connect, Ident: "smtp:192.0.2.2"}); got.Rate != 1 {
		t.Errorf("fresh remote: %+v", got)
	}
	if len(c.remotes) != 1 {
		t.Errorf("%d remotes are remembered, want 1", len(c.remotes))
	}
}
