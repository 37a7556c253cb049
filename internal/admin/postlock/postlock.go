// Package postlock is the command postlock: it runs a command while a mailbox
// file is locked in the way of the local delivery agent.
package postlock

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"postern/internal/admin/command"
	"postern/internal/base/errno"
	"postern/internal/config/param"
	"postern/internal/mail/mailbox"
)

const usage = "[-c config_dir] [-l lock_style] [-v] folder command..."

// lockParameter is the parameter that says how to lock.
const lockParameter = "mailbox_delivery_lock"

// Params names the main.cf parameter that postlock reads.
func Params(s *param.Set) { declare(new(string))(s) }

func declare(methods *string) func(*param.Set) {
	return func(s *param.Set) { s.Str(methods, lockParameter, "fcntl, dotlock", param.MinLen(1)) }
}

// Main runs the command with args, its name first, and returns its exit
// status: that of the command that it ran, or command.TempFail.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("postlock", stdin, stdout, stderr)
	var dir, style string
	rest, err := command.Getopt(args[1:], "c:l:v", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'l':
			style = arg
		case 'v':
			c.Verbose()
		}
		return nil
	})
	if err != nil || len(rest) < 2 {
		command.Complain(stderr, "postlock", err)
		return c.Usage(command.TempFail, usage)
	}
	c.Unlogged()
	var methods string
	if err := c.Load(command.ConfigDirectory(dir), declare(&methods)); err != nil {
		return c.Fail(command.TempFail, "%v", err)
	}
	if style == "" {
		style = methods
	}
	locker := &mailbox.Locker{Attempts: c.Common.DeliverLockAttempts, Delay: c.Common.DeliverLockDelay, Stale: c.Common.StaleLockTime}
	if locker.Methods, err = mailbox.ParseMethods(lockParameter, style); err != nil {
		return c.Fail(command.TempFail, "%v", err)
	}
	unlock, err := locker.Exclude(rest[0])
	if err != nil {
		return c.Fail(command.TempFail, "lock %s: %v", rest[0], err)
	}
	defer unlock()
	return c.Done(run(c, rest[1:]))
}

// run runs the command. The signals of the terminal are its business.
func run(c *command.Command, argv []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return command.OK
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case errors.As(err, &exit):
		return command.Failure
	}
	c.Log.Fatalf("execvp %s: %s", argv[0], errno.Text(err))
	return command.Failure // Postfix: the status of the child that could not become the command
}
