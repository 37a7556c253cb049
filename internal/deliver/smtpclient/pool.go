package smtpclient

import (
	"slices"
	"sync"
	"time"

	"postern/internal/base/sys"
)

// A pool keeps idle sessions for the next delivery (Postfix: the connection
// cache, which is a service of its own there). A session is found again by the
// destination for which it was opened, or by its address.
type pool struct {
	mu   sync.Mutex
	idle []*idle // oldest first
	shut bool
}

type idle struct {
	*session
	key         string
	destination string
	timer       *time.Timer
}

// put keeps a session for a while.
func (p *pool) put(s *session, key, destination string, d time.Duration) {
	i := &idle{session: s, key: key, destination: destination}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		s.farewell()
		return
	}
	i.timer = time.AfterFunc(d, func() { p.expire(i) })
	p.idle = append(p.idle, i)
}

func (p *pool) expire(i *idle) {
	p.mu.Lock()
	n := slices.Index(p.idle, i)
	if n >= 0 {
		p.idle = slices.Delete(p.idle, n, n+1)
	}
	p.mu.Unlock()
	if n >= 0 {
		i.farewell()
	}
}

// farewell ends an idle session without waiting for an answer.
func (s *session) farewell() {
	s.conn.SetDeadline(time.Now().Add(time.Second))
	s.conn.Write([]byte("QUIT\r\n"))
	s.close()
}

// close ends all idle sessions; those that come later are ended at once.
func (p *pool) close() {
	p.mu.Lock()
	list := p.idle
	p.idle, p.shut = nil, true
	p.mu.Unlock()
	for _, i := range list {
		i.timer.Stop()
		i.farewell()
	}
}

// take returns a session for the destination, or with one of its best places.
func (p *pool) take(key, destination string, list []place, best uint32) *session {
	s := p.find(func(i *idle) bool { return i.key == key && i.destination == destination })
	for n := 0; s == nil && n < len(list) && list[n].pref == best; n++ {
		s = p.takePlace(key, list[n])
		if s != nil {
			s.bestMX = true
		}
	}
	return s
}

// takePlace returns a session with a place.
func (p *pool) takePlace(key string, at place) *session {
	return p.find(func(i *idle) bool {
		q := &i.place
		return i.key == key && q.addr == at.addr && q.port == at.port && q.path == at.path
	})
}

// find returns the session that was put last and fits. Dead ones are dropped.
func (p *pool) find(fits func(*idle) bool) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle) - 1; n >= 0; n-- {
		i := p.idle[n]
		if !fits(i) {
			continue
		}
		p.idle = slices.Delete(p.idle, n, n+1)
		i.timer.Stop()
		if i.quiet() {
			return i.session
		}
		i.close()
	}
	return nil
}

// quiet says that the server has neither closed the connection nor said
// anything since the last reply.
func (s *session) quiet() bool {
	if s.r.Buffered() > 0 {
		return false
	}
	conn := s.conn
	if s.tls != nil {
		conn = s.tls.NetConn()
	}
	return sys.Quiet(conn)
}
