package why

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/mail/event"
)

const textLog = `Nov 24 11:00:00 mail postfix/smtpd[10]: connect from c.example[192.0.2.7]
Nov 24 11:00:01 mail postfix/smtpd[10]: NOQUEUE: reject: RCPT from c.example[192.0.2.7]: 554 5.7.1 <x@else.example>: Relay access denied; from=<a@c.example> to=<x@else.example> proto=ESMTP helo=<c.example>
Nov 24 11:00:02 mail postfix/smtpd[10]: 4ABCDE12345: client=c.example[192.0.2.7]
Nov 24 11:00:02 mail postfix/cleanup[11]: 4ABCDE12345: message-id=<m@c.example>
Nov 24 11:00:02 mail postfix/qmgr[12]: 4ABCDE12345: from=<a@c.example>, size=300, nrcpt=1 (queue active)
Nov 24 11:00:03 mail postfix/local[13]: 4ABCDE12345: to=<u@local.example>, relay=local, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)
Nov 24 11:00:04 mail postfix/smtpd[10]: disconnect from c.example[192.0.2.7] ehlo=1 quit=1 commands=2
Nov 24 11:00:05 mail postfix/smtpd[14]: connect from d.example[192.0.2.70]
2026-11-24T11:00:06.123+01:00 mail postfix/qmgr[12]: 4ABCDE99999: from=<>, size=300, nrcpt=1 (queue active)
nonsense
`

// jsonLog writes the lines of one refusal and one message as the server does.
func jsonLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	sink, err := maillog.Open(maillog.Config{File: path, Format: "json", Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	log := maillog.New(sink, "postfix/smtpd")
	client := event.Client{Name: "c.example", Addr: "192.0.2.7"}
	trail := []event.Step{{List: "smtpd_client_restrictions", Restriction: "check_client_access", Argument: "hash:/x", Table: "hash:/x",
		Key: "192.0.2", Answer: "REJECT no", Verdict: "reject", Reply: "554 5.7.1 no"}}
	sender, rcpt := "a@c.example", "u@local.example"
	log.Event(&event.SMTPDConnect{Client: client, Service: "smtp"})
	log.Event(&event.SMTPDAction{Action: "reject", Stage: "RCPT", Client: client, Reason: "554 5.7.1 no", Sender: &sender, Recipient: &rcpt, Trail: trail})
	log.Event(&event.SMTPDMessage{QueueID: "4ABCDE12345", Client: client, Trail: []event.Step{{List: "smtpd_relay_restrictions", Restriction: "permit_mynetworks", Verdict: "permit"}}})
	log.Event(&event.SMTPDDisconnect{Client: client, Passed: []event.Judgement{
		{QueueID: "4ABCDE12345", Stage: "RCPT", Recipient: "v@local.example", Trail: []event.Step{{List: "l", Restriction: "second", Verdict: "dunno"}}},
		{QueueID: "4ABCDE99999", Stage: "DATA", Trail: []event.Step{{List: "l", Restriction: "other", Verdict: "dunno"}}}}})
	log.Infof("something else")
	log.Flush(1e9)
	return path
}

func TestSearch(t *testing.T) {
	text := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(text, []byte(textLog), 0o600); err != nil {
		t.Fatal(err)
	}
	object := jsonLog(t)
	for _, tt := range []struct {
		log, what string
		last      int
		want      int
		has       string
	}{
		{text, "4ABCDE12345", 100, 4, "status=sent"},
		{text, "4ABCDE12345", 1, 1, "status=sent"},
		{text, "192.0.2.7", 100, 7, "Relay access denied"},
		{text, "c.example", 100, 7, "Relay access denied"},
		{text, "::ffff:192.0.2.7", 100, 0, ""},
		{text, "<A@c.example>", 100, 5, "Relay access denied"},
		{text, "u@local.example", 100, 4, "client=c.example"},
		{text, "nobody.example", 100, 0, ""},
		{object, "192.0.2.7", 100, 4, "554 5.7.1 no"},
		{object, "4ABCDE12345", 100, 2, "client=c.example"},
		{object, "u@local.example", 100, 1, "reject"},
	} {
		lines, err := Search([]string{tt.log}, tt.what, tt.last)
		var all strings.Builder
		for _, l := range lines {
			all.WriteString(l.Text + "\n")
		}
		if err != nil || len(lines) != tt.want || !strings.Contains(all.String(), tt.has) {
			t.Errorf("%s: %d lines, want %d with %q:\n%s%v", tt.what, len(lines), tt.want, tt.has, all.String(), err)
		}
	}
}

// A message is followed to what came of it on this system, and no further.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	os.WriteFile(path, []byte(`Nov 24 11:00:00 m postfix/smtpd[1]: 4AAAAA0001: client=c.example[192.0.2.7]
Nov 24 11:00:01 m postfix/smtpd[1]: 4AAAAA0002: client=localhost[127.0.0.1]
Nov 24 11:00:01 m postfix/smtp[2]: 4AAAAA0001: to=<u@a.example>, relay=127.0.0.1[127.0.0.1]:10024, dsn=2.0.0, status=sent (250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 4AAAAA0002)
Nov 24 11:00:02 m postfix/cleanup[3]: 4AAAAA0003: message-id=<x@m>
Nov 24 11:00:02 m postfix/local[4]: 4AAAAA0002: to=<u@a.example>, relay=local, dsn=2.0.0, status=sent (forwarded as 4AAAAA0003)
Nov 24 11:00:03 m postfix/smtp[2]: 4AAAAA0003: to=<v@b.example>, relay=mx.b.example[192.0.2.9]:25, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4AAAAA0009)
Nov 24 11:00:04 m postfix/smtp[2]: 4AAAAA0003: to=<w@b.example>, relay=mx.b.example[192.0.2.9]:25, dsn=5.1.1, status=bounced (no)
Nov 24 11:00:04 m postfix/cleanup[3]: 4AAAAA0004: message-id=<y@m>
Nov 24 11:00:04 m postfix/bounce[5]: 4AAAAA0003: sender non-delivery notification: 4AAAAA0004
Nov 24 11:00:05 m postfix/qmgr[6]: 4AAAAA0009: removed
Nov 24 11:00:06 m postfix/qmgr[6]: 4AAAAA0004: removed
`), 0o600)
	for _, what := range []string{"4AAAAA0001", "192.0.2.7"} {
		lines, err := Search([]string{path}, what, 100)
		var ids []string
		for _, l := range lines {
			ids = append(ids, l.QueueID[9:])
		}
		if got := strings.Join(ids, ""); err != nil || got != "1213233434" {
			t.Errorf("%s: got the lines of %s, %v", what, got, err)
		}
	}
}

func TestMain(t *testing.T) {
	log := jsonLog(t)
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := Main(append([]string{"why"}, args...), nil, &out, &errs)
		return status, out.String(), errs.String()
	}
	status, out, _ := run("--log", log, "192.0.2.7")
	want := "\n    smtpd_client_restrictions: check_client_access hash:/x: 192.0.2: \"REJECT no\" -> reject (554 5.7.1 no)\n"
	if status != 0 || !strings.Contains(out, want) {
		t.Errorf("status %d, %s", status, out)
	}
	status, out, _ = run("--log", log, "--json", "4ABCDE12345")
	var lines []Line
	if err := json.Unmarshal([]byte(out), &lines); status != 0 || err != nil || len(lines) != 2 || len(lines[1].Passed) != 1 || len(lines[0].Trail) != 1 || lines[0].Trail[0].Restriction != "permit_mynetworks" {
		t.Errorf("status %d, %v, %s", status, err, out)
	}
	if status, _, errs := run("--log", log, "nobody@example.com"); status != 1 || !strings.Contains(errs, "nothing about") {
		t.Errorf("status %d, %s", status, errs)
	}
	if status, _, errs := run("--log", "/nonexistent/log", "x.example"); status != 1 || !strings.Contains(errs, "--log names another") {
		t.Errorf("status %d, %s", status, errs)
	}
	if status, _, _ := run(); status != 64 {
		t.Errorf("status %d", status)
	}
}

// compress writes a file as gzip does.
func compress(t *testing.T, path, text string) {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The files that rotation has left, compressed or not, are read before the
// current one, and others are left alone.
func TestRotated(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "main.cf"), []byte("maillog_file = "+dir+"/mail.log\n"), 0o600)
	lines := strings.SplitAfter(textLog, "\n")
	for n, name := range []string{"mail.log.2.gz", "mail.log.20261123-000000.gz", "mail.log.1", "mail.log-20261124", "mail.log"} {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, ".gz") {
			compress(t, path, lines[n+1])
		} else if err := os.WriteFile(path, []byte(lines[n+1]), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(1790000000+int64(n)*86400, 0)
		os.Chtimes(path, when, when)
	}
	os.WriteFile(filepath.Join(dir, "mail.log.1.orig"), []byte(textLog), 0o600)
	os.WriteFile(filepath.Join(dir, "mail.log.bak"), []byte(textLog), 0o600)
	var out, errs bytes.Buffer
	if status := Main([]string{"why", "--config", dir, "192.0.2.7"}, nil, &out, &errs); status != 0 {
		t.Fatal(status, errs.String())
	}
	var want strings.Builder
	for _, l := range lines[1:6] {
		m := textLine.FindStringSubmatch(strings.TrimSpace(l))
		want.WriteString(m[1] + " " + m[2] + ": " + m[3] + "\n")
	}
	if out.String() != want.String() {
		t.Errorf("got\n%swant\n%s", out.String(), want.String())
	}
	xz := filepath.Join(dir, "mail.log.3.xz")
	os.WriteFile(xz, []byte("\xfd7zXZ\x00rest"), 0o600)
	if status := Main([]string{"why", "--config", dir, "192.0.2.7"}, nil, &out, &errs); status != 0 || !strings.Contains(errs.String(), "not searched: "+xz) {
		t.Error(status, errs.String())
	}
	if status := Main([]string{"why", "--log", xz, "192.0.2.7"}, nil, &out, &errs); status != 1 || !strings.Contains(errs.String(), xz+": it is compressed in a form that is not known here; write the output of xzcat") {
		t.Error(status, errs.String())
	}
}

// largeLog writes a log of that many octets, in both formats, and returns how
// many messages it tells of.
func largeLog(t *testing.T, path string, size int) (messages int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for written := 0; written < size; messages++ {
		id := fmt.Sprintf("4F%08X", messages)
		for _, text := range []string{"client=c%d.example[192.0.2.%d]", "from=<a%d@c.example>, size=%d, nrcpt=1 (queue active)",
			"to=<u%d@local.example>, relay=local, delay=%d, delays=1/0/0/0, dsn=2.0.0, status=sent (delivered to mailbox)"} {
			text = id + ": " + fmt.Sprintf(text, messages%50000, messages%200)
			format := "Nov 24 11:00:00 mail postfix/x[1]: %[2]s\n"
			if messages%2 == 0 {
				format = `{"time":"2026-11-24T11:00:00Z","process":"postfix/x","queue_id":"%[1]s","text":"%[2]s"}` + "\n"
			}
			n, _ := w.WriteString(fmt.Sprintf(format, id, text))
			written += n
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return messages
}

// A log of many messages is read in a memory that does not grow with it.
func TestLargeLog(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 4 << 20
	}
	path := filepath.Join(t.TempDir(), "log")
	messages := largeLog(t, path, size)
	for _, what := range []string{"4F00000007", "192.0.2.7", "U7@local.example", "nobody@else.example"} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		lines, err := Search([]string{path}, what, 200)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		grown := (int64(after.HeapSys) - int64(before.HeapSys)) >> 20
		t.Logf("%d MiB, %d messages, %s: %d lines in %s, heap grown by %d MiB", size>>20, messages, what, len(lines), took.Round(time.Millisecond), grown)
		if err != nil || (len(lines) == 0) != strings.HasPrefix(what, "nobody") || grown > 48 {
			t.Errorf("%s: %d lines, %v; heap grown by %d MiB", what, len(lines), err, grown)
		}
	}
}

func FuzzParse(f *testing.F) {
	for line := range strings.Lines(textLog) {
		f.Add([]byte(line))
	}
	f.Add([]byte("Nov 24 11:00:01 m postfix/smtpd[1]: warning: 4ABCDE12345: C.Example[2001:0DB8:0::1] from=<A@B.example> [0:0:0:0:0:ffff:192.0.2.1]\n"))
	f.Add([]byte(`{"time":"x","process":"y","text":"z","trail":[{"list":"l"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var line []byte
		read(bytes.NewReader(text), func(b []byte) bool { line = b; return true }, func(l *Line) {
			// The cheap look at a line misses nothing that Postfix may have written.
			plain := line[0] != '{' && !bytes.ContainsFunc(line, func(r rune) bool { return r > '~' })
			for _, what := range []string{"192.0.2.1", "2001:db8::1", "a@b.example", "c.example", "4ABCDE12345"} {
				q := newQuestion(what)
				if q.asksFor(l) && plain && q.kind != queueID && !q.mentioned(line) {
					t.Errorf("%s is in %q", what, line)
				}
			}
			if l.QueueID != "" && plain && len(l.QueueID) < maxIDLength && !mentionsID(line, map[string]bool{l.QueueID: true}) {
				t.Errorf("%s is in %q", l.QueueID, line)
			}
			l.follower()
		})
	})
}
