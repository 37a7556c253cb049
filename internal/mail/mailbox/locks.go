package mailbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
	"postern/internal/config/param"
)

// Methods are the ways to lock an mbox file, virtual_mailbox_lock and
// mailbox_delivery_lock.
type Methods struct{ Fcntl, Flock, Dotlock bool }

// ParseMethods reads the value of the parameter called title.
func ParseMethods(title, list string) (Methods, error) {
	var m Methods
	for _, name := range param.Split(list) {
		switch strings.ToLower(name) {
		case "fcntl":
			m.Fcntl = true
		case "flock":
			m.Flock = true
		case "dotlock":
			m.Dotlock = true
		default:
			return m, fmt.Errorf("parameter %s: unknown locking method %.100q; need fcntl, flock or dotlock", title, name)
		}
	}
	if m == (Methods{}) {
		return m, fmt.Errorf("parameter %s specifies no applicable mailbox locking method", title)
	}
	return m, nil
}

// A Locker locks mbox files against other programs, and against other
// deliveries of this one, which it lets in one by one without a delay.
type Locker struct {
	Methods  Methods
	Attempts int           // deliver_lock_attempts
	Delay    time.Duration // deliver_lock_delay: between two attempts
	Stale    time.Duration // stale_lock_time: an older lock file is removed

	mu   sync.Mutex
	busy map[string]*turn
}

// A turn is a path that is being written to.
type turn struct {
	mu      sync.Mutex
	waiting int // holder included
}

// take waits for the turn to write to path.
func (l *Locker) take(path string) (release func()) {
	l.mu.Lock()
	t := l.busy[path]
	if t == nil {
		if l.busy == nil {
			l.busy = make(map[string]*turn)
		}
		t = &turn{}
		l.busy[path] = t
	}
	t.waiting++
	l.mu.Unlock()
	t.mu.Lock()
	return func() {
		t.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(l.busy, path)
		}
	}
}

// retry calls f until it no longer reports that somebody else has the lock, at
// most as long as the attempts and the delay between them allow. The first
// attempts follow each other quickly.
func (l *Locker) retry(f func() error, busy func(error) bool) error {
	end := time.Now().Add(time.Duration(l.Attempts) * l.Delay)
	pause := 5 * time.Millisecond
	for {
		err := f()
		if err == nil || !busy(err) || time.Now().Add(pause).After(end) {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, max(l.Delay, time.Millisecond))
	}
}

// dotlock makes the lock file of path.
func (l *Locker) dotlock(path string) (unlock func(), err error) {
	name := path + ".lock"
	err = l.retry(func() error {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0)
		if err == nil {
			return f.Close()
		}
		if st, e := os.Lstat(name); e == nil && l.Stale > 0 && time.Since(st.ModTime()) > l.Stale {
			os.Remove(name)
		}
		return err
	}, func(err error) bool { return errors.Is(err, os.ErrExist) })
	if err != nil {
		return nil, err
	}
	return func() { os.Remove(name) }, nil
}

// lock locks the open file.
func (l *Locker) lock(f *os.File) error {
	locked := func(err error) bool { return errors.Is(err, sys.ErrLocked) }
	if l.Methods.Flock {
		if err := l.retry(func() error { return sys.Flock(f, true) }, locked); err != nil {
			return err
		}
	}
	if l.Methods.Fcntl {
		return l.retry(func() error { return sys.OFDLock(f, true) }, locked)
	}
	return nil
}
