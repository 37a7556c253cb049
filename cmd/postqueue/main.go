// Postqueue lists the mail queue and asks for deliveries. It is set-gid, so
// that every user's request reaches the sockets of the mail system; the extra
// group goes away as soon as it is connected.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"postern/internal/admin/command"
)

const usage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

// failure is how every refusal ends. Postfix: whatever the reason is.
const failure = command.Unavailable

func main() {
	if err := command.Secure(); err != nil {
		os.Stderr.WriteString("postqueue: fatal: " + err.Error() + "\n")
		os.Exit(failure)
	}
	os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// A postqueue is one run of the command.
type postqueue struct {
	*command.Command
	command.QueueAccess
	uid int
}

// request is what the options ask for; exactly one thing.
type request struct {
	option byte // 'f', 'i', 'j', 'p' or 's'; 0 is nothing
	arg    string
}

var errUsage = errors.New(usage)

// Main runs the command and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &postqueue{Command: command.New("postqueue", stdin, stdout, stderr), uid: os.Getuid()}
	dir := ""
	var r request
	rest, err := command.Getopt(args[1:], "c:fi:jps:v", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'v':
			if p.uid == 0 {
				p.Verbose()
			}
		default:
			if r.option != 0 {
				return errUsage
			}
			r = request{option, arg}
		}
		return nil
	})
	if err != nil || len(rest) > 0 || r.option == 0 {
		command.Complain(stderr, "postqueue", err)
		return p.Fail(failure, usage)
	}
	if err := p.Load(command.ConfigDirectory(dir), p.QueueAccess.Params); err != nil {
		return p.Fail(failure, "%v", err)
	}
	if err := os.Chdir(p.Common.QueueDirectory); err != nil {
		return p.Fail(failure, "%v", err)
	}
	signal.Ignore(syscall.SIGPIPE)
	if err := p.run(r); err != nil {
		return p.Fail(failure, "%v", err)
	}
	return p.Done(command.OK)
}

func (p *postqueue) run(r request) error {
	switch r.option {
	case 'j', 'p':
		if err := p.authorize("authorized_mailq_users", p.MailqUsers, "view"); err != nil {
			return err
		}
		return p.list(r.option == 'j')
	}
	if err := p.authorize("authorized_flush_users", p.FlushUsers, "flush"); err != nil {
		return err
	}
	switch r.option {
	case 'f':
		return p.flushAll()
	case 'i':
		return p.flushMessage(r.arg)
	}
	return p.flushSite(r.arg)
}

// authorize refuses a user who may not view or flush the queue. Root and the
// owner of the mail system may.
func (p *postqueue) authorize(title, list, what string) error {
	if p.uid == 0 {
		return nil
	}
	user, ok, err := p.Authorized(title, list, p.uid)
	if err != nil {
		return err
	}
	if !ok && user != p.Common.MailOwner {
		return fmt.Errorf("User %s(%d) is not allowed to %s the mail queue", user, p.uid, what)
	}
	return nil
}
