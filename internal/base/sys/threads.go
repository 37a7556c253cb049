package sys

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Bounds of the threads that wait.
const (
	maxIdleThreads = 64
	threadIdle     = time.Second
)

// Threads runs functions with the credentials of others as As does, but a
// thread waits for a while for the next function of the very same credentials:
// to make one and to free it costs as much as a small write. A thread never
// changes from one owner to another. The zero value is ready.
type Threads struct {
	mu   sync.Mutex
	idle map[string][]*thread // by credentials
	n    int                  // in idle
}

type thread struct{ work chan task }

type task struct {
	f    func() error
	done chan result
}

// As runs f with the credentials of o and nothing else.
func (t *Threads) As(o Owner, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	key := credentials(o)
	th := t.take(key)
	if th == nil {
		th = &thread{work: make(chan task)}
		go t.run(th, key, o)
	}
	k := task{f, make(chan result, 1)}
	th.work <- k
	r := <-k.done
	if r.panicked != "" {
		panic(r.panicked)
	}
	return r.err
}

// run is the life of a thread. It ends with the goroutine, which stays locked.
func (t *Threads) run(th *thread, key string, o Owner) {
	runtime.LockOSThread()
	failed := becomeThread(o)
	timer := time.NewTimer(threadIdle)
	defer timer.Stop()
	for k, ok := <-th.work, true; ok; k, ok = t.next(th, key, timer) {
		r := result{err: failed}
		if failed == nil {
			r = contained(k.f)
		}
		keep := failed == nil && r.panicked == "" && t.put(th, key)
		k.done <- r
		if !keep {
			return
		}
	}
}

func contained(f func() error) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	r.err = f()
	return r
}

// next waits for work; false when there is none for threadIdle.
func (t *Threads) next(th *thread, key string, timer *time.Timer) (task, bool) {
	timer.Reset(threadIdle)
	select {
	case k := <-th.work:
		return k, true
	case <-timer.C:
		if t.leave(th, key) {
			return task{}, false
		}
		return <-th.work, true // somebody has just taken it
	}
}

// take returns a thread that waits, nil when there is none.
func (t *Threads) take(key string) *thread {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[key]
	if len(list) == 0 {
		return nil
	}
	th := list[len(list)-1]
	t.keep(key, list[:len(list)-1])
	t.n--
	return th
}

// put lets th wait; false when enough threads do.
func (t *Threads) put(th *thread, key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n >= maxIdleThreads {
		return false
	}
	if t.idle == nil {
		t.idle = make(map[string][]*thread)
	}
	t.idle[key] = append(t.idle[key], th)
	t.n++
	return true
}

// leave takes th out of the list; false when it is not there any more.
func (t *Threads) leave(th *thread, key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.idle[key], th)
	if i < 0 {
		return false
	}
	t.keep(key, slices.Delete(t.idle[key], i, i+1))
	t.n--
	return true
}

func (t *Threads) keep(key string, list []*thread) {
	if len(list) == 0 {
		delete(t.idle, key)
		return
	}
	t.idle[key] = list
}

// credentials is what two owners must have in common to share a thread.
func credentials(o Owner) string {
	b := binary.AppendVarint(nil, int64(o.UID))
	b = binary.AppendVarint(b, int64(o.GID))
	for _, g := range o.Groups {
		b = binary.AppendVarint(b, int64(g))
	}
	return string(b)
}
