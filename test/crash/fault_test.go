package crash

import (
	"os"
	"os/exec"
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
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	i.Until("strace is attached", func() bool { return harness.Traced(pid) })
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
	}
}

// A message whose sync or write fails is refused for now, is not queued, and
// harms no other.
func TestFailingDisk(t *testing.T) {
	for _, fault := range []string{"fsync,fdatasync:error=EIO", "fsync,fdatasync:error=ENOSPC", "pwrite64:error=EIO", "pwrite64:error=ENOSPC", "pwrite64:error=EDQUOT"} {
		t.Run(fault, func(t *testing.T) {
			i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
			i.Start()
			if reply := sendOne(t, i, "before"); !strings.HasPrefix(reply, "250") {
				t.Fatalf("before the fault: %s", reply)
			}
			i.WaitSettled()
			stop := inject(t, i, program(i, "cleanup"), fault)
			for range 3 {
				if reply := sendOne(t, i, "during"); reply[0] != '4' {
					t.Errorf("a message that was not stored got %s", reply)
				}
			}
			stop()
			if reply := sendOne(t, i, "after"); !strings.HasPrefix(reply, "250") {
				t.Errorf("after the fault: %s", reply)
			}
			i.WaitSettled()
			if n := messages(t, i); n != 2 {
				t.Errorf("%d messages were delivered, want the two that got 250", n)
			}
		})
	}
}

// A full disk refuses mail for now, and takes it again when there is room.
func TestFullDisk(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF + "message_size_limit = 1000000\n"})
	queue := i.Host("queue")
	if err := syscall.Mount("none", queue, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		harness.Skip(t, "a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(queue, syscall.MNT_DETACH) })
	i.QueueDirs()
	i.Start()
	if reply := sendOne(t, i, "before"); !strings.HasPrefix(reply, "250") {
		t.Fatalf("before the disk was full: %s", reply)
	}
	i.WaitSettled()
	filler := queue + "/filler"
	exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=64k").Run()
	if reply := sendOne(t, i, "during"); reply[0] != '4' {
		t.Errorf("a full disk takes mail: %s", reply)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	var reply string
	i.Until("mail is taken again", func() bool {
		reply = sendOne(t, i, "after")
		return strings.HasPrefix(reply, "250")
	})
	i.WaitSettled()
	if n := messages(t, i); n != 2 {
		t.Errorf("%d messages were delivered, want the two that got 250", n)
	}
	i.Stop()
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
