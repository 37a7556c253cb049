package master

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
)

// A poller watches descriptors in one goroutine and reports each that becomes
// readable once; then it has to be added again. Descriptors that a child
// process serves are not watched, so their traffic costs nothing here.
type poller struct {
	wake   int // an eventfd
	report func(fds []int)

	mu     sync.Mutex
	fds    map[int]bool
	closed bool
}

func newPoller(report func(fds []int)) (*poller, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{wake: wake, report: report, fds: make(map[int]bool)}
	go p.run()
	return p, nil
}

func (p *poller) add(fd int) {
	p.mu.Lock()
	known := p.fds[fd]
	p.fds[fd] = true
	p.mu.Unlock()
	if !known {
		p.kick()
	}
}

func (p *poller) remove(fd int) {
	p.mu.Lock()
	delete(p.fds, fd)
	p.mu.Unlock()
	p.kick()
}

func (p *poller) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.kick()
}

// kick makes run look at the set again.
func (p *poller) kick() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(p.wake, one[:]) // fails only when it is readable anyway
}

func (p *poller) run() {
	for {
		fds, closed := p.set()
		if closed {
			return
		}
		ready, err := sys.Readable(fds, -1)
		if err != nil {
			// Only a lack of memory: the set is ours and valid.
			ready, _ = sys.Readable(fds[:1], 1000)
		}
		if hits := p.take(ready); len(hits) > 0 {
			p.report(hits)
		}
	}
}

func (p *poller) set() ([]int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fds := []int{p.wake}
	for fd := range p.fds {
		fds = append(fds, fd)
	}
	return fds, p.closed
}

// take removes what is ready from the set.
func (p *poller) take(ready []int) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var hits []int
	for _, fd := range ready {
		if fd == p.wake {
			var b [8]byte
			unix.Read(p.wake, b[:])
			continue
		}
		if p.fds[fd] {
			delete(p.fds, fd)
			hits = append(hits, fd)
		}
	}
	return hits
}
