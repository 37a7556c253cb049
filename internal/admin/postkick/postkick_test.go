package postkick

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPostkick(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "public"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := "maillog_file = /nowhere\nqueue_directory = " + dir + "\n"
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var stderr strings.Builder
		return Main(append([]string{"postkick", "-c", dir}, args...), nil, &stderr, &stderr), stderr.String()
	}
	l, err := net.Listen("unix", filepath.Join(dir, "public/qmgr"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			b, _ := io.ReadAll(c)
			got <- string(b)
		}
	}()
	if status, text := run("public", "qmgr", "WD"); status != 0 {
		t.Fatalf("status %d: %s", status, text)
	}
	if s := <-got; s != "WD" {
		t.Errorf("got %q", s)
	}
	status, text := run("public", "nonesuch", "W")
	if want := "postkick: fatal: Cannot contact class public service nonesuch - perhaps the mail system is down\n"; status != 1 || text != want {
		t.Errorf("%d, %q", status, text)
	}
	for _, args := range [][]string{{}, {"public", "qmgr"}, {"other", "qmgr", "W"}, {"-x"}} {
		if status, _ := run(args...); status != 1 {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
