package master

import (
	"errors"
	"os"
	"sort"
	"syscall"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/mastercf"
)

// A supervisor owns the services, their sockets and their processes. Only its
// loop touches them; everything else posts events.
type supervisor struct {
	m       *master
	log     *maillog.Logger
	conf    *configuration
	signals chan os.Signal
	events  chan func()
	poller  *poller

	services map[string]*entry
	sockets  map[address]*sys.Listener
	children map[int]*child
	ending   int // processes that are gone, whose last words are awaited
	stopping bool

	rebuildTimer *time.Timer
	rebuilder    int // the process that rebuilds tables; 0: none

	trial *trial // of a configuration that may come into effect; nil: none
}

// An entry is one service in operation.
type entry struct {
	mastercf.Service
	listeners []*sys.Listener
	live      *child // accepts connections; nil: we watch the sockets
	used      bool   // a process was started before
	throttled bool
	waker     *time.Timer
	warned    time.Time // when "has reached its process limit" was logged
}

// A child is one process.
type child struct {
	pid     int
	entry   *entry
	channel *os.File      // our end of the stream
	silent  chan struct{} // closed when all that the process said has been posted
	path    string
	ready   bool // start-up succeeded
	drained bool // was told to finish
	used    bool // has served; one that fails before is not started again at once
}

func newSupervisor(m *master, signals chan os.Signal) (*supervisor, error) {
	s := &supervisor{
		m:        m,
		log:      m.log,
		conf:     m.conf,
		signals:  signals,
		events:   make(chan func(), 64),
		services: make(map[string]*entry),
		sockets:  make(map[address]*sys.Listener),
		children: make(map[int]*child),
	}
	var err error
	s.poller, err = newPoller(func(fds []int) { s.post(func() { s.readable(fds) }) })
	if err != nil {
		return nil, err
	}
	go reap(func(pid int, status syscall.WaitStatus) { s.post(func() { s.exited(pid, status) }) })
	return s, nil
}

func (s *supervisor) post(f func()) { s.events <- f }

// loop runs until master ends and returns the exit status.
func (s *supervisor) loop() int {
	var exit <-chan time.Time
	if s.m.opt.exit > 0 {
		exit = time.After(s.m.opt.exit)
	}
	for {
		select {
		case f := <-s.events:
			f()
		case sig := <-s.signals:
			if sig == syscall.SIGHUP {
				s.reload()
				continue
			}
			s.terminate(sig.(syscall.Signal))
			return 0
		case <-exit:
			s.log.Infof("master exit time has arrived")
			return 0
		}
	}
}

// configure brings the sockets and services in line with conf. On an error
// nothing has changed.
func (s *supervisor) configure(conf *configuration) error {
	opened := make(map[address]*sys.Listener)
	wanted := make(map[address]*sys.Listener)
	for i := range conf.services {
		for _, a := range conf.addrs[conf.services[i].Key()] {
			if wanted[a] != nil {
				continue
			}
			if l := s.sockets[a]; l != nil {
				wanted[a] = l
				continue
			}
			l, err := listen(a, conf.owner)
			if err != nil {
				for a, l := range opened {
					drop(a, l, s.sockets)
				}
				return err
			}
			opened[a], wanted[a] = l, l
		}
	}
	old := s.sockets
	s.conf, s.sockets = conf, wanted
	s.replaceServices()
	s.rebuildTables()
	s.scheduleRebuild()
	for a, l := range old {
		if wanted[a] == nil {
			s.poller.remove(l.FD)
			drop(a, l, wanted)
		}
	}
	return nil
}

// drop closes a socket that no service has any more. Its path stays when a
// socket of another type among others has taken it.
func drop(a address, l *sys.Listener, others map[address]*sys.Listener) {
	l.Close()
	if a.path == "" {
		return
	}
	for o := range others {
		if o.path == a.path {
			return
		}
	}
	os.Remove(a.path)
}

// replaceServices makes the entries of the configuration; entries that stay
// keep their processes.
func (s *supervisor) replaceServices() {
	old := s.services
	s.services = make(map[string]*entry, len(s.conf.services))
	for _, c := range s.conf.services {
		e := old[c.Key()]
		if e == nil {
			e = &entry{}
		}
		delete(old, c.Key())
		e.Service = c
		e.throttled = false
		e.listeners = nil
		for _, a := range s.conf.addrs[c.Key()] {
			e.listeners = append(e.listeners, s.sockets[a])
		}
		s.services[c.Key()] = e
	}
	for _, e := range old {
		e.stopWaking()
		s.unwatch(e)
		s.signalAll(e, syscall.SIGTERM)
	}
}

// reload is SIGHUP. A configuration with an error is refused: the old one goes
// on as if nothing had happened.
func (s *supervisor) reload() {
	if s.trial != nil {
		s.trial.again = true
		s.log.Infof("a reload is being tried out; another follows it")
		return
	}
	conf, err := load(s.conf.dir, s.conf)
	if err == nil {
		err = conf.usable(s.m.problems)
	}
	if err != nil {
		s.refuse(err)
		return
	}
	s.try(conf)
}

// take brings a configuration into effect.
func (s *supervisor) take(conf *configuration) {
	if err := s.configure(conf); err != nil {
		s.refuse(err)
		return
	}
	for _, w := range append(conf.notes, conf.warnings(s.m.warnings)...) {
		s.log.Warningf("%s", w)
	}
	s.log.Infof("reload -- version %s, configuration %s", conf.common.MailVersion, conf.dir)
	for _, c := range s.children {
		c.drain()
		s.retire(c)
	}
	s.wakeAll()
}

// watch makes the poller look at the sockets of a service without a process.
func (s *supervisor) watch(e *entry) {
	if e.live != nil || e.throttled || s.stopping || s.services[e.Key()] != e {
		return
	}
	for _, l := range e.listeners {
		s.poller.add(l.FD)
	}
}

func (s *supervisor) unwatch(e *entry) {
	for _, l := range e.listeners {
		s.poller.remove(l.FD)
	}
}

// readable starts the processes of the services whose sockets have something
// to do.
func (s *supervisor) readable(fds []int) {
	for _, fd := range fds {
		for _, e := range s.services {
			if e.live == nil && !e.throttled && e.has(fd) {
				s.unwatch(e)
				s.spawn(e)
			}
		}
	}
}

func (e *entry) has(fd int) bool {
	for _, l := range e.listeners {
		if l.FD == fd {
			return true
		}
	}
	return false
}

// retire makes a child no longer the one that serves its service.
func (s *supervisor) retire(c *child) {
	if c.entry.live == c {
		c.entry.live = nil
		s.watch(c.entry)
	}
}

// throttle keeps a service from being started for a while.
func (s *supervisor) throttle(e *entry) {
	if e.throttled {
		return
	}
	e.throttled = true
	s.unwatch(e)
	time.AfterFunc(s.conf.common.ServiceThrottleTime, func() {
		s.post(func() {
			if e.throttled {
				e.throttled = false
				s.log.Debugf("throttle released for command %s", e.Command)
				s.watch(e)
			}
		})
	})
}

// exited is told of every process that ended, ours or an orphan.
func (s *supervisor) exited(pid int, status syscall.WaitStatus) {
	if pid == s.rebuilder {
		s.rebuilder = 0
	}
	if s.trial != nil && pid == s.trial.pid {
		s.tried(status)
		return
	}
	c := s.children[pid]
	if c == nil {
		return
	}
	delete(s.children, pid)
	s.ending++
	go func() {
		waitFor(c.silent, lastWords)
		s.post(func() { s.buried(c, status) })
	}()
}

// lastWords is how long master waits for what a process that is gone has said; a
// program that leaves its end of the stream to another never ends it.
const lastWords = time.Second

func waitFor(done <-chan struct{}, limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// buried is told of a process of ours that is gone, after all that it said: one
// that has served is started again at once.
func (s *supervisor) buried(c *child, status syscall.WaitStatus) {
	s.ending--
	c.channel.Close()
	failed := false
	switch {
	case status.Exited() && status.ExitStatus() != 0:
		s.log.Warningf("process %s pid %d exit status %d", c.path, c.pid, status.ExitStatus())
		failed = true
	case status.Exited() && !c.ready && !c.drained:
		failed = true // ended before it served anybody
	case status.Signaled() && !s.stopping:
		s.log.Warningf("process %s pid %d killed by signal %d", c.path, c.pid, status.Signal())
		failed = true
	}
	if failed && !c.used && !c.entry.throttled && !s.stopping {
		s.log.Warningf("%s: bad command startup -- throttling", c.path)
		s.throttle(c.entry)
	}
	s.retire(c)
	// A wakeup or a message's trigger may have reached a process that was
	// about to end: the next one looks for itself.
	if e := c.entry; e.live == nil && e.Wakeup > 0 && e.WakeupBeforeUse {
		s.wake(e)
	}
}

// ends of a master that was told to terminate: children have a while before
// they are killed, less than "postfix stop" waits for master.
const childGrace = 4 * time.Second

// terminate passes the signal on to all children and waits for them.
func (s *supervisor) terminate(sig syscall.Signal) {
	s.log.Infof("terminating on signal %d", int(sig))
	s.log.Flush(time.Second)
	s.startLog()
	s.stopping = true
	s.poller.close()
	s.killGroup(syscall.SIGTERM)
	deadline := time.After(childGrace)
	for s.working() {
		select {
		case f := <-s.events:
			f()
		case <-s.signals:
		case <-deadline:
			for _, pid := range s.pids() {
				s.log.Warningf("process %s pid %d does not terminate: killing it", s.children[pid].path, pid)
			}
			s.killGroup(syscall.SIGKILL)
			return
		}
	}
}

// logGrace is how long master that terminates waits for the log service to
// start.
const logGrace = time.Second

// startLog has the log service run for the last lines. It may have just ended
// for a reload, with lines waiting in its socket; and one that is about to start
// would not survive the signal to the process group.
func (s *supervisor) startLog() {
	if s.conf.common.MaillogFile == "" {
		return
	}
	e := s.services[s.conf.common.PostlogServiceName+"/unix-dgram"]
	if e == nil {
		return
	}
	deadline := time.After(logGrace)
	for !e.throttled && (e.live == nil || !e.live.ready) {
		if e.live == nil {
			s.unwatch(e)
			s.spawn(e)
			continue
		}
		select {
		case f := <-s.events:
			f()
		case <-deadline:
			return
		}
	}
}

// working says whether a child is left that has to end first. The log service
// stays for the last lines, and ends when master is gone.
func (s *supervisor) working() bool {
	if s.ending > 0 {
		return true
	}
	for _, c := range s.children {
		if c.entry.Type != "unix-dgram" {
			return true
		}
	}
	return false
}

func (s *supervisor) pids() []int {
	var list []int
	for pid := range s.children {
		list = append(list, pid)
	}
	sort.Ints(list)
	return list
}

// killGroup sends sig to all children, and to what they started when master
// leads their process group.
func (s *supervisor) killGroup(sig syscall.Signal) {
	for _, pid := range s.pids() {
		syscall.Kill(pid, sig)
	}
	if sig != syscall.SIGKILL && syscall.Getpgrp() == os.Getpid() {
		// This master gets it too; terminate reads and ignores it.
		if err := syscall.Kill(-os.Getpid(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.log.Warningf("kill process group: %v", err)
		}
	}
}

func (s *supervisor) signalAll(e *entry, sig syscall.Signal) {
	for pid, c := range s.children {
		if c.entry == e {
			syscall.Kill(pid, sig)
		}
	}
}
