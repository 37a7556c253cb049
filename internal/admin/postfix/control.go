package postfix

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"postern/internal/admin/check"
	"postern/internal/admin/command"
)

const (
	isRunning  = "the Postfix mail system is already running"
	notRunning = "the Postfix mail system is not running"
)

// start starts master, in the background or in the foreground.
func (p *postfix) start(foreground bool) int {
	if _, running := p.running(); running {
		return p.fatal(isRunning)
	}
	master := filepath.Join(p.Common.DaemonDirectory, "master")
	if _, err := os.Stat(master); err != nil {
		return p.fatal("no Postfix master program %s!", master)
	}
	if foreground && p.Instances != "" {
		return p.fatal("start-fg does not support multi_instance_directories")
	}
	if !p.checkFatal() {
		return p.fatal("Postfix integrity check failed!")
	}
	p.tellFindings(check.Files(&p.Common))
	p.tell("starting the Postfix mail system")
	if foreground {
		return p.startForeground(master)
	}
	if status := p.exec(master, append(p.masterOptions(), "-w")...); status != 0 {
		return p.fatal("mail system startup failed")
	}
	return command.OK
}

func (p *postfix) masterOptions() []string {
	options := []string{"-c", p.Common.ConfigDirectory}
	for range p.Verbosity() {
		options = append(options, "-v")
	}
	return options
}

// startForeground becomes master when this is PID 1. Otherwise master leads a
// session of its own, so that stopping it does not touch the caller's, and
// signals are passed on to it.
func (p *postfix) startForeground(master string) int {
	if os.Getpid() == 1 {
		argv := append([]string{"master"}, append(p.masterOptions(), "-i")...)
		err := syscall.Exec(master, argv, os.Environ())
		return p.fatal("cannot start-fg the master daemon: %v", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	cmd := exec.Command(master, append(p.masterOptions(), "-s")...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return p.fatal("cannot start-fg the master daemon: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			cmd.Process.Signal(sig)
		case err := <-done:
			return exitStatus(err)
		}
	}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return command.OK
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	return command.Failure
}

// exec runs a program with this command's streams.
func (p *postfix) exec(path string, args ...string) int {
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		p.log.Fatalf("cannot execute %s: %v", path, err)
	}
	return exitStatus(err)
}

// program runs a command of command_directory.
func (p *postfix) program(name string, args ...string) int {
	return p.exec(filepath.Join(p.Common.CommandDirectory, name), args...)
}

// seconds that stop waits for master before it uses force.
const stopSeconds = 5

// stop asks master to end everything, and uses force if it does not.
func (p *postfix) stop() int {
	pid, running := p.running()
	if !running {
		return p.fatal(notRunning)
	}
	p.tell("stopping the Postfix mail system")
	syscall.Kill(pid, syscall.SIGTERM)
	for second := range stopSeconds {
		if p.ended(time.Second) {
			return command.OK
		}
		if second < stopSeconds-1 {
			p.log.Infof("waiting for the Postfix mail system to terminate")
		}
	}
	p.log.Warningf("stopping the Postfix mail system with force")
	syscall.Kill(-pid, syscall.SIGKILL)
	return command.OK
}

// tell logs what happens next, and sees to it that the line comes before those
// of what happens: the log service itself may end.
func (p *postfix) tell(what string) {
	p.log.Infof("%s", what)
	p.log.Flush(time.Second)
}

// ended waits for master to give up its lock.
func (p *postfix) ended(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if _, running := p.running(); !running {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func (p *postfix) abort() int {
	pid, running := p.running()
	if !running {
		return p.fatal(notRunning)
	}
	p.tell("aborting the Postfix mail system")
	syscall.Kill(pid, syscall.SIGTERM)
	return command.OK
}

// reload makes master read its files again. What master would refuse is told
// here, where somebody sees it.
func (p *postfix) reload() int {
	pid, running := p.running()
	if !running {
		return p.fatal(notRunning)
	}
	if p.Knowledge.Listen != nil && p.tellFindings(check.Reload(p.Common.ConfigDirectory, p.Knowledge)) != command.OK {
		return p.fatal("reload refused, the old configuration stays in effect")
	}
	if err := p.enter(); err != nil { // the trial may have left it
		return p.fatal("%v", err)
	}
	p.log.Infof("refreshing the Postfix mail system")
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return p.fatal("signal master: %v", err)
	}
	return command.OK
}

func (p *postfix) status() int {
	pid, running := p.running()
	if !running {
		p.log.Infof(notRunning)
		return command.Failure
	}
	p.log.Infof("the Postfix mail system is running: PID: %d", pid)
	return command.OK
}
