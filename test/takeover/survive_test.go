package takeover

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
)

// letters are sent over SMTP to the system that leaves its queue.
var letters = []string{
	// What the sender asked of notices.
	`MAIL FROM:<bob@example.com> RET=HDRS ENVID=one+2Btwo
RCPT TO:<alice@slow.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;alias+2Bx@other.example
RCPT TO:<carol@slow.example> NOTIFY=NEVER
RCPT TO:<dave@slow.example> NOTIFY=DELAY ORCPT=x-odd;text
DATA
Subject: notices

text
.`,
	// One recipient has its mail before the queue changes hands.
	`MAIL FROM:<bob@example.com>
RCPT TO:<alice@example.com>
RCPT TO:<carol@slow.example>
RCPT TO:<alice+box@example.com>
DATA
Subject: partly

text
.`,
	// Addresses and headers in UTF-8.
	`MAIL FROM:<δοκιμή@example.com> SMTPUTF8 BODY=8BITMIME
RCPT TO:<用户@slow.example>
DATA
Subject: utf8 ü

grün
.`,
	`MAIL FROM:<bob@example.com> BODY=8BITMIME SIZE=100
RCPT TO:<alice@slow.example>
DATA
Subject: eight bits

grün
..dot
.`,
	`MAIL FROM:<>
RCPT TO:<alice@slow.example>
DATA
Subject: null sender

text
.`,
	`MAIL FROM:<bob@example.com>
RCPT TO:<alice@slow.example>
DATA
Subject: held

text
.`,
	`MAIL FROM:<"odd \"name"@example.com>
RCPT TO:<"two words"@slow.example>
DATA
Subject: quoted

` + longLine + `
.`,
}

// longLine takes two records of a queue file, and more than a buffer of any reader.
var longLine = strings.Repeat("0123456789", 900)

// wantEnvelopes is what the next hop is told: each command after the subject of
// its message, without the size. Both systems say the same.
const wantEnvelopes = `command line: MAIL FROM:<bob@mail.example.com> RET=HDRS
command line: RCPT TO:<alice@slow.example> ORCPT=rfc822;alice@slow.example NOTIFY=SUCCESS,DELAY
dropped: MAIL FROM:<bob@mail.example.com> ENVID=envid+2B1
dropped: RCPT TO:<alice@slow.example> ORCPT=rfc822;alice@slow.example NOTIFY=FAILURE
dropped: RCPT TO:<carol@slow.example> ORCPT=rfc822;carol@slow.example NOTIFY=FAILURE
eight bits: MAIL FROM:<bob@example.com> BODY=8BITMIME
eight bits: RCPT TO:<alice@slow.example> ORCPT=rfc822;alice@slow.example
held: MAIL FROM:<bob@example.com>
held: RCPT TO:<alice@slow.example> ORCPT=rfc822;alice@slow.example
incoming: MAIL FROM:<bob@example.com> ENVID=one+2Btwo RET=HDRS
incoming: RCPT TO:<alice@slow.example> ORCPT=rfc822;alias+2Bx@other.example NOTIFY=SUCCESS,FAILURE
incoming: RCPT TO:<carol@slow.example> ORCPT=rfc822;carol@slow.example NOTIFY=NEVER
incoming: RCPT TO:<dave@slow.example> ORCPT=x-odd;text NOTIFY=DELAY
notices: MAIL FROM:<bob@example.com> ENVID=one+2Btwo RET=HDRS
notices: RCPT TO:<alice@slow.example> ORCPT=rfc822;alias+2Bx@other.example NOTIFY=SUCCESS,FAILURE
notices: RCPT TO:<carol@slow.example> ORCPT=rfc822;carol@slow.example NOTIFY=NEVER
notices: RCPT TO:<dave@slow.example> ORCPT=x-odd;text NOTIFY=DELAY
null sender: MAIL FROM:<>
null sender: RCPT TO:<alice@slow.example> ORCPT=rfc822;alice@slow.example
partly: MAIL FROM:<bob@example.com>
partly: RCPT TO:<carol@slow.example> ORCPT=rfc822;carol@slow.example
quoted: MAIL FROM:<"odd \"name"@example.com>
quoted: RCPT TO:<"two words"@slow.example> ORCPT=rfc822;"two+20words"@slow.example
utf8 ü: MAIL FROM:<δοκιμή@example.com> BODY=8BITMIME SMTPUTF8
utf8 ü: RCPT TO:<用户@slow.example> ORCPT=rfc822;+E7+94+A8+E6+88+B7@slow.example
verp: MAIL FROM:<list+u1=slow.example@example.com>
verp: MAIL FROM:<list+u2=slow.example@example.com>
verp: RCPT TO:<u1@slow.example> ORCPT=rfc822;u1@slow.example
verp: RCPT TO:<u2@slow.example> ORCPT=rfc822;u2@slow.example`

// relaying delivers what is for example.com and sends the rest to a sink, one
// message after the other.
func relaying(next *harness.Sink, ids string) string {
	return ids + "transport_maps = inline:{ {slow.example=smtp:[127.0.0.1]:" + strconv.Itoa(next.Port) + "} }\n" + `mydestination = example.com
local_recipient_maps =
forward_path =
recipient_delimiter = +
smtp_destination_concurrency_limit = 1
`
}

// extensions is what a sink answers to EHLO.
const extensions = "EHLO 250-sink.example | 250-PIPELINING | 250-8BITMIME | 250-SIZE | 250-SMTPUTF8 | 250-ENHANCEDSTATUSCODES | 250 DSN\n"

func ids(long bool) string {
	if long {
		return "enable_long_queue_ids = yes\n"
	}
	return "enable_long_queue_ids = no\n"
}

// both runs a test from each system to the other, with short and long queue ids.
func both(t *testing.T, f func(t *testing.T, from, to harness.System, ids string)) {
	for _, c := range []struct {
		name     string
		from, to harness.System
	}{{"to postern", harness.Postfix, harness.Postern}, {"to postfix", harness.Postern, harness.Postfix}} {
		for _, long := range []bool{false, true} {
			name := c.name + ", short ids"
			if long {
				name = c.name + ", long ids"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f(t, c.from, c.to, ids(long))
			})
		}
	}
}

// What a message carries beside its text survives: the wishes of its sender,
// the recipients that are done, its encoding, its place in the hold queue.
func TestMessagesSurvive(t *testing.T) {
	both(t, func(t *testing.T, from, to harness.System, ids string) {
		busy := relaying(harness.NewSink(t, extensions+"MAIL 451 4.4.4 not now"), ids)
		i := harness.New(t, from, harness.Config{Main: busy})
		i.Start()
		for _, letter := range letters {
			smtp(t, i, letter)
		}
		bob(t, i, "Subject: verp\nFrom: list@example.com\n\ntext\n", "-XV", "-f", "list@example.com", "u1@slow.example", "u2@slow.example")
		bob(t, i, "Subject: command line\n\ntext\n", "-N", "success,delay", "-R", "hdrs", "alice@slow.example")
		i.Until("all are deferred", func() bool {
			return i.Count("deferred") == len(letters)+2 && i.Count("active")+i.Count("maildrop") == 0
		})
		if out, status := i.Run("", "postsuper", "-h", named(t, i, "deferred", "held")); status != 0 {
			t.Fatal(out)
		}
		i.Stop()

		// Without a queue manager mail stays in incoming, without pickup in maildrop.
		i.WriteConfig(harness.Config{Main: busy, Master: "-qmgr unix\n"})
		i.Start()
		smtp(t, i, strings.Replace(letters[0], "Subject: notices", "Subject: incoming", 1))
		i.Stop()
		i.WriteConfig(harness.Config{Main: busy, Master: "-pickup unix\n-qmgr unix\n"})
		i.Start()
		bob(t, i, "Subject: dropped\nTo: alice@slow.example\nBcc: carol@slow.example\n\ntext\n", "-t", "-N", "failure", "-V", "envid+1")
		i.Stop()
		if n, want := comparePostcat(t, i), len(letters)+2+2; n != want {
			t.Errorf("postcat was asked for %d files, want %d", n, want)
		}

		next := harness.NewSink(t, extensions)
		i.System = to
		i.WriteConfig(harness.Config{Main: relaying(next, ids)})
		i.Start()
		i.Run("", "postqueue", "-f")
		i.Until("all but one is delivered", func() bool {
			return i.Empty("maildrop", "incoming", "active", "deferred")
		})
		if n := i.Count("hold"); n != 1 {
			t.Errorf("%d messages on hold, want 1", n)
		}
		if out, status := i.Run("", "postsuper", "-H", "ALL"); status != 0 {
			t.Fatal(out)
		}
		i.Run("", "postqueue", "-f")
		i.Until("the held one is delivered, too", func() bool {
			return i.Empty("hold", "incoming", "active", "deferred")
		})
		if got := strings.Join(envelopes(next.Got()), "\n"); got != wantEnvelopes {
			t.Errorf("the next hop was told:\n%s\nwant:\n%s", got, wantEnvelopes)
		}
		if n := delivered(t, i, "alice"); n != 2 {
			t.Errorf("alice has %d messages, want the two that %s delivered", n, from.Name)
		}
		if n := i.Count("corrupt"); n != 0 {
			t.Errorf("%d files in corrupt", n)
		}
	})
}

var size = regexp.MustCompile(` SIZE=\d+`)

// envelopes sums a sink's sessions up: a line for each MAIL and RCPT command,
// after the subject of the message.
func envelopes(got []string) []string {
	var all, commands []string
	for _, line := range got {
		switch {
		case strings.HasPrefix(line, "MAIL "), strings.HasPrefix(line, "RCPT "):
			commands = append(commands, line)
		case strings.HasPrefix(line, "Subject: ") && commands != nil:
			for _, c := range commands {
				all = append(all, line[len("Subject: "):]+": "+size.ReplaceAllString(c, ""))
			}
			commands = nil
		}
	}
	sort.Strings(all)
	return all
}

// smtp sends a message; every reply is a success.
func smtp(t *testing.T, i *harness.Instance, letter string) {
	t.Helper()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	command, text, _ := strings.Cut(letter, "DATA\n")
	for _, line := range append(strings.Split(strings.TrimSpace(command), "\n"), "DATA", strings.ReplaceAll(text, "\n", "\r\n"), "QUIT") {
		if reply, err := s.Say(line); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q: %q %v", i.System.Name, line, reply, err)
		}
	}
}

// bob submits a message with sendmail.
func bob(t *testing.T, i *harness.Instance, text string, args ...string) {
	t.Helper()
	cmd := i.As("bob", "sendmail", args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: sendmail %q: %v\n%s", i.System.Name, args, err, out)
	}
}

// named returns the queue id of the message with a subject.
func named(t *testing.T, i *harness.Instance, queue, subject string) string {
	t.Helper()
	for _, id := range i.Queue(queue) {
		if paths, _ := filepath.Glob(i.Host("queue/" + queue + "/?/" + id)); len(paths) == 1 {
			if b, err := os.ReadFile(paths[0]); err == nil && strings.Contains(string(b), "Subject: "+subject) {
				return id
			}
		}
	}
	t.Fatalf("no message %q in %s", subject, queue)
	return ""
}
