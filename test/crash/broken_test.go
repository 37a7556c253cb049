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
