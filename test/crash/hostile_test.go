package crash

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// rss is the memory of a process in KiB.
func rss(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// Input without end, or of a size that nobody needs, costs bounded memory and
// harms no other session.
func TestHostileInput(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF + "smtpd_error_sleep_time = 0\n"})
	i.Start()
	good := sendOne
	if reply := good(t, i, "first"); !strings.HasPrefix(reply, "250") {
		t.Fatal(reply)
	}
	smtpd, cleanup := program(i, "smtpd"), program(i, "cleanup")
	before := rss(t, smtpd) + rss(t, cleanup)

	write := func(s *harness.Session, text string, times int) {
		for range times {
			if _, err := s.Write([]byte(text)); err != nil {
				return // cut off
			}
		}
	}
	open := func() *harness.Session {
		s, err := harness.Open(i.Addr())
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(harness.Wait))
		t.Cleanup(func() { s.Close() })
		return s
	}
	megabyte := strings.Repeat("x", 1<<20)

	s := open()
	write(s, megabyte, 32) // a command line without end
	s.Close()

	s = open()
	s.Say("MAIL FROM:<bob@example.com>")
	taken := 0
	for n := range 10000 {
		if reply, err := s.Say(fmt.Sprintf("RCPT TO:<u%d@example.com>", n)); err == nil && reply[0] == '2' {
			taken++
		} else if err != nil {
			break
		}
	}
	if taken != 1000 { // smtpd_recipient_limit
		t.Errorf("%d of 10,000 recipients were taken, want 1,000", taken)
	}
	s.Close()

	s = open()
	s.Say("MAIL FROM:<bob@example.com>")
	s.Say("RCPT TO:<alice@example.com>")
	s.Say("DATA")
	write(s, "X-Endless: "+megabyte, 16) // one header line without end: over message_size_limit
	if reply, err := s.Say("\r\n."); err == nil && reply[0] != '5' {
		t.Errorf("an endless header: %s", reply)
	}

	s = open()
	s.Say("MAIL FROM:<bob@example.com>")
	s.Say("RCPT TO:<alice@example.com>")
	s.Say("DATA")
	if reply, err := s.Say("Subject: odd\x00 \r bytes\n\r\nNUL \x00 and bare\rCR\nLF\r\n."); err != nil || reply[0] != '2' {
		t.Errorf("NUL and bare CR, LF: %s %v", reply, err)
	}

	if grown := rss(t, smtpd) + rss(t, cleanup) - before; grown > 64<<10 {
		t.Errorf("smtpd and cleanup have grown by %d KiB", grown)
	}
	if reply := good(t, i, "last"); !strings.HasPrefix(reply, "250") {
		t.Errorf("a good client after all: %s", reply)
	}
	i.Until("the good messages arrive", func() bool { return messages(t, i) == 3 })
}

// Broken files in the queue are set aside with a line in the log; the mail
// around them is delivered.
func TestBrokenQueueFiles(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
	for name, text := range map[string]string{
		"incoming/AAAAA11111": "C", "incoming/AAAAA22222": "not a queue file at all",
		"deferred/B/BBBBB33333": strings.Repeat("\xff", 4096),
	} {
		path := "queue/" + name
		i.WriteFile(path, text)
		for _, p := range []string{path, "queue/deferred/B"} {
			os.Chown(i.Host(p), 2100, 0)
			os.Chmod(i.Host(p), 0o700)
		}
	}
	i.Start()
	if reply := sendOne(t, i, "good"); !strings.HasPrefix(reply, "250") {
		t.Fatal(reply)
	}
	i.Until("the good message arrives", func() bool { return messages(t, i) == 1 })
	i.Until("the broken files are in corrupt", func() bool { return i.Count("corrupt") == 3 })
	i.WaitLog(`warning: .*AAAAA22222`)
}

// A table that cannot be opened defers; it never makes a recipient unknown.
func TestUnreadableTable(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: strings.Replace(mainCF, "local_recipient_maps =\n", "local_recipient_maps = hash:@DIR@/nowhere\n", 1)})
	i.Start()
	if reply := sendOne(t, i, "unknown"); !strings.HasPrefix(reply, "451") {
		t.Errorf("a recipient that cannot be looked up: %s", reply)
	}
}

// What is wrong in a configuration file is said with file, line and name, and
// nothing starts.
func TestWrongConfiguration(t *testing.T) {
	tests := []struct{ main, master, want string }{
		{"this is no setting\n", "", `main\.cf.*line \d+`},
		{"", "smtp unixx n - n - - smtp\n", `master\.cf.*line \d+`},
		{"", "smtp unix n - n - x smtp\n", `master\.cf.*line \d+`},
	}
	for _, tt := range tests {
		i := harness.New(t, harness.Postern, harness.Config{Main: tt.main, Master: tt.master})
		out, _ := i.Run("", "postfix", "check")
		if !matches(tt.want, out) {
			t.Errorf("%s%s: postfix check says %q, want %s", tt.main, tt.master, out, tt.want)
		}
	}
}

// A wrong value is said by the program that reads it, with file and line.
func TestWrongParameter(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: "smtpd_timeout = soon\n"})
	i.Start()
	c, err := net.Dial("tcp", i.Addr()) // starts smtpd
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i.WaitLog(`fatal: .*main\.cf, line \d+.*smtpd_timeout`)
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
