// Package anvil is the service that counts what clients of servers do:
// connections at this moment, and connections, messages, recipients, TLS
// sessions and AUTH commands in a unit of time.
//
// One process holds all counts in memory. What a server told over a connection
// is undone when that connection ends. Statistics of the highest values go to
// the log at intervals and at the end.
package anvil

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/anvil"
	"postern/internal/ipc/attr"
	"postern/internal/service"
)

// A Service is the anvil service.
type Service struct {
	rateTimeUnit     time.Duration
	statusUpdateTime time.Duration

	log      *maillog.Logger
	timeout  time.Duration
	draining <-chan struct{}
	counter  *counter

	mu      sync.Mutex
	clients int
	last    time.Time // of the last statistics
}

// New returns the service.
func New() service.Service { return &Service{} }

// Params names the parameters of anvil.
func (s *Service) Params(p *param.Set) {
	p.Time(&s.rateTimeUnit, "anvil_rate_time_unit", "60s", param.Min(1))
	p.Time(&s.statusUpdateTime, "anvil_status_update_time", "600s", param.Min(1))
}

// Open makes the counter.
func (s *Service) Open(e *service.Env) error {
	s.log = e.Log
	s.timeout = e.Common.IPCTimeout
	s.draining = e.Draining
	s.counter = newCounter(s.rateTimeUnit, time.Now)
	s.last = time.Now()
	return nil
}

// Serve counts for one server until it closes the connection. A connection may
// be silent for as long as the server has nothing to tell: what it told counts
// until it ends. When the process drains, servers come back to the next one.
func (s *Service) Serve(ctx context.Context, c net.Conn) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.draining:
			c.Close()
		case <-done:
		}
	}()
	s.enter(1)
	defer s.enter(-1)
	l := s.counter.client()
	defer l.close()
	err := s.talk(attr.NewConn(c, 0), l)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Service) talk(conn *attr.Conn, l *client) error {
	hello := attr.Protocol(anvil.Protocol)
	if err := conn.Send(&hello); err != nil {
		return err
	}
	for {
		var req anvil.Request
		if err := conn.Recv(&req); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		reply := l.tell(req)
		if err := conn.Send(&reply); err != nil {
			return err
		}
		s.report(false)
	}
}

// enter counts servers; with the last one the statistics are complete, since
// the process may end now.
func (s *Service) enter(n int) {
	s.mu.Lock()
	s.clients += n
	last := s.clients == 0
	s.mu.Unlock()
	if last {
		s.report(true)
	}
}

// report logs statistics when it is time, or always.
func (s *Service) report(always bool) {
	s.mu.Lock()
	due := always || time.Since(s.last) >= s.statusUpdateTime
	if due {
		s.last = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	for _, line := range s.counter.statistics() {
		s.log.Infof("%s", line)
	}
}
