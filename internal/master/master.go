// Package master is the supervisor: it reads main.cf and master.cf, opens the
// sockets of every service, starts a service's process when the first client
// arrives, wakes those that have a wakeup time, keeps a program that cannot
// start from starting again and again, and on reload lets old processes finish
// while new ones take over.
//
// The sockets stay open here for as long as the service is configured, so a
// connection is never refused because a process comes or goes. One goroutine,
// the supervisor's loop, owns all state; children, signals, timers and the
// poller send it events.
package master

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/service"
)

// Warnings returns what is to be told about a configuration when it comes into
// effect, a line each. texts are arguments in master.cf, which may refer to
// parameters.
type Warnings func(c *maincf.Config, texts []string) []string

// Problems returns what would keep a service from starting with the settings in
// c, those of master.cf laid over main.cf.
type Problems func(c *maincf.Config, s *mastercf.Service) []error

// A master is one run of Main.
type master struct {
	opt      *options
	warnings Warnings
	problems Problems
	log      *maillog.Logger
	conf     *configuration
	lock     *os.File // pid/master.pid
	dataLock *os.File // data_directory/master.lock
	super    *supervisor
}

// Main runs master with the command line args, the program's name first, and
// returns the exit status.
func Main(args []string, warnings Warnings, problems Problems) int {
	m := &master{
		warnings: warnings,
		problems: problems,
		log:      maillog.New(maillog.NewStream(os.Stderr, maillog.Command, maillog.Text, ""), "master"),
	}
	status, err := m.run(args)
	if err != nil {
		m.log.Fatalf("%v", err)
		status = 1
	}
	m.log.Flush(2 * time.Second)
	return status
}

func (m *master) run(args []string) (status int, err error) {
	if m.opt, err = parseOptions(args); err != nil {
		return 1, err
	}
	if m.opt.wait {
		return startInBackground(args)
	}
	dir, err := m.opt.configDirectory()
	if err != nil {
		return 1, err
	}
	if m.conf, err = load(dir, nil); err != nil {
		return 1, err
	}
	if err := m.prepare(); err != nil {
		return 1, err
	}
	if m.opt.test {
		return m.testLock()
	}
	steps := []func() error{m.setEnvironment, m.openLog, m.becomeLeader, m.takeLocks, m.start}
	for _, step := range steps {
		if err := step(); err != nil {
			return 1, err
		}
	}
	return m.super.loop(), nil
}

// prepare makes the queue directory the working directory.
func (m *master) prepare() error {
	if m.opt.init && os.Getpid() != 1 {
		return errors.New("-i is allowed only for PID 1 process")
	}
	return os.Chdir(m.conf.common.QueueDirectory)
}

// openLog logs to the configured log; what goes wrong until start-up is done
// is also told on standard error.
func (m *master) openLog() error {
	sink, err := maillog.Open(service.LogConfig(&m.conf.common, "public"))
	if err != nil {
		return err
	}
	stderr := maillog.NewStream(os.Stderr, maillog.Command, maillog.Text, "")
	m.log = maillog.New(&startSink{Sink: sink, stderr: stderr}, m.conf.common.SyslogName+"/master").WithVerbose(m.opt.verbose)
	for _, w := range m.conf.notes {
		m.log.Warningf("%s", w)
	}
	return nil
}

// becomeLeader makes master the leader of a process group that its children
// belong to, so that all can be ended at once.
func (m *master) becomeLeader() error {
	if m.opt.init || m.opt.debug {
		return nil
	}
	if _, err := syscall.Setsid(); err != nil && syscall.Getpgrp() != os.Getpid() {
		return fmt.Errorf("unable to set session and process group ID: %w", err)
	}
	return nil
}

// start opens the sockets and says that start-up is done.
func (m *master) start() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	signal.Ignore(syscall.SIGPIPE)
	var err error
	if m.super, err = newSupervisor(m, signals); err != nil {
		return err
	}
	if err := m.super.configure(m.conf); err != nil {
		return err
	}
	if err := sys.WritePID(m.lock); err != nil {
		return err
	}
	for _, w := range m.conf.warnings(m.warnings) {
		m.log.Warningf("%s", w)
	}
	m.log.Infof("daemon started -- version %s, configuration %s", m.conf.common.MailVersion, m.conf.dir)
	if s, ok := m.log.Sink().(*startSink); ok {
		s.started.Store(true)
	}
	m.super.wakeAll()
	return m.reportStarted()
}

// reportStarted tells the process that started this one in the background, and
// lets go of the terminal.
func (m *master) reportStarted() error {
	if !m.opt.debug {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		for _, fd := range []int{0, 1, 2} {
			if fd == 1 && (m.opt.stdout || m.opt.init) {
				continue
			}
			if err := syscall.Dup2(int(null.Fd()), fd); err != nil {
				return fmt.Errorf("redirect descriptor %d: %w", fd, err)
			}
		}
	}
	if !m.opt.report {
		return nil
	}
	f := os.NewFile(reportFD, "start-up report")
	defer f.Close()
	_, err := f.Write([]byte{service.Ready})
	return err
}

// setEnvironment leaves what import_environment names, for this process and
// all that it starts.
func (m *master) setEnvironment() error {
	keep := make(map[string]string)
	for _, word := range strings.FieldsFunc(m.conf.common.ImportEnvironment, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		name, value, set := strings.Cut(word, "=")
		if !set {
			if value, set = os.LookupEnv(name); !set {
				continue
			}
		}
		keep[name] = value
	}
	os.Clearenv()
	keep["MAIL_CONFIG"] = m.conf.dir
	keep["PATH"] = "/bin:/usr/bin:/sbin:/usr/sbin"
	for name, value := range keep {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set environment %s: %w", name, err)
		}
	}
	return nil
}
