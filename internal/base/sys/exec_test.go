package sys

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func run(t *testing.T, c *Command) *Exit {
	t.Helper()
	if c.Env == nil {
		c.Env = []string{"PATH=/usr/bin:/bin"}
	}
	c.Owner = Owner{UID: os.Geteuid(), GID: os.Getegid()}
	e, err := c.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRun(t *testing.T) {
	e := run(t, &Command{
		Argv:  []string{"cat"},
		Stdin: func(w io.Writer) error { _, err := io.WriteString(w, "hello"); return err },
	})
	if !e.OK() || e.Output != "hello" || e.Input != nil {
		t.Errorf("cat: %+v", e)
	}
	if e = run(t, &Command{Shell: "echo out; echo err >&2; exit 75"}); e.Status != 75 || e.Output != "out\nerr\n" {
		t.Errorf("status: %+v", e)
	}
	if e = run(t, &Command{Shell: "kill -TERM $$"}); e.Signal != syscall.SIGTERM || e.OK() {
		t.Errorf("signal: %+v", e)
	}
	e = run(t, &Command{Shell: "/usr/bin/env", Env: []string{"A=b"}})
	if e.Output != "A=b\n" {
		t.Errorf("environment: %q", e.Output)
	}
	if e = run(t, &Command{Shell: "yes | head -c 100000", MaxOutput: 10}); len(e.Output) != 10 || !e.OK() {
		t.Errorf("long output: %+v", e)
	}
	e = run(t, &Command{Shell: "ls /proc/self/fd | tr '\\n' ' '"})
	if e.Output != "0 1 2 3 " { // 3 is the directory that ls reads
		t.Errorf("descriptors: %q", e.Output)
	}
}

// A command that does not read its input is no failure.
func TestRunInputUnread(t *testing.T) {
	e := run(t, &Command{Argv: []string{"true"}, Stdin: func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}})
	if !e.OK() || e.Input != nil {
		t.Errorf("got %+v", e)
	}
	want := errors.New("cannot read")
	if e = run(t, &Command{Argv: []string{"cat"}, Stdin: func(io.Writer) error { return want }}); !errors.Is(e.Input, want) {
		t.Errorf("got %+v", e)
	}
}

// The time limit ends the command with all of its children.
func TestRunTimeLimit(t *testing.T) {
	start := time.Now()
	e := run(t, &Command{Shell: "sleep 60 & sleep 60; echo no", TimeLimit: 50 * time.Millisecond})
	if !e.TimedOut || e.OK() || time.Since(start) > 20*time.Second {
		t.Errorf("got %+v after %v", e, time.Since(start))
	}
}

func TestRunErrors(t *testing.T) {
	for _, c := range []*Command{{}, {Argv: []string{"no-such-program"}}, {Argv: []string{"/no/such/program"}}} {
		c.Env = []string{"PATH=/usr/bin:/bin"}
		if e, err := c.Run(context.Background()); err == nil {
			t.Errorf("%v: got %+v", c.Argv, e)
		}
	}
	c := &Command{Argv: []string{"x"}}
	if _, err := c.Run(context.Background()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func TestShellArgv(t *testing.T) {
	tests := []struct{ line, shell, want string }{
		{"/usr/bin/procmail -a b", "", "/usr/bin/procmail|-a|b"},
		{"cat > /x", "", "/bin/sh|-c|cat > /x"},
		{"exec /x", "", "/bin/sh|-c|exec /x"},
		{"A=b c", "", "/bin/sh|-c|A=b c"},
		{"a b", "/bin/smrsh -c", "/bin/smrsh|-c|a b"},
	}
	for _, tt := range tests {
		if got := strings.Join(shellArgv(tt.line, tt.shell), "|"); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

func TestAs(t *testing.T) {
	want := errors.New("result")
	if err := As(Owner{UID: os.Geteuid(), GID: os.Getegid()}, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: credentials cannot be changed")
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "file")
	err := As(Owner{UID: 12345, GID: 23456, Groups: []int{34567}}, func() error {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		status, err := os.ReadFile("/proc/thread-self/status")
		if err != nil {
			return err
		}
		for _, line := range []string{"Uid:\t0\t12345\t0\t12345\n", "Gid:\t0\t23456\t0\t23456\n", "Groups:\t23456 34567", "CapEff:\t0000000000000000\n"} {
			if !strings.Contains(string(status), line) {
				t.Errorf("%q not in\n%s", line, status)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := st.Sys().(*syscall.Stat_t); s.Uid != 12345 || s.Gid != 23456 {
		t.Errorf("owner %d:%d", s.Uid, s.Gid)
	}
	if os.Geteuid() != 0 || os.WriteFile(filepath.Join(dir, "root"), nil, 0o600) != nil {
		t.Error("the process lost its privileges")
	}
}

func TestAsPanic(t *testing.T) {
	defer func() {
		if p := recover(); p == nil {
			t.Error("no panic")
		}
	}()
	As(Owner{UID: 1, GID: 1}, func() error { panic("x") })
}
