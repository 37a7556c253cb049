package maillog

import (
	"fmt"
	"sync"
	"time"
)

// Limits of what a Queue holds while its transport stalls.
const (
	maxQueueLines  = 10000
	maxQueueOctets = 2 << 20
)

// A busy writer waits for gatherPause before it sends, so that one message to
// the log service carries many lines. It is busy when it has sent busySends
// messages within busyPeriod; single lines go at once and keep their place
// between the lines of other programs.
const (
	busyPeriod  = 20 * time.Millisecond
	busySends   = 10
	gatherPause = 4 * time.Millisecond
)

// A transport sends rendered lines and reports failure at once or within a
// short deadline. Only the writer goroutine calls it.
type transport interface {
	render(b []byte, l *line) []byte
	// room is how many octets of lines, with a line feed between them, go into
	// one message; 0: a message is one line.
	room() int
	send(b []byte) error
}

// A Queue is a sink with a bounded buffer and one writer goroutine. When the
// log service is slow or gone, lines wait in the buffer; when it is full, new
// lines are dropped and counted, and the count is logged when the service is
// back.
type Queue struct {
	out   transport
	retry time.Duration
	now   func() time.Time

	mu      sync.Mutex
	ready   chan struct{} // holds a token when lines is not empty
	lines   []line
	octets  int
	dropped int
	idle    *sync.Cond // lines empty and nothing being sent
	busy    bool

	buf []byte // of the writer
}

func newQueue(out transport) *Queue {
	q := &Queue{out: out, retry: time.Second, now: time.Now, ready: make(chan struct{}, 1)}
	q.idle = sync.NewCond(&q.mu)
	go q.run()
	return q
}

// Write puts the line into the buffer, or drops it.
func (q *Queue) Write(level Level, tag string, pid int, text string, e Event) {
	l := line{when: q.now(), level: level, tag: tag, pid: pid, text: text, event: e}
	q.mu.Lock()
	if len(q.lines) >= maxQueueLines || q.octets+len(text) > maxQueueOctets {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.lines = append(q.lines, l)
	q.octets += len(text)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Flush waits until the buffer is written, for at most limit.
func (q *Queue) Flush(limit time.Duration) {
	over := false
	t := time.AfterFunc(limit, func() {
		q.mu.Lock()
		over = true
		q.mu.Unlock()
		q.idle.Broadcast()
	})
	defer t.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.lines) > 0 || q.busy) && !over {
		q.idle.Wait()
	}
}

// run is the writer goroutine; it lives as long as the process.
func (q *Queue) run() {
	var busy pace
	for range q.ready {
		for {
			if q.out.room() > 0 && busy.sent(q.now()) {
				time.Sleep(gatherPause)
			}
			batch, dropped := q.take()
			if batch == nil {
				break
			}
			if dropped > 0 {
				batch = append(batch, q.report(batch[0], dropped))
			}
			q.deliverAll(batch)
		}
	}
}

// A pace counts what was sent in a period.
type pace struct {
	start time.Time
	n     int
}

// sent counts one more and says whether these are many.
func (p *pace) sent(now time.Time) bool {
	if d := now.Sub(p.start); d < 0 || d > busyPeriod {
		busy := p.n >= busySends
		p.start, p.n = now, 0
		return busy
	}
	p.n++
	return p.n >= busySends
}

// deliverAll sends the lines in order, as many in a message as fit.
func (q *Queue) deliverAll(batch []line) {
	b, n := q.buf[:0], 0
	for i := range batch {
		start := len(b)
		if n > 0 {
			b = append(b, '\n')
		}
		b = q.out.render(b, &batch[i])
		if n > 0 && len(b) > q.out.room() {
			q.deliver(b[:start], n)
			b = b[:copy(b, b[start+1:])]
			n = 0
		}
		n += max(1, batch[i].stands)
	}
	if n > 0 {
		q.deliver(b, n)
	}
	q.buf = b
}

// take empties the buffer; nil when there is nothing.
func (q *Queue) take() ([]line, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, dropped := q.lines, q.dropped
	q.lines, q.octets, q.dropped = nil, 0, 0
	q.busy = len(batch) > 0
	if !q.busy {
		q.idle.Broadcast()
		return nil, 0
	}
	return batch, dropped
}

func (q *Queue) report(like line, dropped int) line {
	like.when, like.level, like.event = q.now(), Warning, nil
	like.stands = dropped // lost again when the report is
	like.text = fmt.Sprintf("log service was too slow: %d log lines dropped", dropped)
	return like
}

// deliver sends b, which stands for n lines, and tries again as long as the
// buffer has room for what is logged meanwhile: then b is dropped so that the
// newer lines come through.
func (q *Queue) deliver(b []byte, n int) {
	for q.out.send(b) != nil {
		q.mu.Lock()
		full := len(q.lines) >= maxQueueLines/2 || q.octets > maxQueueOctets/2
		if full {
			q.dropped += n
		}
		q.mu.Unlock()
		if full {
			return
		}
		time.Sleep(q.retry)
	}
}
