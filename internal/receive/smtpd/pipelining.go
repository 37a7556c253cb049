package smtpd

import (
	"net"
	"syscall"
)

// synchronization says in the log that the client talks out of turn (RFC 2920
// 3.1), and ends its session unless smtpd_forbid_unauth_pipelining = no, when it
// is said once.
func (s *session) synchronization() (ended bool) {
	if s.outOfTurn {
		return false
	}
	if s.in.Buffered() == 0 {
		s.in.WaitReadable(s.conf.Timeout) // what waits in the socket is shown
	}
	s.log.Infof("improper command pipelining after %s from %s: %s", s.where, s.subject.LogClient, escape(s.in.Peek(), maxLogged))
	if !s.conf.ForbidUnauthPipelining {
		s.outOfTurn = true
		return false
	}
	s.put(ok(554, "5.5.0", "Error: SMTP protocol synchronization"))
	s.end = true
	return true
}

// earlyTalker says whether the client talks before the greeting.
func (s *session) earlyTalker() bool {
	return s.inputWaiting()
}

// inputWaiting says whether the client has sent more than was read. Below TLS
// it cannot be told from what the protocol itself sends.
func (s *session) inputWaiting() bool {
	return s.in.Buffered() > 0 || s.tls == nil && readable(s.raw)
}

// readable says whether octets wait in the socket; it does not wait for them.
func readable(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	waiting := false
	raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting = err == nil && n > 0
		return true
	})
	return waiting
}
