package crash

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"postern/test/harness"
)

// Every message that was acknowledged before the power went is there when it
// is back: the file system forgets what was not synced, and the journal of new
// messages restores it.
func TestPowerCut(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		harness.Skip(t, "mkfs.ext4 (package e2fsprogs) is not installed")
	}
	for _, setting := range []string{"yes", "no"} {
		t.Run("queue_journal="+setting, func(t *testing.T) {
			t.Parallel()
			powerCut(t, setting)
		})
	}
}

func powerCut(t *testing.T, journal string) {
	disk := harness.Disk{Image: filepath.Join(t.TempDir(), "disk"), Size: 256 << 20}
	config := harness.Config{Main: mainCF + "queue_journal = " + journal + "\n", Place: func(dir string) error {
		if err := disk.Make(dir); err != nil {
			harness.Forbidden(t, "a file system of its own cannot be mounted: %v", err)
		}
		return nil
	}}
	i := harness.New(t, harness.Postern, config)
	t.Cleanup(func() { i.Stop(); disk.Unmount() })
	i.Start()
	acked := floodUntil(t, i, 1500)
	if err := disk.Cut(); err != nil {
		harness.Forbidden(t, "the power of a file system cannot be cut: %v", err)
	}
	i.KillAll()
	i.Until("nobody uses the file system", func() bool { return disk.Unmount() == nil })
	if err := disk.Return(i.Host("")); err != nil {
		t.Fatal(err)
	}
	anotherRun(t, i)
	config.Main = strings.Replace(config.Main, "{slow.example=retry:4.4.4 not now}", "", 1)
	i.WriteConfig(config)
	i.Start()
	i.Until("the queue is empty", func() bool {
		i.Run("", "postqueue", "-f")
		return empty(i) && empty(i)
	})
	found := map[string]int{}
	for _, user := range []string{"alice", "bob"} {
		files, _ := filepath.Glob(i.Host("mail/" + user + "/new/*"))
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				found[string(bytes.TrimSpace(tokens.Find(b)))]++
			}
		}
	}
	lost, twice := 0, 0
	for _, token := range acked {
		switch n := found[token]; {
		case n == 0:
			lost++
			t.Errorf("%s was acknowledged and is gone", token)
		case n > 1:
			twice++
		}
	}
	restored := strings.Count(i.Log(), "restored from the journal")
	t.Logf("%d messages acknowledged before the power cut: %d lost, %d twice, %d restored from the journal", len(acked), lost, twice, restored)
	if journal == "yes" && restored == 0 {
		t.Error("nothing had to be restored: the test shows nothing")
	}
}

// floodUntil sends small messages, half of which wait in the queue, until n are
// acknowledged, and returns these.
func floodUntil(t *testing.T, i *harness.Instance, n int64) (acked []string) {
	var mu sync.Mutex
	var count atomic.Int64
	var clients sync.WaitGroup
	for c := range 20 {
		clients.Go(func() {
			s, err := harness.Open(i.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for k := 0; count.Load() < n; k++ {
				token := fmt.Sprintf("token-%d-end", c*1000000+k)
				rcpt := [...]string{"alice@example.com", "slow@example.com"}[k%2]
				for _, line := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<" + rcpt + ">", "DATA",
					"Subject: " + token + "\r\n\r\n" + strings.Repeat("text\r\n", 500) + "."} {
					reply, err := s.Say(line)
					if err != nil || reply[0] > '3' {
						t.Errorf("%.40s: %s %v", line, reply, err)
						return
					}
				}
				mu.Lock()
				acked = append(acked, token)
				mu.Unlock()
				count.Add(1)
			}
		})
	}
	clients.Wait()
	return acked
}

// anotherRun makes the journal one that an earlier run of the machine has
// written, which the kernel's name for the run tells.
func anotherRun(t *testing.T, i *harness.Instance) {
	run, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		harness.Forbidden(t, "the kernel does not name its run: %v", err)
	}
	files, _ := filepath.Glob(i.Host("queue/journal/new.*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Replace(b, bytes.TrimSpace(run), []byte("00000000-0000-0000-0000-000000000000"), 1)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// "postfix stop" leaves no journal: whoever takes the queue over has it whole
// in its files.
func TestStopEmptiesTheJournal(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
	i.Start()
	floodUntil(t, i, 50)
	if files, _ := filepath.Glob(i.Host("queue/journal/new.*")); len(files) == 0 {
		t.Error("nothing went to the journal: the test shows nothing")
	}
	i.Stop()
	if files, _ := filepath.Glob(i.Host("queue/journal/new.*")); len(files) > 0 {
		t.Errorf("%v are left", files)
	}
	if n := i.Count("incoming") + i.Count("active") + i.Count("deferred"); n == 0 {
		t.Error("no message is in the queue: the test shows nothing")
	}
}
