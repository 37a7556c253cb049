package sys

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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
	w, err := WatchFiles([]string{filepath.Join(dir, "live/key"), filepath.Join(dir, "missing/x"), filepath.Join(dir, "late")})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	changed := func() bool {
		for range 50 {
			if w.Changed(0) {
				return true
			}
			time.Sleep(time.Millisecond)
		}
		return false
	}
	if w.Changed(0) {
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
		w.Changed(0)
	}
	write("late")
	time.Sleep(5 * time.Millisecond)
	if w.Changed(time.Hour) {
		t.Error("told before it has settled")
	}
}
