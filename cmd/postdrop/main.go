// Postdrop puts a local user's message into the maildrop queue. It is the
// set-gid half of sendmail: the one program through which anybody can write to
// the queue, and so it trusts nothing that it is given.
//
// It reads the records of a message from standard input and speaks the
// protocol of package ipc/postdrop on standard output. The extra group is in
// use to the end: the file has to be removed when the caller gives up.
package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"postern/internal/admin/command"
)

const usage = "[-c config_dir] [-v]"

func main() {
	if err := command.Secure(); err != nil {
		os.Stderr.WriteString("postdrop: fatal: " + err.Error() + "\n")
		os.Exit(command.Failure)
	}
	os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// Main runs the command and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("postdrop", stdin, stdout, stderr)
	dir := ""
	rest, err := command.Getopt(args[1:], "c:rv", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'v':
			if os.Geteuid() == 0 {
				c.Verbose()
			}
		}
		return nil
	})
	if err != nil || len(rest) > 0 {
		command.Complain(stderr, "postdrop", err)
		return c.Usage(command.Failure, usage)
	}
	var config command.SubmitAccess
	if err := c.Load(command.ConfigDirectory(dir), config.Params); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	if err := os.Chdir(c.Common.QueueDirectory); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	uid := os.Getuid()
	user, ok, err := c.Authorized("authorized_submit_users", config.SubmitUsers, uid)
	if err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	if !ok {
		return c.Fail(command.Failure, "User %s(%d) is not allowed to submit mail", user, uid)
	}
	d := &drop{Command: c, config: config, uid: uid}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	go func() {
		<-stop
		d.abandon()
		os.Exit(command.Failure)
	}()
	err = d.run()
	signal.Stop(stop)
	switch {
	case errors.Is(err, errCanceled):
		return c.Done(command.OK)
	case errors.Is(err, errRefused):
		return c.Done(command.Failure)
	case err != nil:
		return c.Fail(command.Failure, "uid=%d: %v", uid, err)
	}
	return c.Done(command.OK)
}
