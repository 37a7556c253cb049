package takeover

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/protocol/milter/miltertest"
	"postern/test/harness"
)

// everyChange puts each message on hold after all that can be changed was.
const everyChange = `eom addheader X-Added added
eom addheader X-Added again
eom insheader 0 X-Top top
eom insheader 3 X-Three three, which is longer than a pointer
eom chgheader 1 Subject changed to something longer than it was before
eom chgheader 1 S s
eom chgheader 1 X-Gone ` + `
eom chgheader 2 X-Added once more
eom body new body\r\nwith
eom body  pieces\r\n\r\nend
eom addrcptpar <carol@example.com> NOTIFY=NEVER
eom delrcpt <bob@example.com>
eom addrcpt <alias@example.com>
eom chgfrom <changed.sender@example.com> ENVID=id RET=HDRS
eom quarantine look
eom continue
`

// TestEditedByMilters: a file that was changed by pointers is read the same by both
// systems, and the one that takes the queue over delivers what the milter made of
// the message.
func TestEditedByMilters(t *testing.T) {
	both(t, func(t *testing.T, from, to harness.System, ids string) {
		m := miltertest.New(t, everyChange)
		main := relaying(harness.NewSink(t, extensions), ids) + "virtual_alias_maps = inline:{ {alias@example.com=carol+alias@example.com} }\n"
		milters := fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nnon_smtpd_milters = $smtpd_milters\n", m.Port)
		i := harness.New(t, from, harness.Config{Main: main + milters})
		i.Start()
		const text = "From: a@b.example\nS: short\nX-Gone: 1\nSubject: %s\nMessage-Id: <%s@b.example>\n\nold body\n"
		smtp(t, i, fmt.Sprintf("EHLO client.example\nMAIL FROM:<a@b.example>\nRCPT TO:<alice@example.com>\nRCPT TO:<bob@example.com>\nDATA\n"+text+".", "one", "one"))
		smtp(t, i, fmt.Sprintf("EHLO client.example\nMAIL FROM:<>\nRCPT TO:<alice@example.com>\nDATA\n"+text+".", "two", "two"))
		smtp(t, i, "EHLO client.example\nMAIL FROM:<a@b.example>\nRCPT TO:<alice@example.com>\nDATA\nS: no body\n.")
		bob(t, i, fmt.Sprintf(text, "three", "three"), "-f", "a@b.example", "alice@example.com", "bob@example.com")
		// Postfix's cleanup moves a file to hold before it is whole; pickup removes
		// its own after that.
		i.Until("all are on hold", func() bool { return i.Count("hold") == 4 && i.Count("maildrop") == 0 })
		i.Stop()
		if n := comparePostcat(t, i); n != 4 {
			t.Errorf("postcat was asked for %d files, want 4", n)
		}

		i.System = to
		i.WriteConfig(harness.Config{Main: main})
		i.Start()
		if out, status := i.Run("", "postsuper", "-H", "ALL"); status != 0 {
			t.Fatal(out)
		}
		flush(i, "the queue is empty", func() bool {
			return i.Empty("hold", "incoming", "active", "deferred")
		})
		got := texts(t, i, "mail/alice/new/*")
		want := []string{"Return-Path: <changed.sender@example.com>", "\nX-Top: top\n", "\nX-Three: three, which is longer than a pointer\n",
			"\nS: s\n", "\nX-Added: added\n", "\nX-Added: once more\n", "\n\nnew body\nwith pieces\n\nend\n"}
		if n := containing(got, want); n != 4 {
			t.Errorf("%d of %d messages are as the milter wants them:\n%s", n, len(got), strings.Join(got, "\n----\n"))
		}
		if n := containing(got, []string{"\nSubject: changed to something longer than it was before\n"}); n != 4 {
			t.Errorf("%d messages have the new subject", n)
		}
		for _, gone := range []string{"X-Gone", "old body", "X-Added: again"} {
			if n := containing(got, []string{gone}); n != 0 {
				t.Errorf("%d messages still have %q", n, gone)
			}
		}
		if n := len(texts(t, i, "mail/bob/new/*")); n != 0 {
			t.Errorf("bob has %d messages, want none", n)
		}
		if n := delivered(t, i, "carol"); n != 8 {
			t.Errorf("carol has %d messages, want 8: two ways for each", n)
		}
		if n := i.Count("corrupt"); n != 0 {
			t.Errorf("%d files in corrupt", n)
		}
	})
}
