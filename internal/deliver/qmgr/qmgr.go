// Package qmgr is the queue manager: it takes messages from the incoming and
// deferred queues into the active queue, decides in which order their
// recipients are delivered to, has delivery agents do it, and removes, defers or
// returns the message: qmgr(8).
//
// One goroutine, the loop, owns all state: the messages in the active queue and
// the scheduler (package schedule). It never waits for a disk or a socket. Other
// goroutines open queue files and ask for the routes of recipients (load.go),
// look through directories (scan.go), talk to delivery agents (agents.go), and
// end messages (finish.go); each reports by a function that the loop runs.
//
// Nothing here is kept anywhere but in the queue. A queue manager that dies
// leaves messages in the active queue; the next one moves them to incoming and
// begins anew with the recipients that are not marked done. A message on which
// an agent of the old one still works is locked, and is looked at later.
package qmgr

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"postern/internal/config/param"
	"postern/internal/mail/queue"
	"postern/internal/service"
)

// New returns the service.
func New() service.Service { return &Server{} }

// A Server is the queue manager as a service.
type Server struct {
	cfg Config
	m   *manager
}

// Params names the main.cf parameters that the queue manager reads.
func (s *Server) Params(set *param.Set) { s.cfg.Params(set) }

// Open prepares the queue and the clients of other services.
func (s *Server) Open(env *service.Env) error {
	if _, err := s.cfg.def.limits(); err != nil {
		return err
	}
	s.m = newManager(&s.cfg, env)
	return s.m.store.Prepare()
}

// Run is the queue manager's loop.
func (s *Server) Run(ctx context.Context) error { return s.m.run(ctx) }

// Close leaves the queue in order for whoever comes next.
func (s *Server) Close() error { return s.m.store.Finish() }

// maxRequest is the longest request, an octet and a queue id, with its NUL.
const maxRequest = 1 + 255 + 1

// Serve reads requests from a connection that may be kept: octets that each ask
// for something, and "I", a queue id and NUL, which tell of a new file.
// Postfix: single octets only.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	done := make(chan struct{})
	defer close(done)
	var once sync.Once
	go func() {
		select {
		case <-ctx.Done():
		case <-s.m.env.Draining:
		case <-done:
		}
		once.Do(func() { c.SetReadDeadline(time.Unix(1, 0)) })
	}()
	var p parser
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		p.feed(b[:n])
		if err != nil {
			p.end()
		}
		if req := p.take(); !req.empty() {
			s.m.post(func() { s.m.request(req) })
		}
		if err != nil {
			return err
		}
	}
}

// A request is what one or more triggers ask for.
type request struct {
	incoming, deferred, all, flush bool
	fresh                          []queue.ID // complete files in the incoming queue
}

func (r *request) empty() bool {
	return !r.incoming && !r.deferred && !r.all && !r.flush && len(r.fresh) == 0
}

// A parser takes requests out of a stream.
type parser struct {
	req  request
	rest []byte // what may become an id
}

func (p *parser) feed(b []byte) {
	p.rest = append(p.rest, b...)
	for len(p.rest) > 0 {
		n := p.one(false)
		if n == 0 {
			return
		}
		p.rest = p.rest[n:]
	}
}

// end takes what is left when the client has closed.
func (p *parser) end() {
	for len(p.rest) > 0 {
		p.rest = p.rest[p.one(true):]
	}
}

// one takes one request and returns its length, 0 when more must come first.
func (p *parser) one(last bool) int {
	if p.rest[0] == 'I' {
		n := bytes.IndexByte(p.rest, 0)
		whole := n >= 0
		if !whole {
			n = len(p.rest)
			if !last && n <= maxRequest && couldBeID(p.rest[1:]) {
				return 0
			}
		}
		if id, err := queue.ParseID(string(p.rest[1:n])); err == nil && len(id) >= minID {
			p.req.fresh = append(p.req.fresh, id)
			if whole {
				n++
			}
			return n
		}
	}
	p.octet(p.rest[0])
	return 1
}

// minID is the length of the shortest queue id: microseconds and an inode.
const minID = 6

// couldBeID says whether an id may go on after b: single requests that come
// together, "IW", are not held back.
func couldBeID(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	_, err := queue.ParseID(string(b))
	return err == nil && len(b) >= minID
}

func (p *parser) octet(c byte) {
	switch c {
	case 'I', 'W':
		p.req.incoming = true
	case 'D':
		p.req.deferred = true
	case 'A':
		p.req.all = true
	case 'F':
		p.req.flush = true
	}
}

// take returns the requests so far.
func (p *parser) take() request {
	r := p.req
	p.req = request{}
	return r
}
