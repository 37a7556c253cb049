package takeover

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// Notices that were owed when the queue changed hands are sent, with the reasons
// that are in the logs of the one who left it.
func TestReturns(t *testing.T) {
	both(t, func(t *testing.T, from, to harness.System, ids string) {
		main := relaying(harness.NewSink(t, extensions+"MAIL 451 4.4.4 not now"), ids) +
			"virtual_alias_maps = inline:{ {gone@example.com=u@gone.example} }\n"
		main = strings.Replace(main, "transport_maps = inline:{", "transport_maps = inline:{ {gone.example=error:5.1.2 no such place}", 1)
		i := harness.New(t, from, harness.Config{Main: main})
		i.Start()
		bob(t, i, "Subject: late\n\ntext\n", "-f", "bob@example.com", "alice@slow.example")
		i.Until("one is deferred", func() bool { return i.Count("deferred") == 1 && i.Count("active")+i.Count("maildrop") == 0 })
		i.Stop()

		// What is in the queue is tried without cleanup: no notice can be sent.
		i.WriteConfig(harness.Config{Main: main, Master: "-qmgr unix\n"})
		i.Start()
		bob(t, i, "Subject: unknown\n\ntext\n", "-f", "bob@example.com", "gone@example.com")
		bob(t, i, "Subject: receipt\n\ntext\n", "-f", "bob@example.com", "-N", "success", "carol@example.com")
		i.Until("two are in incoming", func() bool { return i.Count("incoming") == 2 && i.Count("maildrop") == 0 })
		i.Stop()
		i.WriteConfig(harness.Config{Main: main, Master: "-cleanup unix\n"})
		os.Remove(i.Host("queue/public/cleanup"))
		i.Start()
		// Postfix defers such mail, Postern waits for cleanup.
		i.Until("a bounce log, a trace log, and two messages that are done", func() bool {
			return i.Count("bounce") == 1 && i.Count("trace") == 1 && i.Count("incoming") == 0 && done(i) == 2
		})
		i.Stop()

		i.System = to
		i.WriteConfig(harness.Config{Main: main})
		i.Start()
		if out, status := i.Run("", "postsuper", "-e", named(t, i, "deferred", "late")); status != 0 {
			t.Fatal(out)
		}
		flush(i, "the queue is empty", func() bool {
			return i.Empty("incoming", "active", "deferred")
		})
		notices := texts(t, i, "mail/bob/new/*")
		for _, want := range [][]string{
			{"Subject: late", "Action: failed", "451 4.4.4 not now"},
			{"Subject: unknown", "Action: failed", "no such place"},
			{"Subject: receipt", "Action: delivered", "delivered to maildir"},
		} {
			if n := containing(notices, want); n != 1 {
				t.Errorf("%d notices have %q, want 1, in:\n%s", n, want, strings.Join(notices, "\n----\n"))
			}
		}
		if len(notices) != 3 {
			t.Errorf("bob has %d notices, want 3", len(notices))
		}
		if n := delivered(t, i, "carol"); n != 1 {
			t.Errorf("carol has %d messages", n)
		}
		for _, logs := range []string{"bounce", "defer", "trace"} {
			if n := i.Count(logs); n != 0 {
				t.Errorf("%d logs are left in %s", n, logs)
			}
		}
	})
}

// done counts the recipients that are done of what is in the queue.
func done(i *harness.Instance) int {
	n := 0
	for _, id := range append(i.Queue("active"), i.Queue("deferred")...) {
		out, _ := i.Run("", "postcat", "-qe", id)
		n += strings.Count(out, "\ndone_recipient: ")
	}
	return n
}

// flush has the queue tried again and again until a condition comes true.
func flush(i *harness.Instance, what string, done func() bool) {
	i.T.Helper()
	var flushed time.Time
	i.Until(what, func() bool {
		if time.Since(flushed) > time.Second {
			i.Run("", "postqueue", "-f")
			flushed = time.Now()
		}
		return done()
	})
}

// texts reads the files that match a pattern.
func texts(t *testing.T, i *harness.Instance, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(i.Host(pattern))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// containing counts the texts that contain every one of some strings.
func containing(texts, want []string) int {
	n := 0
	for _, text := range texts {
		all := true
		for _, w := range want {
			all = all && strings.Contains(text, w)
		}
		if all {
			n++
		}
	}
	return n
}
