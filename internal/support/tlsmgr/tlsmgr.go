// Package tlsmgr is the service that keeps what the TLS sessions of several
// processes have in common: the keys of session tickets.
//
// A key serves for new tickets for smtpd_tls_session_cache_timeout and for
// tickets that are out for as long again. Keys live in the memory of this one
// process only; they are not written anywhere, so that a stolen disk opens no
// recorded session. Tickets take the place of Postfix's session databases, and
// random numbers come from the kernel.
//
// Postfix: tlsmgr(8). RFC 5077 4, RFC 8446 4.6.1.
package tlsmgr

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	ipc "postern/internal/ipc/tlsmgr"
	"postern/internal/service"
)

// A Service is the tlsmgr service.
type Service struct {
	timeout  time.Duration // smtpd_tls_session_cache_timeout
	database string        // smtpd_tls_session_cache_database: tickets make it needless

	log     *maillog.Logger
	ipcTime time.Duration
	keys    *ring
	asked   chan struct{} // has one element after a request
}

// New returns the service.
func New() service.Service { return &Service{} }

// Params names the parameters.
func (s *Service) Params(p *param.Set) {
	p.Time(&s.timeout, "smtpd_tls_session_cache_timeout", "3600s", param.Min(0))
	p.Str(&s.database, "smtpd_tls_session_cache_database", "")
}

// Open makes the first key when it is asked for.
func (s *Service) Open(e *service.Env) error {
	s.log, s.ipcTime = e.Log, e.Common.IPCTimeout
	s.keys = &ring{life: s.timeout, now: time.Now}
	s.asked = make(chan struct{}, 1)
	if s.database != "" && e.Verbose > 0 {
		s.log.Infof("smtpd_tls_session_cache_database: %s is not used: session tickets take its place", s.database)
	}
	return nil
}

// Run keeps the process as long as somebody may hold a ticket made with one of
// its keys.
func (s *Service) Run(ctx context.Context) error {
	t := time.NewTimer(2 * s.timeout)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.asked:
			t.Reset(2 * s.timeout)
		case <-t.C:
			return nil
		}
	}
}

// Serve answers one client until it goes.
func (s *Service) Serve(_ context.Context, c net.Conn) error {
	conn := attr.NewConn(c, s.ipcTime)
	hello := attr.Protocol(ipc.Protocol)
	if err := conn.Send(&hello); err != nil {
		return err
	}
	for {
		var req ipc.Request
		if err := conn.Recv(&req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply := s.answer(req)
		if err := conn.Send(&reply); err != nil {
			return err
		}
	}
}

func (s *Service) answer(req ipc.Request) ipc.Reply {
	if req.Kind != ipc.TicketKeys {
		s.log.Warningf("unknown request %.100q", req.Kind)
		return ipc.Reply{Status: ipc.Fail}
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
	keys, left, err := s.keys.current()
	if err != nil {
		s.log.Warningf("no key for session tickets: %v", err)
		return ipc.Reply{Status: ipc.Fail}
	}
	return ipc.Reply{Keys: keys, Seconds: int(left / time.Second)}
}

// A ring is the keys that are in use.
type ring struct {
	life time.Duration
	now  func() time.Time

	mu   sync.Mutex
	keys []key // the newest first
}

type key struct {
	octets [ipc.KeySize]byte
	made   time.Time
}
