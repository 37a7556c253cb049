package sys

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFileWatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"live", "archive"} {
		os.Mkdir(filepath.Join(dir, d), 0o700)
	}
	write("archive/key1")
	write("archive/other")
	os.Symlink("../archive/key1", filepath.Join(dir, "live/key"))
	// Nobody but the test reads: the kernel queues an event before the call that
	// made it returns.
	w, err := newFileWatch([]string{filepath.Join(dir, "live/key"), filepath.Join(dir, "missing/x"), filepath.Join(dir, "late")})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	take := func() {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := unix.Read(int(w.f.Fd()), buf)
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		w.note(buf[:max(n, 0)])
	}
	changed := func() bool { take(); return w.Changed(0) }
	if changed() {
		t.Error("changed at once")
	}
	for _, tt := range []struct {
		name string
		act  func()
		want bool
	}{
		{"written in place", func() { write("archive/key1") }, true},
		{"the link leads elsewhere", func() {
			write("archive/key2")
			os.Symlink("../archive/key2", filepath.Join(dir, "live/new"))
			os.Rename(filepath.Join(dir, "live/new"), filepath.Join(dir, "live/key"))
		}, true},
		{"another file", func() { write("archive/other") }, false},
		{"a file that was missing", func() { write("late") }, true},
	} {
		tt.act()
		if got := changed(); got != tt.want {
			t.Errorf("%s: changed = %v", tt.name, got)
		}
		if changed() {
			t.Errorf("%s: told twice", tt.name)
		}
	}
	write("late")
	take()
	if w.Changed(time.Hour) {
		t.Error("told before it has settled")
	}
}

// A watch that is in use reads by itself, until it is closed.
func TestFileWatchReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	w, err := WatchFiles([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !w.Changed(0); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the change is not noticed")
		}
	}
}
