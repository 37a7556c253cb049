package master

import (
	"net"
	"os"
	"syscall"
	"time"
)

// wakeLimit is how long it may take to get a wakeup into a socket.
const wakeLimit = 10 * time.Second

// wakeAll wakes every service that has a wakeup time, and goes on doing so.
// Services without a process are watched from here on.
func (s *supervisor) wakeAll() {
	for _, e := range s.services {
		e.stopWaking()
		s.watch(e)
		if e.Wakeup > 0 && (e.WakeupBeforeUse || e.used) {
			s.wake(e)
		}
	}
}

// wake sends the wakeup request and schedules the next.
func (s *supervisor) wake(e *entry) {
	if s.stopping || s.services[e.Key()] != e {
		return
	}
	if addrs := s.conf.addrs[e.Key()]; len(addrs) > 0 && !e.throttled {
		go s.trigger(addrs[0]) // one socket is enough
	}
	e.waker = nil
	s.scheduleWake(e)
}

// scheduleWake sets the timer of the next wakeup unless it is set. "N?" starts
// with the first process.
func (s *supervisor) scheduleWake(e *entry) {
	if e.Wakeup <= 0 || e.waker != nil || !(e.WakeupBeforeUse || e.used) {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(e.Wakeup, func() {
		s.post(func() {
			if e.waker == t {
				s.wake(e)
			}
		})
	})
	e.waker = t
}

func (e *entry) stopWaking() {
	if e.waker != nil {
		e.waker.Stop()
		e.waker = nil
	}
}

// trigger sends 'W' to the socket or FIFO at a. It waits in the socket for the
// next process.
func (s *supervisor) trigger(a address) {
	if err := sendTrigger(a, []byte{'W'}); err != nil {
		s.log.Warningf("wake up service %s: %v", a, err)
	}
}

func sendTrigger(a address, request []byte) error {
	switch a.typ {
	case "fifo":
		f, err := os.OpenFile(a.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write(request)
		return err
	case "inet":
		return dialAndSend("tcp", a.String(), request)
	case "unix-dgram":
		return dialAndSend("unixgram", a.path, request)
	}
	return dialAndSend("unix", a.path, request)
}

func dialAndSend(network, addr string, request []byte) error {
	c, err := net.DialTimeout(network, addr, wakeLimit)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(wakeLimit))
	_, err = c.Write(request)
	return err
}
