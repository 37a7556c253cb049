// Package postfix is the command postfix, with which an administrator starts,
// stops and looks after the mail system.
//
// Its messages are those of Postfix's script of the same name, and carry that
// script's tag, because people and log readers know them.
package postfix

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postern/internal/admin/check"
	"postern/internal/admin/command"
	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/param"
)

// Config holds the parameters of the command.
type Config struct {
	Instances  string // multi_instance_directories
	Wrapper    string // multi_instance_wrapper
	Compressor string // maillog_file_compressor
	Suffix     string // maillog_file_rotate_suffix, for strftime
}

// Params names the main.cf parameters that the command reads.
func Params(s *param.Set) { new(Config).Params(s) }

// Params names the main.cf parameters that the command reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.Instances, "multi_instance_directories", "")
	s.Str(&c.Wrapper, "multi_instance_wrapper", "")
	s.Str(&c.Compressor, "maillog_file_compressor", "gzip", param.MinLen(1))
	s.Str(&c.Suffix, "maillog_file_rotate_suffix", "%Y%m%d-%H%M%S", param.MinLen(1))
}

const usage = "[-c config_dir] [-Dv] command"

const commandList = "start (or stop, reload, abort, flush, check, status, set-permissions, upgrade-configuration, logrotate, tls, non-bdb)"

// A postfix is one run of the command.
type postfix struct {
	*command.Command
	Config
	check.Knowledge
	log *maillog.Logger
}

// Main runs the command with args, its name first, and returns its exit status.
// k is for "postfix check".
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, k check.Knowledge) int {
	p := &postfix{Knowledge: k, Command: command.New("postfix", stdin, stdout, stderr)}
	var dir string
	rest, err := command.Getopt(args[1:], "c:Dv", func(option byte, arg string) error {
		switch option {
		case 'c':
			dir = arg
		case 'v':
			p.Verbose()
		}
		return nil
	})
	if err != nil {
		command.Complain(stderr, "postfix", err)
		return p.Command.Usage(command.Failure, usage)
	}
	one := dir != "" || os.Getenv("MAIL_CONFIG") != ""
	if dir, err = filepath.Abs(command.ConfigDirectory(dir)); err == nil {
		err = p.Load(dir, p.Config.Params)
	}
	if err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	if !one && p.Instances != "" {
		return p.all(rest)
	}
	if len(rest) == 0 {
		return p.Command.Usage(command.Failure, usage)
	}
	if os.Geteuid() != 0 && !p.ours() {
		return p.Fail(command.Failure, "the postfix command is reserved for the superuser")
	}
	p.log, err = p.DirectLog(p.Common.SyslogName+"/postfix-script", stderr)
	if err != nil {
		return p.Fail(command.Failure, "%v", err)
	}
	os.Setenv("MAIL_CONFIG", dir)
	status := p.run(rest[0], rest[1:])
	p.log.Flush(2 * time.Second)
	return status
}

// all passes the command on to the manager of several instances: it has not
// been given the configuration of one.
func (p *postfix) all(args []string) int {
	argv := param.Fields(p.Wrapper)
	if len(argv) == 0 {
		return p.Fail(command.Failure, "multi-instance support is requested, but multi_instance_wrapper is empty")
	}
	for _, v := range []struct{ name, value string }{
		{"command_directory", p.Common.CommandDirectory}, {"daemon_directory", p.Common.DaemonDirectory},
		{"config_directory", p.Common.ConfigDirectory}, {"queue_directory", p.Common.QueueDirectory},
	} {
		os.Setenv(v.name, v.value)
	}
	p.log = p.Log
	return p.exec(argv[0], append(argv[1:], args...)...)
}

// ours says whether the queue belongs to the user who runs the command: a mail
// system without privileges.
func (p *postfix) ours() bool {
	f, err := os.OpenFile(filepath.Join(p.Common.QueueDirectory, p.Common.ProcessIDDirectory), os.O_RDONLY, 0)
	if err != nil {
		return os.IsNotExist(err)
	}
	defer f.Close()
	st, err := f.Stat()
	return err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

// taking are the actions that take arguments.
var taking = []string{"set-permissions", "upgrade-configuration", "non-bdb", "tls"}

// notable are the actions that tell of old defaults.
var notable = []string{"start", "start-fg", "reload", "flush", "check"}

// noteLevel tells of a compatibility_level that keeps defaults of older releases.
func (p *postfix) noteLevel() {
	if !param.Outdated(p.Common.CompatibilityLevel) {
		return
	}
	p.Log.Infof("Postfix is using backwards-compatible default settings")
	p.Log.Infof("See https://www.postfix.org/COMPATIBILITY_README.html for details")
	p.Log.Infof("To disable backwards compatibility use \"postconf compatibility_level=%s\" and \"postfix reload\"", param.CurrentLevel)
}

func (p *postfix) run(name string, args []string) int {
	if !slices.Contains(taking, name) && len(args) > 0 {
		return p.fatal("usage: postfix %s (no arguments)", name)
	}
	if err := p.enter(); err != nil {
		return p.fatal("%v", err)
	}
	if slices.Contains(notable, name) {
		p.noteLevel()
	}
	switch name {
	case "start":
		return p.start(false)
	case "start-fg":
		return p.start(true)
	case "stop":
		return p.stop()
	case "abort":
		return p.abort()
	case "reload":
		return p.reload()
	case "flush":
		return p.program("postqueue", "-f")
	case "check":
		return p.check()
	case "status":
		return p.status()
	case "logrotate":
		return p.rotate()
	case "non-bdb":
		return p.nonBDB(args)
	case "tls":
		return p.tls(args)
	case "set-permissions", "upgrade-configuration":
		return p.setPermissions(args)
	}
	return p.fatal("unknown command: '%s'. Usage: postfix %s", name, commandList)
}

func (p *postfix) fatal(format string, args ...any) int {
	p.log.Fatalf(format, args...)
	return command.Failure
}

// enter makes the queue directory the working directory, and makes it if it is
// missing.
func (p *postfix) enter() error {
	if err := os.MkdirAll(p.Common.QueueDirectory, 0o755); err != nil {
		return err
	}
	return os.Chdir(p.Common.QueueDirectory)
}

func (p *postfix) pidFile() string {
	return filepath.Join(p.Common.ProcessIDDirectory, "master.pid")
}

// running says whether a master has the lock of its pid file, and its number.
func (p *postfix) running() (pid int, running bool) {
	f, err := os.OpenFile(p.pidFile(), os.O_RDWR, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if sys.Flock(f, true) == nil {
		return 0, false
	}
	b, _ := io.ReadAll(io.LimitReader(f, 100))
	pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	return pid, true
}
