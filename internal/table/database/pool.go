package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"postern/internal/table"
)

// Limits of connections.
const (
	maxConns       = 20 // of one table at once; more lookups wait
	connectTimeout = 10 * time.Second
	queryTimeout   = 30 * time.Second
)

// ErrHost wraps an error that says that a host is of no use at the moment: it cannot
// be reached, the connection broke, or it refuses to work. Any other error of
// a query is about the query.
var ErrHost = errors.New("host is not usable")

// A Host is one server of a table.
type Host struct {
	Name  string // as configured
	Local bool   // reached through a Unix-domain socket: tried before the others
}

// A Pool keeps connections to the hosts of a table.
//
// A lookup takes a connection that is open, else the hosts are tried: local
// ones first, and those of a kind in random order. A host that fails is left
// alone for Retry; a connection that was not used for Idle is closed.
type Pool[C io.Closer] struct {
	Spec    string
	Dial    func(ctx context.Context, host string) (C, error)
	Retry   time.Duration // retry_interval
	Idle    time.Duration // idle_interval
	InOrder bool          // hosts are tried in the order given
	Connect time.Duration // time to connect to one host
	Query   time.Duration // time for one query
	Log     table.Logger
	Now     func() time.Time

	slots chan struct{}
	mu    sync.Mutex
	hosts []*host[C]
	timer *time.Timer // closes idle connections when nobody comes
}

type host[C io.Closer] struct {
	Host
	until time.Time // left alone until then
	idle  []kept[C]
}

type kept[C io.Closer] struct {
	conn  C
	since time.Time
}

// NewPool returns a pool without connections. Its fields may be changed before
// it is used.
func NewPool[C io.Closer](spec string, hosts []Host, log table.Logger, dial func(ctx context.Context, host string) (C, error)) *Pool[C] {
	p := &Pool[C]{
		Spec: spec, Dial: dial, Log: log,
		Retry: time.Minute, Idle: time.Minute, Connect: connectTimeout, Query: queryTimeout, Now: time.Now,
		slots: make(chan struct{}, maxConns),
	}
	for _, h := range hosts {
		p.hosts = append(p.hosts, &host[C]{Host: h})
	}
	return p
}

// LimitConns sets how many connections there may be at once, before first use.
func (p *Pool[C]) LimitConns(n int) { p.slots = make(chan struct{}, n) }

// Do calls query with a connection. When the query's error is an ErrHost the
// next host is asked; a connection that was open before is first replaced by a
// fresh one to the same host, since the server may have closed it. Any error
// of Do is temporary.
func (p *Pool[C]) Do(ctx context.Context, query func(ctx context.Context, c C) error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for a connection: %w", p.Spec, ctx.Err())
	}
	var errs []error
	tried := map[*host[C]]bool{}
	for {
		h, c, open := p.take(tried)
		if h == nil {
			break
		}
		if !open {
			tried[h] = true
		}
		err := p.ask(ctx, h, c, open, query)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: host %s: %w", p.Spec, h.Name, err)
		}
		if errors.Is(err, ErrHost) && open {
			p.dropIdle(h) // the others are dead, too
			continue
		}
		if errors.Is(err, ErrHost) {
			p.Log.Warningf("%s: host %s: %v", p.Spec, h.Name, err)
			p.leave(h)
		} else if errors.Is(err, errLimit) {
			return err
		} else {
			tried[h] = true
		}
		errs = append(errs, fmt.Errorf("host %s: %w", h.Name, err))
	}
	if len(errs) == 0 {
		return fmt.Errorf("%s: no host is usable; each is tried again %v after it failed", p.Spec, p.Retry)
	}
	return fmt.Errorf("%s: %w", p.Spec, errors.Join(errs...))
}

// ask does one query on a kept connection, or on a new one.
func (p *Pool[C]) ask(ctx context.Context, h *host[C], c C, open bool, query func(context.Context, C) error) error {
	if !open {
		dial, cancel := context.WithTimeout(ctx, p.Connect)
		defer cancel()
		var err error
		if c, err = p.Dial(dial, h.Name); err != nil {
			return fmt.Errorf("%w: connect: %w", ErrHost, err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, p.Query)
	defer cancel()
	err := query(limited, c)
	if limited.Err() != nil && err != nil {
		err = fmt.Errorf("%w: %w", ErrHost, err)
	}
	if err != nil {
		c.Close() // what is left of an answer must not meet the next query
		return err
	}
	p.keep(h, c)
	return nil
}

// take chooses a host that was not tried, with an open connection if there is
// one.
func (p *Pool[C]) take(tried map[*host[C]]bool) (h *host[C], c C, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	now := p.Now()
	usable := slices.DeleteFunc(slices.Clone(p.hosts), func(h *host[C]) bool { return tried[h] || now.Before(h.until) })
	if !p.InOrder {
		rand.Shuffle(len(usable), func(i, j int) { usable[i], usable[j] = usable[j], usable[i] })
	}
	rank := func(h *host[C]) (n int) {
		if len(h.idle) == 0 {
			n += 2
		}
		if !h.Local && !p.InOrder {
			n++
		}
		return n
	}
	slices.SortStableFunc(usable, func(a, b *host[C]) int { return rank(a) - rank(b) })
	if len(usable) == 0 {
		return nil, c, false
	}
	h = usable[0]
	if n := len(h.idle); n > 0 {
		c = h.idle[n-1].conn
		h.idle = h.idle[:n-1]
		return h, c, true
	}
	return h, c, false
}

// keep puts a connection back.
func (p *Pool[C]) keep(h *host[C], c C) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.until = time.Time{}
	h.idle = append(h.idle, kept[C]{c, p.Now()})
	p.expire()
	if p.timer == nil {
		p.timer = time.AfterFunc(p.Idle, p.clean)
	}
}

// clean closes idle connections, and comes again while there are others.
func (p *Pool[C]) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	p.timer = nil
	for _, h := range p.hosts {
		if len(h.idle) > 0 && p.timer == nil {
			p.timer = time.AfterFunc(max(p.Idle/2, time.Second), p.clean)
		}
	}
}

// leave leaves a host alone for a while.
func (p *Pool[C]) leave(h *host[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.until = p.Now().Add(p.Retry)
}

// dropIdle closes the kept connections to a host.
func (p *Pool[C]) dropIdle(h *host[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range h.idle {
		k.conn.Close()
	}
	h.idle = nil
}

// expire closes connections that were idle for too long.
func (p *Pool[C]) expire() {
	now := p.Now()
	for _, h := range p.hosts {
		n := 0
		for n < len(h.idle) && now.Sub(h.idle[n].since) >= p.Idle {
			h.idle[n].conn.Close()
			n++
		}
		h.idle = h.idle[n:]
	}
}

// Close closes all kept connections.
func (p *Pool[C]) Close() error {
	for _, h := range p.hosts {
		p.dropIdle(h)
	}
	return nil
}
