package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/test/harness"
)

// A mailbox that the system cannot write to makes mail wait, whoever delivers it;
// it is delivered when the system can. Postfix returns such mail.
func TestFailingMailbox(t *testing.T) {
	for _, c := range []struct{ program, rcpt, fault, want string }{
		{"local", "alice@example.com", "fsync,fdatasync:error=EIO", "dsn=4.3.0, status=deferred (maildir delivery failed: error writing message: Input/output error)"},
		{"local", "alice@example.com", "fsync,fdatasync:error=EDQUOT", "dsn=4.2.2, status=deferred (maildir delivery failed: error writing message: Disk quota exceeded)"},
		{"local", "alice@example.com", "renameat,renameat2,linkat:error=EIO", "dsn=4.3.0, status=deferred (maildir delivery failed: create maildir file "},
		{"virtual", "v@virtual.example", "fsync,fdatasync:error=EIO", "dsn=4.3.0, status=deferred (maildir delivery failed: error writing message: Input/output error)"},
		{"virtual", "mbox@virtual.example", "fsync,fdatasync:error=EIO", "dsn=4.3.0, status=deferred (delivery failed to mailbox "},
	} {
		t.Run(fmt.Sprintf("%s, %s", c.rcpt, c.fault), func(t *testing.T) {
			t.Parallel()
			main := strings.Replace(mainCF, "{v@virtual.example=v/}", "{v@virtual.example=v/} {mbox@virtual.example=mbox}", 1)
			i := harness.New(t, harness.Postern, harness.Config{Main: main})
			i.Start()
			send := func(subject string) {
				t.Helper()
				cmd := i.As("bob", "sendmail", c.rcpt)
				cmd.Stdin = strings.NewReader("Subject: " + subject + "\n\ntext\n")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("sendmail: %v\n%s", err, out)
				}
			}
			send("before")
			i.Until("the first message arrives", func() bool { return subjects(t, i) == "before" })
			stop := inject(t, i, program(i, c.program), c.fault)
			send("during")
			i.Until("the message waits", func() bool { return strings.Contains(i.Log(), c.want) })
			stop()
			i.Until("the message arrives", func() bool { return subjects(t, i) == "before during" })
			i.Until("the queue is empty", func() bool { return i.Empty("maildrop", "incoming", "active", "deferred") })
			if strings.Contains(i.Log(), "status=bounced") {
				t.Error("mail was returned")
			}
		})
	}
}

// A sync that deliveries share and that fails lets each of them wait; all come.
func TestFailingSharedSync(t *testing.T) {
	t.Parallel()
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
	var fs unix.Statfs_t
	if err := unix.Statfs(i.Host(""), &fs); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains([]int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC}, fs.Type) {
		t.Skipf("on a file system of type %#x no syncs are shared", fs.Type)
	}
	i.Start()
	l := startLoad(i, 20, 0)
	l.wait("250", 50)
	stop := inject(t, i, program(i, "virtual"), "syncfs:error=EIO")
	i.Until("a delivery waits", func() bool {
		return strings.Contains(i.Log(), "status=deferred (maildir delivery failed: error writing message: Input/output error)")
	})
	stop()
	l.wait("250", 50)
	l.end()
	drain(t, i)
	count(t, i, l).check(t, map[string]int{"virtual": 1})
	if strings.Contains(i.Log(), "status=bounced (maildir") {
		t.Error("mail was returned")
	}
}

// subjects lists the messages in all mailboxes of the test's recipients, each once.
func subjects(t *testing.T, i *harness.Instance) string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"mail/alice/new/*", "vmail/v/new/*", "vmail/mbox"} {
		files, err := filepath.Glob(i.Host(pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				if s, ok := strings.CutPrefix(line, "Subject: "); ok {
					all = append(all, strings.TrimSpace(s))
				}
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
