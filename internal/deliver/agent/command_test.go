package agent

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"postern/internal/base/sys"
	"postern/internal/mail/dsn"
	"postern/internal/mail/mailbox"
)

func TestCommandResult(t *testing.T) {
	tests := []struct {
		exit   *sys.Exit
		err    error
		status dsn.Status
		reason string
		diag   string
	}{
		{&sys.Exit{Output: "done\n"}, nil, "2.0.0", "done ", ""},
		{&sys.Exit{Status: 75}, nil, "4.3.0", "temporary failure", "temporary failure"},
		{&sys.Exit{Status: 67, Output: "no such\nuser\n"}, nil, "5.1.1", "user unknown. Command output: no such user ", "no such user "},
		{&sys.Exit{Status: 75, Output: "5.2.2 mailbox is full"}, nil, "5.2.2", "mailbox is full", "mailbox is full"},
		{&sys.Exit{Status: 1, Output: "4.2.1 busy"}, nil, "4.2.1", "busy", "busy"},
		{&sys.Exit{Status: 1}, nil, "5.3.0", `Command died with status 1: "cmd"`, "internal software error"},
		{&sys.Exit{Status: 127, Output: "x"}, nil, "5.3.0", `Command died with status 127: "cmd". Command output: x`, "x"},
		{&sys.Exit{Signal: syscall.SIGSEGV}, nil, "4.3.0", `Command died with signal 11: "cmd"`, "internal software error"},
		{&sys.Exit{TimedOut: true, Signal: syscall.SIGKILL}, nil, "5.3.0", `Command time limit exceeded: "cmd"`, "internal software error"},
		{&sys.Exit{Input: &mailbox.ReadError{Err: syscall.EIO}}, nil, "4.3.0", "Command failed: error reading message: input/output error", ""},
		{nil, errors.New("run cmd: permission denied"), "4.3.0", "Command failed: run cmd: permission denied", ""},
	}
	for _, tt := range tests {
		got, ok := CommandResult("cmd", tt.exit, tt.err)
		if got.Status != tt.status || got.Reason != tt.reason || got.DiagText != tt.diag || ok != (tt.status == "2.0.0") {
			t.Errorf("%+v, %v: got %+v, %v; want %+v", tt.exit, tt.err, got, ok, tt)
		}
	}
}

func TestExported(t *testing.T) {
	t.Setenv("POSTERN_TEST_A", "1")
	os.Unsetenv("POSTERN_TEST_B")
	got := Exported("POSTERN_TEST_A POSTERN_TEST_B, C=d { E=f g }")
	if len(got) != 3 || got[0] != "POSTERN_TEST_A=1" || got[1] != "C=d" || got[2] != "E=f g" {
		t.Errorf("got %q", got)
	}
}
