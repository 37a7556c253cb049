package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Times of a process that was told to stop: sessions may go on for grace, then
// their connections are closed, and after another grace the process is gone.
const grace = time.Second

// lastLines is how long a log service that was told to stop goes on for the
// last lines of the others. It ends when master does.
const lastLines = 3 * time.Second

// usedAfter is how long the background loop must have gone on to count as
// start-up that worked.
const usedAfter = 10 * time.Second

// A server serves what arrives on the listening descriptors of a process.
type server struct {
	*process
	sources []source

	stopAccept context.CancelFunc // no more connections
	accepting  context.Context
	run        context.Context // for the background loop
	stopRun    context.CancelFunc
	sessions   context.Context // for sessions
	stopAll    context.CancelFunc

	loops sync.WaitGroup // accept loops

	mu       sync.Mutex
	changed  *sync.Cond // active has become less, or accepting has ended
	active   int
	conns    map[net.Conn]struct{}
	lastUsed time.Time
	used     bool
}

// A source is one listening descriptor.
type source interface {
	// accept waits for work and starts it.
	accept(s *server) error
	// stop makes accept return.
	stop()
	// rest takes what is there without waiting; accept is not called any more.
	rest(s *server)
}

// serve is the last step: the life of the process.
func (s *process) serve() error {
	if s.opt.standAlone {
		return s.serveStandAlone()
	}
	v := newServer(s)
	if err := v.open(); err != nil {
		return err
	}
	s.channel.tell(Ready)
	for _, src := range v.sources {
		v.loops.Add(1)
		go v.loop(src)
	}
	err := v.wait()
	if c, ok := s.service.(Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

func newServer(s *process) *server {
	v := &server{process: s, conns: make(map[net.Conn]struct{}), lastUsed: time.Now()}
	v.changed = sync.NewCond(&v.mu)
	v.accepting, v.stopAccept = context.WithCancel(context.Background())
	v.run, v.stopRun = context.WithCancel(context.Background())
	v.sessions, v.stopAll = context.WithCancel(context.Background())
	return v
}

// open makes sources of the inherited descriptors.
func (v *server) open() error {
	for fd := ListenFD; fd < ListenFD+v.opt.sockets; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), fmt.Sprintf("listening descriptor %d", fd))
		src, err := v.source(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		v.sources = append(v.sources, src)
	}
	return nil
}

func (v *server) source(f *os.File) (source, error) {
	switch v.opt.typ {
	case "unix-dgram":
		return newDatagrams(f)
	case "fifo":
		return newFIFO(f)
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	if v.opt.typ == "inet" && v.opt.limit != 1 && !loopback(l.Addr()) {
		v.stress.enabled = true
	}
	return &listener{l: l, passed: v.opt.typ == "pass"}, nil
}

// loop accepts from one source until accepting ends.
func (v *server) loop(src source) {
	defer v.loops.Done()
	defer src.rest(v)
	stop := context.AfterFunc(v.accepting, src.stop)
	defer stop()
	for v.roomOrEnd() {
		err := src.accept(v)
		if v.accepting.Err() != nil {
			return
		}
		if err != nil {
			v.log.Warningf("accept connection: %v", err)
			pause(v.accepting, 500*time.Millisecond)
		}
	}
}

func waitFor(done <-chan struct{}, limit time.Duration) {
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// roomOrEnd waits until a session is free; false when accepting has ended.
func (v *server) roomOrEnd() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.full() && v.accepting.Err() == nil {
		v.changed.Wait()
	}
	return v.accepting.Err() == nil
}

func (v *server) full() bool { return v.env.Limit > 0 && v.active >= v.env.Limit }

// start runs work in a goroutine as one session, with c (may be nil) closed at
// its end. Two sources may find the last free session: the second waits.
func (v *server) start(c net.Conn, work func(context.Context) error) {
	v.mu.Lock()
	for v.full() {
		v.changed.Wait()
	}
	v.active++
	if c != nil {
		v.conns[c] = struct{}{}
	}
	busy := v.full()
	v.mu.Unlock()
	if busy {
		v.stress.enter()
		v.channel.tell(Busy)
	}
	go v.session(c, work)
}

func (v *server) session(c net.Conn, work func(context.Context) error) {
	defer v.end(c)
	if err := v.contained(work); err != nil && !ordinary(err) {
		v.log.Warningf("%v", err)
	}
}

// contained runs work; a panic becomes a log line with the stack.
func (v *server) contained(work func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v.reportPanic(p, debug.Stack())
		}
	}()
	return work(v.sessions)
}

func (v *server) reportPanic(p any, stack []byte) {
	v.log.Panicf("%v", p)
	for line := range strings.SplitSeq(strings.TrimSpace(string(stack)), "\n") {
		v.log.Panicf("| %s", strings.ReplaceAll(line, "\t", "  "))
	}
}

// ordinary says whether a session's error is only that the client went away.
func ordinary(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

func (v *server) end(c net.Conn) {
	if c != nil {
		c.Close()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.active--
	delete(v.conns, c)
	v.lastUsed = time.Now()
	if !v.used {
		v.used = true
		go v.channel.tell(Used)
	}
	v.changed.Broadcast()
}

// wait is the life of the process after start-up: it returns when the process
// is to exit.
func (v *server) wait() error {
	runner := v.startRunner()
	idle := time.NewTimer(v.common.MaxIdle)
	defer idle.Stop()
	running := runner != nil
	for {
		select {
		case err := <-runner:
			running, runner = false, nil
			if err != nil {
				v.quiesce()
				return err
			}
			idle.Reset(v.common.MaxIdle)
		case <-v.drain:
			v.quiesce()
			return v.finish(runner)
		case <-v.signals:
			if _, ok := v.service.(Packets); ok {
				waitFor(v.drain, lastLines)
			}
			return v.terminate(runner)
		case <-idle.C:
			if left := v.idleLeft(running); left > 0 {
				idle.Reset(left)
				continue
			}
			v.quiesce()
			return v.finish(nil)
		}
	}
}

// idleLeft is how long the process must go on being idle before it exits.
func (v *server) idleLeft(running bool) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if running || v.program.Permanent || v.active > 0 {
		return v.common.MaxIdle
	}
	return v.common.MaxIdle - time.Since(v.lastUsed)
}

// startRunner starts the background loop, if there is one.
func (v *server) startRunner() chan error {
	r, ok := v.service.(Runner)
	if !ok {
		return nil
	}
	done := make(chan error, 1)
	used := time.AfterFunc(usedAfter, func() { v.channel.tell(Used) })
	go func() {
		defer used.Stop()
		done <- v.containedLoop(r)
	}()
	return done
}

// containedLoop runs the background loop; a panic in it ends the process.
func (v *server) containedLoop(r Runner) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v.reportPanic(p, debug.Stack())
			err = fmt.Errorf("background loop failed: %v", p)
		}
	}()
	return r.Run(v.run)
}

// quiesce ends accepting. Connections that arrive from here on stay in the
// socket for the next process, which master starts.
func (v *server) quiesce() {
	v.stopAccept()
	v.mu.Lock()
	v.changed.Broadcast()
	v.mu.Unlock()
	v.loops.Wait()
	v.channel.tell(Quiescent)
}

// finish waits for the sessions and the background loop.
func (v *server) finish(runner chan error) error {
	v.stopRun()
	done := make(chan error, 1)
	go func() {
		var err error
		if runner != nil {
			err = <-runner
		}
		v.idle()
		done <- err
	}()
	select {
	case err := <-done:
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	case <-v.signals:
		return v.terminate(nil)
	}
}

// idle waits until no session is left.
func (v *server) idle() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.active > 0 {
		v.changed.Wait()
	}
}

// terminate is what SIGTERM asks for.
func (v *server) terminate(runner chan error) error {
	v.startDrain()
	v.stopAccept()
	v.stopRun()
	done := make(chan struct{})
	go func() {
		v.loops.Wait()
		if runner != nil {
			<-runner
		}
		v.idle()
		close(done)
	}()
	waitFor(done, grace)
	v.stopAll()
	v.mu.Lock()
	for c := range v.conns {
		c.Close()
	}
	v.mu.Unlock()
	waitFor(done, grace)
	return nil
}
