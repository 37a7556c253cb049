// Package postkick is the command postkick: it sends a request to the trigger
// socket of a service.
package postkick

import (
	"io"

	"postern/internal/admin/command"
	"postern/internal/ipc/trigger"
)

const usage = "[-c config_dir] [-v] class service request"

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := command.New("postkick", stdin, stdout, stderr)
	var dir string
	rest, err := command.Getopt(args[1:], "c:v", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'v':
			c.Verbose()
		}
		return nil
	})
	if err != nil || len(rest) != 3 {
		command.Complain(stderr, "postkick", err)
		return c.Usage(command.Failure, usage)
	}
	c.Unlogged()
	if err := c.Load(command.ConfigDirectory(dir)); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	class, service, request := rest[0], rest[1], rest[2]
	if class != "public" && class != "private" {
		return c.Fail(command.Failure, "bad class %.100q: want public or private", class)
	}
	err = trigger.Send(c.Common.QueueDirectory, class, service, request, c.Common.ApplicationEventDrainTime)
	if err != nil {
		c.Log.Debugf("%v", err)
		return c.Fail(command.Failure, "Cannot contact class %s service %s - perhaps the mail system is down", class, service)
	}
	return c.Done(command.OK)
}
