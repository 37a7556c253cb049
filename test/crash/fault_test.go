package crash

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

// program returns the process of a program, which must run.
func program(i *harness.Instance, name string) int {
	pid := 0
	i.Until(name+" runs", func() bool {
		for _, p := range i.Processes() {
			if comm, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/comm"); err == nil && strings.TrimSpace(string(comm)) == name {
				pid = p
				return true
			}
		}
		return false
	})
	return pid
}

// inject makes a system call of a process fail until stop is called.
func inject(t *testing.T, i *harness.Instance, pid int, fault string) (stop func()) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		harness.Skip(t, "strace, which makes system calls fail, is not installed")
	}
	cmd := exec.Command("strace", "-f", "-q", "-o", "/dev/null", "-e", "inject="+fault, "-p", strconv.Itoa(pid))
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	i.Until("strace is attached", func() bool {
		select {
		case <-ended:
			if strings.Contains(out.String(), "Operation not permitted") {
				harness.Forbidden(t, "%s", out.String())
			}
			t.Fatalf("strace ended: %s", out.String())
		default:
		}
		return harness.Traced(pid)
	})
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		<-ended
	}
}

// writeError is Postfix's reply to a message that could not be stored.
const writeError = "451 4.3.0 Error: queue file write error"

// A message whose sync or write fails is refused for now with Postfix's reply,
// is not queued, and harms no other; others come in at the same time.
func TestFailingDisk(t *testing.T) {
	for _, fault := range []string{"fsync,fdatasync:error=EIO", "fsync,fdatasync:error=ENOSPC:when=2+3",
		"pwrite64:error=EIO", "pwrite64:error=ENOSPC:when=5+7", "pwrite64:error=EDQUOT"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
			i.Start()
			l := startLoad(i, 4, 1)
			l.wait("250", 10)
			stop := inject(t, i, program(i, "cleanup"), fault)
			l.wait(writeError, 10)
			stop()
			l.wait("250", 10)
			l.end()
			onlyReplies(t, l, "250 2.0.0 Ok:", writeError)
			drain(t, i)
			once(t, count(t, i, l))
		})
	}
}

// once says that everything acknowledged is there, once, and nothing else is.
func once(t *testing.T, c *tally) {
	t.Helper()
	c.check(t, nil)
	if c.refused > 0 {
		t.Errorf("%d messages were delivered that had been refused", c.refused)
	}
}

// onlyReplies says that clients got no other reply than these.
func onlyReplies(t *testing.T, l *load, want ...string) {
	t.Helper()
	for reply, n := range l.replies {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.TrimSpace(reply) == w }) {
			t.Errorf("%d times %q, want only %q", n, reply, want)
		}
	}
}

// A full disk refuses mail for now, with Postfix's replies before and after the
// text, and takes it again when there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		i := harness.New(t, s, harness.Config{Main: mainCF + "message_size_limit = 1000000\nnotify_classes =\n"})
		queue := i.Host("queue")
		if err := syscall.Mount("none", queue, "tmpfs", 0, "size=24m,mode=755"); err != nil {
			harness.Forbidden(t, "a small file system cannot be mounted: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(queue, syscall.MNT_DETACH) })
		i.QueueDirs()
		i.Start()
		l := startLoad(i, 4, 1)
		l.wait("250", 10)

		open := begin(t, i)
		filler := queue + "/filler"
		fill := exec.Command("sh", "-c", "while sleep 0.01; do dd if=/dev/zero bs=4k 2>/dev/null; done >>"+filler)
		if err := fill.Start(); err != nil {
			t.Fatal(err)
		}
		const noSpace = "452 4.3.1 Insufficient system storage"
		l.wait(noSpace, 10)
		if reply, err := open.Say(strings.Repeat("text text text\r\n", 30000) + "."); err != nil || reply != writeError {
			t.Errorf("the disk is full within a message: %q %v, want %q", reply, err, writeError)
		}
		fill.Process.Kill()
		fill.Wait()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		l.wait("250", 10)
		l.end()
		onlyReplies(t, l, "250 2.0.0 Ok:", noSpace, writeError)
		drain(t, i)
		once(t, count(t, i, l))
		i.Stop()
	})
}

// begin opens a session and goes on until the text of a message may follow.
func begin(t *testing.T, i *harness.Instance) *harness.Session {
	t.Helper()
	s := opened(t, i)
	for _, command := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<alice@example.com>", "DATA"} {
		if reply, err := s.Say(command); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q %v", command, reply, err)
		}
	}
	return s
}

// opened opens a session that ends with the test.
func opened(t *testing.T, i *harness.Instance) *harness.Session {
	t.Helper()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sendOne sends a message and returns the last reply, or that which ended it.
func sendOne(t *testing.T, i *harness.Instance, subject string) string {
	t.Helper()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(harness.Wait))
	for _, command := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<alice@example.com>", "DATA",
		"Subject: " + subject + "\r\n\r\n" + strings.Repeat("text\r\n", 200) + "."} {
		reply, err := s.Say(command)
		if err != nil {
			t.Fatalf("%.20s: %v", command, err)
		}
		if reply[0] > '3' || strings.HasPrefix(command, "Subject:") {
			return reply
		}
	}
	return ""
}

// messages counts what alice has received.
func messages(t *testing.T, i *harness.Instance) int {
	t.Helper()
	entries, err := os.ReadDir(i.Host("mail/alice/new"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}
