package master

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/service"
)

// spawn starts the process of a service.
func (s *supervisor) spawn(e *entry) {
	c, err := s.start(e)
	if err != nil {
		s.log.Warningf("%s: %v -- throttling", s.path(e), err)
		s.throttle(e)
		return
	}
	e.live, e.used = c, true
	s.children[c.pid] = c
	s.scheduleWake(e)
	go s.listenTo(c)
}

// listenTo posts what a child says.
func (s *supervisor) listenTo(c *child) {
	defer close(c.silent)
	var b [16]byte
	for {
		n, err := c.channel.Read(b[:])
		if err != nil {
			return
		}
		for _, what := range append([]byte(nil), b[:n]...) {
			s.post(func() { s.told(c, what) })
		}
	}
}

func (s *supervisor) path(e *entry) string {
	return filepath.Join(s.conf.common.DaemonDirectory, e.Command)
}

func (s *supervisor) start(e *entry) (*child, error) {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer unix.Close(null)
	files := []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(theirs)}
	if s.m.opt.stdout || s.m.opt.init || s.m.opt.debug {
		files[1] = 1
	}
	if s.m.opt.debug {
		files[2] = 2
	}
	for _, l := range e.listeners {
		files = append(files, uintptr(l.FD))
	}
	path := s.path(e)
	pid, err := syscall.ForkExec(path, s.arguments(e), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: files,
	})
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("start process: %w", err)
	}
	s.log.Debugf("spawn command %s; pid %d", path, pid)
	return &child{pid: pid, entry: e, path: path, channel: os.NewFile(uintptr(ours), "channel"), silent: make(chan struct{})}, nil
}

// arguments is the command line of a service's process, in Postfix's form, and
// -p for the process limit, which counts sessions here.
func (s *supervisor) arguments(e *entry) []string {
	args := []string{e.Command}
	switch e.Limit {
	case 0:
		args = append(args, "-z")
	case 1:
		args = append(args, "-l", "-p", "1")
	default:
		args = append(args, "-p", strconv.Itoa(e.Limit))
	}
	args = append(args, "-n", e.Name, "-t", e.Type)
	if e.Unprivileged {
		args = append(args, "-u")
	}
	if e.Chroot {
		args = append(args, "-c")
	}
	if n := len(e.listeners); n != 1 {
		args = append(args, "-s", strconv.Itoa(n))
	}
	for range s.m.opt.verbose {
		args = append(args, "-v")
	}
	return append(args, e.Args...)
}

// told is what a child said.
func (s *supervisor) told(c *child, what byte) {
	switch what {
	case service.Ready:
		c.ready = true
	case service.Used:
		c.used = true
	case service.Busy:
		s.warnBusy(c.entry)
	case service.Quiescent:
		s.retire(c)
	default:
		s.log.Warningf("%s: ignoring unknown status: %d allegedly from pid: %d", c.path, what, c.pid)
	}
}

// busyWarning is how often the state of a service is told again.
const busyWarning = 1000 * time.Second

// warnBusy tells that all sessions of a network service are taken.
func (s *supervisor) warnBusy(e *entry) {
	if !s.stressful(e) || time.Since(e.warned) < busyWarning {
		return
	}
	e.warned = time.Now()
	s.log.Warningf("service %q (%s) has reached its process limit %q: new clients may experience noticeable delays", e.Name, s.portOf(e), strconv.Itoa(e.Limit))
	s.log.Warningf("to avoid this condition, increase the process count in master.cf or reduce the service time per client")
	s.log.Warningf("see https://www.postfix.org/STRESS_README.html for examples of stress-adapting configuration settings")
}

// stressful says that a service has more than one place, and clients of other
// hosts. Postfix: the others have no stress state.
func (s *supervisor) stressful(e *entry) bool {
	return e.Type == "inet" && e.Limit != 1 && slices.ContainsFunc(s.conf.addrs[e.Key()], func(a address) bool {
		ip, err := netip.ParseAddr(a.ip)
		return err != nil || !ip.IsLoopback()
	})
}

// portOf is where an inet service listens: its port as a number, and the host
// that its name has.
func (s *supervisor) portOf(e *entry) string {
	host, port, _ := splitHostPort(e.Name)
	if addrs := s.conf.addrs[e.Key()]; len(addrs) > 0 {
		port = strconv.Itoa(addrs[0].port)
	}
	if host == "" {
		return port
	}
	return "[" + host + "]:" + port
}

// drain tells the child to accept no more and to finish.
func (c *child) drain() {
	c.drained = true
	c.channel.Write([]byte{service.Drain}) // fails only when the child is gone
}
