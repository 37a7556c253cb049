package qmgr

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"postern/internal/mail/queue"
)

// A candidate is a message that may enter the active queue.
type candidate struct {
	id    queue.ID
	queue queue.Name
	fresh bool // announced by cleanup
	flush bool // mail for defer_transports is wanted too
	all   bool // its time does not matter
}

type scanOptions struct {
	all   bool // ignore the time stamps
	flush bool // mail for defer_transports is wanted too
}

// A scan is one look through a queue at a time. A goroutine goes through the
// directories and offers what is due; the loop takes it when there is room.
type scan struct {
	queue  queue.Name
	found  chan candidate // nil when no scan goes on
	quit   chan struct{}
	again  bool // a scan was asked for while one went on
	option scanOptions
}

// start begins a scan, or has one follow that which goes on.
func (s *scan) start(m *manager, o scanOptions) {
	s.option.all = s.option.all || o.all
	s.option.flush = s.option.flush || o.flush
	if s.found != nil {
		s.again = true
		return
	}
	o, s.option = s.option, scanOptions{}
	s.found = make(chan candidate)
	s.quit = make(chan struct{})
	go m.look(s.queue, o, s.found, s.quit)
}

// got takes what the scan offers; not ok is its end.
func (s *scan) got(m *manager, ctx context.Context, c candidate, ok bool) {
	if ok {
		m.load(ctx, c)
		return
	}
	s.found = nil
	if s.again {
		s.again = false
		s.start(m, scanOptions{})
	}
}

func (s *scan) stop() {
	if s.found != nil {
		close(s.quit)
		s.found = nil
	}
}

// look goes through a queue once.
func (m *manager) look(q queue.Name, o scanOptions, found chan<- candidate, quit <-chan struct{}) {
	defer close(found)
	sc, err := m.store.Scanner(q)
	if err != nil {
		m.env.Log.Warningf("%v", err)
		return
	}
	defer sc.Close()
	for {
		e, err := sc.Next()
		if err != nil {
			if err != io.EOF {
				m.env.Log.Warningf("%v", err)
			}
			return
		}
		if e.ID == "" || !m.due(q, e.ID, o) {
			continue
		}
		select {
		case found <- candidate{id: e.ID, queue: q, flush: o.flush, all: o.all}:
		case <-quit:
			return
		}
	}
}

// due says whether a file is a complete message whose time has come.
func (m *manager) due(q queue.Name, id queue.ID, o scanOptions) bool {
	info, err := m.store.Stat(q, id)
	if err != nil {
		if !missing(err) {
			m.env.Log.Warningf("%v", err)
		}
		return false
	}
	return info.Ready() && (o.all || ripe(info, m.now()))
}

// ripe says whether the time of a message has come. Postfix: one second of
// difference between clocks does not matter.
func ripe(info queue.Info, now time.Time) bool {
	return !info.ModTime.After(now.Add(time.Second))
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
