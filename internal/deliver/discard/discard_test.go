package discard

import (
	"context"
	"strings"
	"testing"

	"postern/internal/deliver/agent"
	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/delivery"
)

func TestDiscard(t *testing.T) {
	kit := &struct{ agent.Kit }{}
	s := New()
	in := agenttest.New(t, s, "discard", "", nil)
	if err := kit.Open(in.Env); err != nil {
		t.Fatal(err)
	}
	req := in.Message(t, "s@example.com", "text\n", "a@x", "b@x")
	req.Nexthop = "2.1.5 by policy"
	if reply := kit.Do(context.Background(), req, Deliver); reply.Status != delivery.Done {
		t.Errorf("%+v", reply)
	}
	if left := in.Todo(t, req); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if log := strings.Join(in.Log(), "\n"); strings.Count(log, "dsn=2.1.5, status=sent (by policy)") != 2 {
		t.Error(log)
	}
}
