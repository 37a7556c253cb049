package qmgr

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/deliver/qmgr/schedule"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/service"
)

const (
	// maxLoads is how many messages are opened at the same time: enough to
	// keep two disks and the address resolver busy.
	maxLoads = 16
	// maxFinishes is the same for messages that are removed or deferred.
	maxFinishes = 8
	// maxFresh is how many announced files are remembered while the active
	// queue is full; more are found by a scan.
	maxFresh = 20000
	// maxTold is how many reports wait for the loop before reporters wait.
	maxTold = 1024
	// stopGrace is how long deliveries that go on may take when the process
	// stops; agents end the others without it.
	stopGrace = 500 * time.Millisecond
)

// A manager is the loop and its state. Fields below "loop" belong to it alone.
type manager struct {
	cfg      *Config
	env      *service.Env
	store    *queue.Store
	rewrite  *rewrite.Client
	logs     logs
	now      func() time.Time
	patience time.Duration // between attempts to take a message out of the active queue

	workers  *workers
	told     chan func()   // what others report
	finishes chan struct{} // a token for each message being ended
	ones     oneByOne
	probes   atomic.Int64  // address probes in the active queue
	stopped  chan struct{} // closed when the loop has ended
	started  time.Time     // when the active queue was taken over

	// loop
	sched    *schedule.Scheduler
	active   map[queue.ID]*message // in the active queue or on the way
	loads    int
	fresh    []queue.ID
	turn     int // whose turn it is: incoming or deferred
	incoming scan
	deferred scan
	nextRun  time.Time // of the deferred queue
	flushing bool      // the next deferred scan ignores defer_transports
	allNext  bool      // the next deferred scan ignores time stamps
	clogged  map[string]time.Time
}

// oneByOne remembers which transports deliver to one recipient at a time.
type oneByOne struct {
	mu     sync.Mutex
	byName map[string]bool
}

// logs are the services that keep a log per message.
type logs struct {
	bounce, deferred, trace *bounce.Client
}

func newManager(cfg *Config, env *service.Env) *manager {
	c := env.Common
	log := func(name string) *bounce.Client {
		return bounce.New(env.Endpoint("private", name, bounce.Protocol))
	}
	m := &manager{
		cfg:      cfg,
		env:      env,
		store:    queue.Open(c),
		rewrite:  rewrite.New(env.Endpoint("private", c.RewriteServiceName, rewrite.Protocol)),
		logs:     logs{log(c.BounceServiceName), log(c.DeferServiceName), log(c.TraceServiceName)},
		now:      time.Now,
		patience: time.Minute,
		workers:  newWorkers(maxLoads + maxFinishes),
		told:     make(chan func(), maxTold),
		finishes: make(chan struct{}, maxFinishes),
		stopped:  make(chan struct{}),
		active:   make(map[queue.ID]*message),
		clogged:  make(map[string]time.Time),
		ones:     oneByOne{byName: make(map[string]bool)},
	}
	m.incoming = scan{queue: queue.Incoming}
	m.deferred = scan{queue: queue.Deferred}
	m.sched = schedule.New(schedule.Config{
		Limits:       m.transportLimits,
		MinBackoff:   cfg.MinBackoff,
		RetryTime:    cfg.RetryTime,
		Retry:        retryTransport,
		RecipientMax: cfg.RecipientLimit,
		RecipientMin: cfg.RecipientMinimum,
		Refill:       m.refill,
		Finished:     func(sm *schedule.Message) { m.finished(sm.Data.(*message)) },
		Work:         m.pump,
		Debug:        m.feedback(),
	})
	return m
}

// feedback logs how the concurrency of destinations changes,
// destination_concurrency_feedback_debug.
func (m *manager) feedback() func(format string, args ...any) {
	if !m.cfg.FeedbackDebug {
		return nil
	}
	return m.env.Log.Infof
}

// The transports that do not deliver; their next hop is a reason.
const (
	retryTransport = "retry"
	errorTransport = "error"
)

// post hands f to the loop. It waits while the loop is behind, which holds back
// those who bring work.
func (m *manager) post(f func()) {
	select {
	case m.told <- f:
	case <-m.stopped:
	}
}

func (m *manager) run(ctx context.Context) error {
	defer close(m.stopped)
	if err := m.store.Recover(m.env.Log.Warningf); err != nil {
		m.env.Log.Warningf("%v", err) // the journal stays for another attempt
	}
	if err := m.takeOver(); err != nil {
		return err
	}
	go m.keep()
	m.started = m.now()
	m.sched.Tick(m.started)
	m.incoming.start(m, scanOptions{})
	m.runDeferred()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		m.feed(ctx)
		m.setTimer(timer)
		in, def := m.candidates()
		select {
		case f := <-m.told:
			m.sched.Tick(m.now())
			f()
			m.drain()
		case c, ok := <-in:
			m.incoming.got(m, ctx, c, ok)
		case c, ok := <-def:
			m.deferred.got(m, ctx, c, ok)
		case <-timer.C:
		case <-ctx.Done():
		}
		m.sched.Tick(m.now())
		if !m.now().Before(m.nextRun) {
			m.runDeferred()
		}
	}
	m.stop()
	return nil
}

const (
	// settlePause is how often the queue's journal is looked after.
	settlePause = time.Second
	// scrubPause is how long what was in finished messages is kept.
	scrubPause = time.Minute
)

// keep looks after the store while the loop runs.
func (m *manager) keep() {
	settle := time.NewTicker(settlePause)
	defer settle.Stop()
	scrubbed := m.now()
	for {
		select {
		case <-settle.C:
		case <-m.stopped:
			return
		}
		err := m.store.Settle()
		if now := m.now(); now.Sub(scrubbed) >= scrubPause {
			scrubbed = now
			err = errors.Join(err, m.store.ScrubSpares(now.Add(-scrubPause)))
		}
		if err != nil {
			m.env.Log.Warningf("%v", err)
		}
	}
}

// drain does what else was reported meanwhile.
func (m *manager) drain() {
	for range maxTold {
		select {
		case f := <-m.told:
			f()
		default:
			return
		}
	}
}

// stop waits a little for deliveries that go on, so that what they did is put
// into effect; nothing new is begun. What they have not told by then is in the
// queue file.
func (m *manager) stop() {
	m.incoming.stop()
	m.deferred.stop()
	limit := time.NewTimer(stopGrace)
	defer limit.Stop()
	for m.busy() {
		select {
		case f := <-m.told:
			f()
		case <-limit.C:
			return
		}
	}
	for range cap(m.finishes) {
		select {
		case m.finishes <- struct{}{}:
		case <-limit.C:
			return
		}
	}
}

func (m *manager) busy() bool {
	if m.loads > 0 {
		return true
	}
	for _, t := range m.sched.Transports() {
		if t.Busy() > 0 {
			return true
		}
	}
	return false
}

func (m *manager) setTimer(t *time.Timer) {
	at := m.nextRun
	if due, ok := m.sched.Due(); ok && due.Before(at) {
		at = due
	}
	t.Reset(at.Sub(m.now()))
}

// room says whether another message may be loaded.
func (m *manager) room() bool {
	return m.loads < maxLoads && len(m.active) < m.cfg.ActiveLimit && m.sched.Recipients() < m.cfg.RecipientLimit
}

// candidates returns the scans to listen to: none while there is no room, and
// one after the other, so that neither queue keeps the other waiting.
func (m *manager) candidates() (in, def <-chan candidate) {
	if !m.room() {
		return nil, nil
	}
	return m.incoming.found, m.deferred.found
}

// feed loads files that were announced, in turn with deferred ones.
func (m *manager) feed(ctx context.Context) {
	for len(m.fresh) > 0 && m.room() {
		if m.turn++; m.turn%2 == 0 && m.deferred.found != nil {
			select {
			case c, ok := <-m.deferred.found:
				m.deferred.got(m, ctx, c, ok)
				continue
			default:
			}
		}
		id := m.fresh[0]
		m.fresh = m.fresh[1:]
		m.load(ctx, candidate{id: id, queue: queue.Incoming, fresh: true})
	}
}

// request does what triggers ask for.
func (m *manager) request(r request) {
	if r.flush {
		m.flushing = true
		m.sched.ReviveAll()
		for _, t := range m.sched.Transports() {
			m.pump(t)
		}
	}
	m.allNext = m.allNext || r.all
	if len(m.fresh)+len(r.fresh) > maxFresh {
		r.incoming = true
	} else {
		m.fresh = append(m.fresh, r.fresh...)
	}
	if r.incoming {
		m.incoming.start(m, scanOptions{})
	}
	if r.deferred {
		m.runDeferred()
	}
}

// runDeferred looks through the deferred queue, now and after queue_run_delay.
func (m *manager) runDeferred() {
	m.deferred.start(m, scanOptions{all: m.allNext, flush: m.flushing})
	m.allNext, m.flushing = false, false
	m.nextRun = m.now().Add(m.cfg.RunDelay)
}

// takeOver moves what an earlier queue manager had in work to incoming.
func (m *manager) takeOver() error {
	now := m.now()
	for id, err := range m.store.Scan(queue.Active) {
		if err != nil {
			return err
		}
		if err := m.store.SetNextTry(queue.Active, id, now); err != nil && !missing(err) {
			return err
		}
		if err := m.store.Move(id, queue.Active, queue.Incoming); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// unavailable is the result when a transport cannot be reached.
func unavailable(reason string) dsn.Result { return dsn.Make("4.3.0", reason) }
