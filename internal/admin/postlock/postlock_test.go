package postlock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/base/sys"
)

func postlock(t *testing.T, args ...string) (int, string) {
	t.Helper()
	dir := t.TempDir()
	conf := "maillog_file = /nowhere\nqueue_directory = " + dir + "\ndeliver_lock_attempts = 1\n"
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	return Main(append([]string{"postlock", "-c", dir}, args...), nil, &stderr, &stderr), stderr.String()
}

func TestPostlock(t *testing.T) {
	box := filepath.Join(t.TempDir(), "box")
	if status, text := postlock(t, box, "sh", "-c", `test -f "$0.lock" && exit 7`, box); status != 7 {
		t.Errorf("status %d: %s", status, text)
	}
	if _, err := os.Stat(box + ".lock"); err == nil {
		t.Error("the lock file stays")
	}
	if status, text := postlock(t, "-l", "flock", box, "sh", "-c", `test ! -f "$0.lock"`, box); status != 0 {
		t.Errorf("-l flock: status %d: %s", status, text)
	}
	status, text := postlock(t, "-l", "flock", box, "/nonesuch")
	if status != 1 || text != "postlock: fatal: execvp /nonesuch: No such file or directory\n" {
		t.Errorf("a command that is not there: status %d: %s", status, text)
	}
	f, err := os.OpenFile(box, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sys.OFDLock(f, true); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{box, "true"}, {box}, {"-l", "nonesuch", box, "true"}, {"-x"}} {
		if status, text := postlock(t, args...); status != 75 || !strings.Contains(text, "postlock: fatal: ") {
			t.Errorf("%q: status %d: %s", args, status, text)
		}
	}
}
