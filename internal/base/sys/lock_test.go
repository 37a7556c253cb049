package sys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestLocksExclude(t *testing.T) {
	for name, lock := range map[string]func(*os.File, bool) error{"flock": Flock, "ofd": OFDLock} {
		path := filepath.Join(t.TempDir(), "file")
		open := func() *os.File {
			f, err := OpenPIDFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		a, b := open(), open()
		if err := lock(a, true); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := lock(b, true); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: second lock: %v", name, err)
		}
		if err := lock(b, false); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: shared lock beside an exclusive one: %v", name, err)
		}
		a.Close()
		if err := lock(b, true); err != nil {
			t.Errorf("%s: after the first has gone: %v", name, err)
		}
		b.Close()
	}
}

func TestWaitLock(t *testing.T) {
	stop := make(chan struct{})
	tries := 0
	err := WaitLock(stop, func() error {
		if tries++; tries < 3 {
			return fmt.Errorf("x: %w", ErrLocked)
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	close(stop)
	if err := WaitLock(stop, func() error { return ErrLocked }); !errors.Is(err, ErrLocked) {
		t.Errorf("stopped: %v", err)
	}
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.pid")
	if err := os.WriteFile(path, []byte("something that was here before, and longer than a number is\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenPIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WritePID(f); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if want := fmt.Sprintf("%32d\n", os.Getpid()); err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPIDFile(link); err == nil {
		t.Error("a link is followed")
	}
}

func TestReadable(t *testing.T) {
	a, b, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(a), "a"), os.NewFile(uintptr(b), "b")
	defer near.Close()
	defer far.Close()
	if ready, err := Readable([]int{a}, 0); err != nil || len(ready) != 0 {
		t.Errorf("before: %v, %v", ready, err)
	}
	far.Write([]byte("x"))
	if ready, err := Readable([]int{a}, 10000); err != nil || len(ready) != 1 || ready[0] != a {
		t.Errorf("after: %v, %v", ready, err)
	}
}

func TestListeners(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string, uint32) (*Listener, error){ListenUnix, ListenUnixgram, ListenFIFO} {
		l, err := open(path, 0o622)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o622 {
			t.Errorf("%v, %v", st, err)
		}
		l.Close()
	}
	if _, err := ListenUnix(filepath.Join(dir, "missing", "s"), 0o600); err == nil {
		t.Error("a socket in a directory that does not exist")
	}
}
