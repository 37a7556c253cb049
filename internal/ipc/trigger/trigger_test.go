package trigger

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestSendSocket(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "public"), 0o700)
	l, err := net.Listen("unix", filepath.Join(dir, "public", "pickup"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		got <- string(b)
	}()
	if err := Send(dir, "public", "pickup", Wakeup, time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "W" {
		t.Errorf("got %q", s)
	}
	if err := Send(dir, "public", "missing", Wakeup, time.Minute); err == nil {
		t.Error("missing service: no error")
	}
}

func TestSendFIFO(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "public"), 0o700)
	path := filepath.Join(dir, "public", "qmgr")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Send(dir, "public", "qmgr", Wakeup, time.Minute); err == nil {
		t.Error("nobody reads: no error")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Send(dir, "public", "qmgr", FlushDead, time.Minute); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if n, _ := f.Read(b); string(b[:n]) != "F" {
		t.Errorf("got %q", b[:n])
	}
}
