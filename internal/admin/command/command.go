// Package command is how a command of the administrator or of a user starts:
// its streams, its options, its configuration and its log.
//
// A command returns an exit status and never ends the process itself.
package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

// DefaultConfigDirectory is where main.cf is unless -c or MAIL_CONFIG says
// otherwise.
const DefaultConfigDirectory = "/etc/postfix"

// Exit statuses of sysexits.h.
const (
	OK          = 0
	Failure     = 1
	Usage       = 64
	DataErr     = 65
	NoUser      = 67
	Unavailable = 69
	Software    = 70
	OSErr       = 71
	TempFail    = 75
	Config      = 78
)

// A Command is what a command knows of its run.
type Command struct {
	Name   string
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Main   *maincf.Config
	Common param.Common
	Log    *maillog.Logger

	verbose  int
	unlogged bool
	set      *param.Set
}

// New returns the command called name. Its log goes to standard error until
// the configuration is loaded.
func New(name string, stdin io.Reader, stdout, stderr io.Writer) *Command {
	c := &Command{Name: name, In: stdin, Out: stdout, Err: stderr}
	c.Log = maillog.New(maillog.NewStream(stderr, maillog.Command, maillog.Text, ""), name)
	return c
}

// Verbose makes the log speak more, one step per call (-v).
func (c *Command) Verbose() {
	c.verbose++
	c.Log = c.Log.WithVerbose(c.verbose)
}

// Verbosity returns how often Verbose was called.
func (c *Command) Verbosity() int { return c.verbose }

// ConfigDirectory returns option, or MAIL_CONFIG, or the default.
func ConfigDirectory(option string) string {
	if option != "" {
		return option
	}
	if dir := os.Getenv("MAIL_CONFIG"); dir != "" {
		return dir
	}
	return DefaultConfigDirectory
}

// ErrUnauthorized says that a program that runs with privileges of its own was
// given a configuration that its default configuration does not list.
var ErrUnauthorized = errors.New("configuration directory is not authorized")

// Load reads main.cf from dir, the parameters of every program and those that
// params declare, and opens the log.
func (c *Command) Load(dir string, params ...func(*param.Set)) error {
	if SetID() && os.Getuid() != 0 {
		if err := Authorize(dir); err != nil {
			return err
		}
	}
	main, err := maincf.Load(dir)
	if err != nil {
		return err
	}
	c.Main = main.Override("config_directory", dir, "option -c or MAIL_CONFIG").
		Override("process_name", c.Name, "the program")
	c.set = param.NewSet()
	c.Common.Params(c.set)
	for _, p := range params {
		p(c.set)
	}
	if err := c.set.Load(c.Main); err != nil {
		return err
	}
	c.openLog()
	return nil
}

// Settings returns what looks up the expanded values of names that main.cf sets.
func (c *Command) Settings() func(name string) (value string, ok bool) { return c.set.Settings(c.Main) }

// openLog logs to standard error and to the log of the mail system. Where the
// latter is not there a command does its work all the same, without waiting.
func (c *Command) openLog() {
	if c.unlogged {
		return
	}
	socket := maillog.DevLog
	if c.Common.MaillogFile != "" {
		socket = filepath.Join(c.Common.QueueDirectory, "public", c.Common.PostlogServiceName)
	}
	if _, err := os.Stat(socket); err != nil && (c.Common.MaillogFile == "" || os.Geteuid() != 0) {
		return
	}
	sink, err := maillog.Open(maillog.Config{
		File:     c.Common.MaillogFile,
		Socket:   socket,
		Facility: c.Common.SyslogFacility,
		Format:   c.Common.MaillogFormat,
		Host:     c.Common.MyHostname,
		Direct:   os.Geteuid() == 0,
	})
	if err != nil {
		return
	}
	terminal := maillog.NewStream(c.Err, maillog.Command, maillog.Text, "")
	tag := c.Common.SyslogName + "/" + c.Name
	c.Log = maillog.New(maillog.Tee(named{terminal, c.Name}, sink), tag).WithVerbose(c.verbose)
}

// Unlogged keeps what the command says out of the log of the mail system.
// Postfix: so do the commands that neither change the queue nor send mail.
func (c *Command) Unlogged() { c.unlogged = true }

// named gives lines on standard error the command's bare name.
type named struct {
	maillog.Sink
	tag string
}

func (n named) Write(level maillog.Level, _ string, pid int, text string, e maillog.Event) {
	n.Sink.Write(level, n.tag, pid, text, e)
}

// logLimit is how long a command waits for its log at the end: on a busy machine the
// process has to get its turn for that. Nothing waits where the log takes lines.
const logLimit = time.Second

// Fail logs why the command ends and returns status.
func (c *Command) Fail(status int, format string, args ...any) int {
	c.Log.Fatalf(format, args...)
	return c.Done(status)
}

// Done writes out the log and returns status.
func (c *Command) Done(status int) int {
	c.Log.Flush(logLimit)
	return status
}

// Usage prints how the command is used and returns the status of that mistake.
func (c *Command) Usage(status int, usage string) int {
	return c.Fail(status, "usage: %s %s", c.Name, usage)
}

// Authorize says whether dir is the default directory for configurations, or one
// that the main.cf there lists.
func Authorize(dir string) error {
	if filepath.Clean(dir) == DefaultConfigDirectory {
		return nil
	}
	main, err := maincf.Load(DefaultConfigDirectory)
	if err != nil {
		return err
	}
	var alternate, multi string
	set := param.NewSet()
	set.Str(&alternate, "alternate_config_directories", "")
	set.Str(&multi, "multi_instance_directories", "")
	if err := set.Load(main); err != nil {
		return err
	}
	if slices.Contains(append(param.Split(alternate), param.Split(multi)...), dir) {
		return nil
	}
	return fmt.Errorf("%w: %s is not in alternate_config_directories or multi_instance_directories of %s/main.cf",
		ErrUnauthorized, dir, DefaultConfigDirectory)
}
