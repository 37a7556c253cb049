package master

import (
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// trialTime bounds a trial. A configuration whose trial does not end comes into
// effect: what is slow may be a disk, or the name service.
const trialTime = 20 * time.Second

// maxTrialText bounds what a trial may say, in octets.
const maxTrialText = 64 << 10

// A trial is a process that opens what the services would open with a new
// configuration: master itself reads nothing but its two files.
type trial struct {
	pid    int
	conf   *configuration
	said   chan string // what it found, when it has closed its output
	late   *time.Timer
	again  bool // another reload was asked for meanwhile
	killed bool
}

// try starts the trial of conf. Without one the configuration is taken.
func (s *supervisor) try(conf *configuration) {
	t, err := s.startTrial(conf)
	if err != nil {
		s.log.Warningf("the configuration was not tried out: %v", err)
		s.take(conf)
		return
	}
	s.trial = t
	t.late = time.AfterFunc(trialTime, func() {
		s.post(func() {
			if s.trial == t {
				t.killed = true
				syscall.Kill(t.pid, syscall.SIGKILL)
			}
		})
	})
}

func (s *supervisor) startTrial(conf *configuration) (*trial, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	t := &trial{conf: conf, said: make(chan string, 1)}
	t.pid, err = syscall.ForkExec(program, []string{"postern", "check", "-c", conf.dir, "--reload"}, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), theirs.Fd(), null.Fd()},
	})
	if err != nil {
		ours.Close()
		return nil, err
	}
	go func() {
		defer ours.Close()
		text, _ := io.ReadAll(io.LimitReader(ours, maxTrialText))
		t.said <- string(text)
	}()
	return t, nil
}

// tried is told of the end of the trial's process.
func (s *supervisor) tried(status syscall.WaitStatus) {
	t := s.trial
	t.late.Stop()
	text := <-t.said
	s.trial = nil
	switch {
	case s.stopping:
	case t.again:
		s.reload() // the files have changed since
	case status.Exited() && status.ExitStatus() == 0:
		s.take(t.conf)
	case status.Exited() && status.ExitStatus() == 1 && text != "":
		text = strings.ReplaceAll(text, "\n    ", "; ") // the remedy has a line of its own
		for line := range strings.Lines(text) {
			s.log.Errorf("%s", strings.TrimPrefix(strings.TrimSpace(line), "error: "))
		}
		s.refuse("it has errors, which are named above")
	default:
		what := "its trial has failed"
		if t.killed {
			what = "its trial took longer than " + trialTime.String()
		}
		s.log.Warningf("the configuration was not tried out: %s", what)
		s.take(t.conf)
	}
}

func (s *supervisor) refuse(why any) {
	s.log.Errorf("reload refused, the old configuration stays in effect: %v", why)
}
