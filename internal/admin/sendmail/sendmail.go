// Package sendmail is the command that programs use to send mail, by its
// traditional options: it turns standard input into the records of a message
// and hands them to postdrop, the set-gid program that writes to maildrop.
// Called as mailq or newaliases, or with the options for it, it runs the
// command that does the work.
//
// It has no privileges of its own and holds no more than a line of the message
// in memory.
package sendmail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"postern/internal/admin/command"
	"postern/internal/config/param"
)

// Config holds the parameters of sendmail.
type Config struct {
	AliasDatabase  string // alias_database
	FixLineEndings string // sendmail_fix_line_endings: always, strict, never
	SubmitUsers    string // authorized_submit_users
	HeaderLimit    int    // header_size_limit
}

// Params names the main.cf parameters that sendmail reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.AliasDatabase, "alias_database", "$default_database_type:/etc/aliases")
	s.Str(&c.FixLineEndings, "sendmail_fix_line_endings", "always", param.MinLen(1))
	s.Str(&c.SubmitUsers, "authorized_submit_users", "static:anyone")
	s.Int(&c.HeaderLimit, "header_size_limit", 102400, param.Min(1))
}

// failure is how every refusal ends. Postfix: whatever the reason is, so that
// programs keep the message and try again.
const failure = command.TempFail

// A sender is one run of the command.
type sendmail struct {
	*command.Command
	Config
	opt options
	dir string // configuration directory
	uid int
}

// Main runs the command and returns its exit status. args[0] is the name that
// it was called by: sendmail, mailq or newaliases.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	s := &sendmail{Command: command.New(name, stdin, stdout, stderr), uid: os.Getuid()}
	option := configOption(args[1:])
	if option != "" && s.uid != 0 {
		// Postfix: an option, other than the environment, may come from a program
		// that acts for somebody else.
		if err := command.Authorize(option); err != nil {
			return s.Fail(failure, "%v", err)
		}
	}
	s.dir = command.ConfigDirectory(option)
	if err := s.Load(s.dir, s.Config.Params); err != nil {
		return s.Fail(failure, "%v", err)
	}
	p := &parser{
		options:       options{mode: modeOf(name), dotEnds: true},
		warn:          s.Log.Warningf,
		verpDefault:   s.Common.DefaultVerpDelimiters,
		verpPermitted: s.Common.VerpDelimiterFilter,
	}
	if err := p.parse(args[1:]); err != nil {
		var unknown *command.OptionError
		if errors.As(err, &unknown) {
			fmt.Fprintf(stderr, "%s: %v\n", name, err)
			return s.Usage(failure, "[options]")
		}
		return s.Fail(failure, "%v", err)
	}
	s.opt = p.options
	for range s.opt.verbose {
		s.Verbose()
	}
	signal.Ignore(syscall.SIGPIPE)
	return s.run()
}

// configOption finds -C before the options are understood, because main.cf
// says what some of them mean.
func configOption(args []string) string {
	dir := ""
	o := command.Options{Args: args, Spec: optionSpec}
	for {
		if !o.InGroup() && len(o.Args) > 0 && o.Args[0] == "-q" {
			o.Args = o.Args[1:]
			continue
		}
		option, arg, err := o.Next()
		if err != nil || option == 0 {
			return dir
		}
		if option == 'C' {
			if dir = arg; filepath.Base(arg) == "main.cf" {
				dir = filepath.Dir(arg)
			}
		}
	}
}

func (s *sendmail) run() int {
	switch s.opt.mode {
	case ignore:
		return s.Done(command.OK)
	case listQueue:
		return s.replace(s.Common.CommandDirectory, "postqueue", "-p")
	case flushQueue:
		return s.replace(s.Common.CommandDirectory, "postqueue", "-f")
	case daemon:
		return s.replace(s.Common.CommandDirectory, "postfix", "start")
	case standAlone:
		return s.replace(s.Common.DaemonDirectory, "smtpd", "-S")
	case newAliases:
		return s.newAliases()
	}
	switch {
	case s.opt.site != "":
		return s.replace(s.Common.CommandDirectory, "postqueue", "-s", s.opt.site)
	case s.opt.id != "":
		return s.replace(s.Common.CommandDirectory, "postqueue", "-i", s.opt.id)
	}
	if err := s.submit(); err != nil {
		return s.Fail(failure, "%v", err)
	}
	return s.Done(command.OK)
}

func (s *sendmail) newAliases() int {
	list := s.opt.aliases
	if list == "" {
		list = s.AliasDatabase
	}
	files := param.Split(list)
	if len(files) == 0 {
		return s.Done(command.OK)
	}
	return s.replace(s.Common.CommandDirectory, "postalias", append([]string{"--"}, files...)...)
}

// replace runs another command in the place of this one, in the queue
// directory, and returns its exit status.
func (s *sendmail) replace(dir, program string, args ...string) int {
	c := s.child(dir, program, args...)
	c.Stdin, c.Stdout, c.Stderr = s.In, s.Out, s.Err
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case err != nil:
		return s.Fail(failure, "%s: %v", c.Path, err)
	}
	return command.OK
}

func (s *sendmail) child(dir, program string, args ...string) *exec.Cmd {
	var verbose []string
	for range s.Verbosity() {
		verbose = append(verbose, "-v")
	}
	c := exec.Command(filepath.Join(dir, program), append(verbose, args...)...)
	c.Args[0] = program
	c.Dir = s.Common.QueueDirectory
	c.Env = os.Environ()
	if s.dir != command.DefaultConfigDirectory {
		c.Env = append(c.Env, "MAIL_CONFIG="+absolute(s.dir))
	}
	return c
}

func absolute(dir string) string {
	if a, err := filepath.Abs(dir); err == nil {
		return a
	}
	return dir
}

// who returns the sender and uid as they stand in front of an error.
func (s *sendmail) who(sender string) string { return fmt.Sprintf("%s(%d)", sender, s.uid) }

// fullName is the name of the user that goes into a From: field that cleanup
// adds: -F, NAME, or the user's entry in the password file, in which "&" is
// the login name.
func (s *sendmail) fullName() string {
	if s.opt.fullName != nil {
		return *s.opt.fullName
	}
	if name, ok := os.LookupEnv("NAME"); ok && name != "" {
		return name
	}
	login, gecos, ok := command.Account(s.uid)
	if !ok {
		return ""
	}
	gecos, _, _ = strings.Cut(gecos, ",")
	if login != "" {
		gecos = strings.ReplaceAll(gecos, "&", strings.ToUpper(login[:1])+login[1:])
	}
	return gecos
}
