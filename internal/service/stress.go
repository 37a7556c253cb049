package service

import (
	"net"
	"sync/atomic"
	"time"
)

// stress is the state of a network service whose sessions are all taken, or
// were a while ago. Postfix: one that only this host reaches, or that has one
// place, has no such state.
type stress struct {
	enabled bool
	until   atomic.Int64 // Unix time
}

func (s *stress) on() bool { return s.until.Load() > time.Now().Unix() }

// enter is called when the last session was taken.
func (s *stress) enter() {
	if s.enabled {
		s.until.Store(time.Now().Add(stressPeriod).Unix())
	}
}

// loopback says that only this host reaches an address.
func loopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}
