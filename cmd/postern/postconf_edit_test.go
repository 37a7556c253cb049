package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/test/harness"
)

// postconfProcess runs postconf as a process of its own.
func postconfProcess(t *testing.T, dir string, args ...string) (out string, status int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"-c", dir}, args...)...)
	cmd.Args[0] = "postconf"
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Ten processes that change the same files at the same time lose no change, nor
// the comments, the owner and the mode.
func TestEditByProcesses(t *testing.T) {
	dir := t.TempDir()
	main, master := filepath.Join(dir, "main.cf"), filepath.Join(dir, "master.cf")
	writeFile(t, main, "# first\nmyhostname = a.example\n# last\n")
	writeFile(t, master, "# first\nsmtp inet n - n - - smtpd\n# last\n")
	owner := 0
	if os.Geteuid() == 0 {
		owner = 2100
		if err := os.Chown(main, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			for k := range 3 {
				if out, status := postconfProcess(t, dir, "-e", fmt.Sprintf("p%d_%d=x", n, k)); status != 0 {
					t.Errorf("main.cf: status %d: %s", status, out)
				}
				if out, status := postconfProcess(t, dir, "-Pe", fmt.Sprintf("smtp/inet/p%d_%d=x", n, k)); status != 0 {
					t.Errorf("master.cf: status %d: %s", status, out)
				}
			}
		})
	}
	wg.Wait()
	mainText, masterText := readFile(t, main), readFile(t, master)
	for n := range 10 {
		for k := range 3 {
			if name := fmt.Sprintf("p%d_%d", n, k); !strings.Contains(mainText, "\n"+name+" = x\n") || !strings.Contains(masterText, "\n    -o "+name+"=x\n") {
				t.Errorf("%s is lost", name)
			}
		}
	}
	if !strings.HasPrefix(mainText, "# first\nmyhostname = a.example\n# last\n") || !strings.HasSuffix(masterText, "\n# last\n") {
		t.Errorf("comments: %s\n%s", mainText, masterText)
	}
	st, err := os.Stat(main)
	if err != nil || st.Mode().Perm() != 0o640 || owner != 0 && st.Sys().(*syscall.Stat_t).Uid != uint32(owner) {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// failedEdit edits main.cf, which must fail with a message that has all of want
// and leave everything as it was.
func failedEdit(t *testing.T, dir string, want ...string) {
	t.Helper()
	main := filepath.Join(dir, "main.cf")
	before := readFile(t, main)
	out, status := postconfProcess(t, dir, "-e", "smtpd_banner="+strings.Repeat("x", 8192))
	if status == 0 {
		t.Errorf("the edit has not failed: %s", out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("got %q, want %q in it", out, w)
		}
	}
	if readFile(t, main) != before {
		t.Error("main.cf has changed")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

func TestEditInReadOnlyDirectory(t *testing.T) {
	dir, want := t.TempDir(), "Permission denied"
	main := filepath.Join(dir, "main.cf")
	if os.Geteuid() == 0 { // modes do not stop root
		want = "Read-only file system"
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
			harness.Forbidden(t, "mount: %v", err)
		}
		defer syscall.Unmount(dir, 0)
	}
	writeFile(t, main, "myhostname = a.example\n")
	if os.Geteuid() == 0 {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	failedEdit(t, dir, main+".tmp", want)
}

// A full disk is seen before main.cf is touched.
func TestEditOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		harness.Skip(t, "a small file system can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=16k,mode=755"); err != nil {
		harness.Forbidden(t, "mount: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	writeFile(t, filepath.Join(dir, "main.cf"), "myhostname = a.example\n# "+strings.Repeat("c", 7000)+"\n")
	failedEdit(t, dir, "main.cf.tmp", "no space left on device")
	// With room again it works, and nothing of the failed one is left.
	if out, status := postconfProcess(t, dir, "-e", "myhostname=b.example"); status != 0 {
		t.Errorf("status %d: %s", status, out)
	}
}

// Files that are none make one message with file and line, and are not changed.
func TestEditOfJunk(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a = b\n\x7fELF\x02\x01\x01\x00\x00\x00 junk\n", "main.cf, line 2: "},
		{"a = b\nc = " + strings.Repeat("x", 10<<20) + "\n", "main.cf, line 2: line is longer than"},
		{"a = b\n\nnonsense\n", "main.cf, line 3: missing '=' after attribute name: \"nonsense\""},
		{"r1 = $r2\nr2 = $r3\nr3 = $r4\nr4 = $r5\nr5 = $r1\nmyorigin = $r1\n", "main.cf, line 6: parameter myorigin: unreasonable macro call nesting: $r1 refers to $r2 refers to $r3 refers to $r4 refers to $r5 refers to $r1"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "main.cf"), tt.text)
		writeFile(t, filepath.Join(dir, "master.cf"), "")
		out, status := postconfProcess(t, dir, "-x", "myorigin")
		if status != 1 || !strings.Contains(out, dir+"/"+tt.want) || len(out) > 1000 || strings.Count(out, "fatal: ") != 1 {
			t.Errorf("%.40q: status %d, %.300q, want %q", tt.text, status, out, tt.want)
		}
		if readFile(t, filepath.Join(dir, "main.cf")) != tt.text {
			t.Errorf("%.40q: changed", tt.text)
		}
	}
}
