package crash

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"postern/test/harness"
)

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

// What a program that died has left half-written is no message: it stays where
// it is, or is set aside, and the mail around it is delivered.
func TestHalfWrittenFiles(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		i := harness.New(t, s, harness.Config{Main: mainCF + "minimal_backoff_time = 1s\n"})
		i.Start()
		bob := i.As("bob", "sendmail", "alice@example.com")
		bob.Stdin = strings.NewReader("Subject: good\n\ntext\n")
		if out, err := bob.CombinedOutput(); err != nil {
			t.Fatalf("sendmail: %v\n%s", err, out)
		}
		i.Until("the first message arrives", func() bool { return messages(t, i) == 1 })
		i.Stop()

		whole := maildropFile(t, i)
		leave := func(path, text string, mode os.FileMode) {
			i.WriteFile("queue/"+path, text)
			if err := os.Chown(i.Host("queue/"+path), 2302, 2101); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(i.Host("queue/"+path), mode); err != nil {
				t.Fatal(err)
			}
		}
		leave("incoming/AAAAA11111", "C", 0o600)
		leave("incoming/AAAAA22222", whole, 0o600)
		leave("maildrop/AAAAA33333", whole, 0o644)
		leave("maildrop/AAAAA44444", whole[:len(whole)/2], 0o755) // complete, says its mode
		leave("maildrop/AAAAA55555", whole, 0o755)
		i.Start()
		i.Run("", "postqueue", "-f")
		i.Until("the whole message arrives", func() bool { return messages(t, i) == 2 })
		i.Until("half a message is taken away", func() bool { return i.Count("maildrop") == 1 })
		if reply := sendOne(t, i, "after"); !strings.HasPrefix(reply, "250") {
			t.Errorf("after all: %s", reply)
		}
		i.Until("the last message arrives", func() bool { return messages(t, i) == 3 })
		if n := i.Count("incoming"); n != 2 {
			t.Errorf("%d files in incoming, want the two half-written ones", n)
		}
		i.WaitLog(`warning: .*AAAAA44444`)
		if n := i.Count("corrupt"); s == harness.Postern && n != 1 {
			t.Errorf("%d files in corrupt, want the half message", n)
		}
		if out, status := i.Run("", "postcat", "-q", "AAAAA11111"); status == 0 {
			t.Errorf("postcat takes a half-written file: %s", out)
		}
	})
}

// maildropFile returns what sendmail writes for pickup.
func maildropFile(t *testing.T, i *harness.Instance) string {
	t.Helper()
	cmd := i.As("bob", "sendmail", "alice@example.com")
	cmd.Stdin = strings.NewReader("Subject: dropped\n\n" + strings.Repeat("text\n", 1000))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	ids := i.Queue("maildrop")
	if len(ids) != 1 {
		t.Fatalf("maildrop has %q", ids)
	}
	path := i.Host("queue/maildrop/" + ids[0])
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
