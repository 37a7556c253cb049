// Package takeover leaves a queue with one mail system and has the other go on
// with it, in both directions.
package takeover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

func TestTakeover(t *testing.T) {
	for _, c := range []struct {
		from, to harness.System
	}{{harness.Postfix, harness.Postern}, {harness.Postern, harness.Postfix}} {
		for _, long := range []string{"no", "yes"} {
			t.Run(fmt.Sprintf("%s to %s, long ids %s", c.from.Name, c.to.Name, long), func(t *testing.T) {
				t.Parallel()
				takeover(t, c.from, c.to, long)
			})
		}
	}
}

// takeover fills the queues with from: deferred with logs, hold, incoming. Then
// to delivers all of it.
func takeover(t *testing.T, from, to harness.System, long string) {
	common := "enable_long_queue_ids = " + long + "\nmydestination = example.com, slow.example, big.example\nforward_path =\n"
	waiting := harness.Config{Main: common + "transport_maps = inline:{ {slow.example=retry:4.4.4 not now} {big.example=retry:4.4.4 not now} }\nlocal_recipient_maps =\n"}
	i := harness.New(t, from, waiting)
	i.Start()
	send := func(sender, body string, rcpts ...string) {
		t.Helper()
		args := append([]string{"-f", sender}, rcpts...)
		if out, status := i.Run("Subject: test\nFrom: bob@example.com\n\n"+body+"\n", "sendmail", args...); status != 0 {
			t.Fatalf("sendmail: %s", out)
		}
	}
	for n := range 3 {
		send("bob@example.com", fmt.Sprint("deferred ", n), "alice@slow.example")
	}
	send("bob@example.com", strings.Repeat(strings.Repeat("x", 1500)+"\n", 50), "alice@big.example", "carol@slow.example")
	i.Until("four deferred", func() bool { return i.Count("deferred") == 4 && i.Count("maildrop") == 0 })
	if out, status := i.Run("", "postsuper", "-h", i.Queue("deferred")[0]); status != 0 {
		t.Fatalf("postsuper: %s", out)
	}
	i.Stop()
	// Without a queue manager new mail stays in incoming.
	noQmgr := waiting
	noQmgr.Master = "-qmgr unix\n"
	i.WriteConfig(noQmgr)
	i.Start()
	send("", "incoming", "alice@slow.example")
	i.Until("one in incoming", func() bool { return i.Count("incoming") == 1 && i.Count("maildrop") == 0 })
	i.Stop()
	if i.Count("hold") != 1 || i.Count("deferred") != 3 {
		t.Fatalf("hold %d, deferred %d", i.Count("hold"), i.Count("deferred"))
	}

	i.System = to
	i.WriteConfig(harness.Config{Main: common + "local_recipient_maps =\n"})
	i.Start()
	out, _ := i.Run("", "mailq")
	if strings.Count(out, "(not now)") < 3 {
		t.Errorf("%s shows the reasons of %s: %s", to.Name, from.Name, out)
	}
	i.Run("", "postsuper", "-H", "ALL")
	flush(i, "everything is delivered", func() bool {
		return i.Empty("hold", "incoming", "active", "deferred")
	})
	if n := delivered(t, i, "alice"); n != 5 {
		t.Errorf("alice has %d messages", n)
	}
	if n := delivered(t, i, "carol"); n != 1 {
		t.Errorf("carol has %d messages", n)
	}
	if i.Count("corrupt") != 0 {
		t.Error("corrupt files")
	}
	logs, _ := filepath.Glob(i.Host("queue/defer/*/*"))
	if len(logs) != 0 {
		t.Errorf("defer logs are left: %q", logs)
	}
}

func delivered(t *testing.T, i *harness.Instance, user string) int {
	t.Helper()
	entries, err := os.ReadDir(i.Host("mail/" + user + "/new"))
	if err != nil {
		t.Error(err)
	}
	return len(entries)
}
