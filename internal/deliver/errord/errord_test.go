package errord

import (
	"context"
	"reflect"
	"testing"

	"postern/internal/deliver/agent"
	"postern/internal/deliver/agent/agenttest"
)

func TestReasons(t *testing.T) {
	for _, c := range []struct {
		deliver agent.Func
		nexthop string
		want    string
	}{
		{Bounce, "no such place", "bounce 0: <a@x> 5.0.0 no such place"},
		{Bounce, "5.1.2 no such place", "bounce 0: <a@x> 5.1.2 no such place"},
		{Bounce, "4.7.0 not now", "bounce 0: <a@x> 5.0.0 not now"},
		{Bounce, "2.0.0 fine", "bounce 0: <a@x> 5.0.0 fine"},
		{Retry, "not now", "defer 0: <a@x> 4.0.0 not now"},
		{Retry, "4.4.4 not now", "defer 0: <a@x> 4.4.4 not now"},
		{Retry, "5.1.2 never", "defer 0: <a@x> 4.0.0 never"},
	} {
		s := New().(*server)
		in := agenttest.New(t, s, "error", "", nil)
		req := in.Message(t, "s@example.com", "text\n", "a@x")
		req.Nexthop = c.nexthop
		s.Do(context.Background(), req, c.deliver)
		if got := in.Records(); !reflect.DeepEqual(got, []string{c.want}) {
			t.Errorf("%q: got %q, want %q", c.nexthop, got, c.want)
		}
	}
}
