package schedule

import (
	"container/heap"
	"time"
)

// A timer is something to do at a time.
type timer struct {
	at    time.Time
	do    func()
	index int // in the heap; -1 when it is over
}

type timers []*timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

func (s *Scheduler) after(d time.Duration, do func()) *timer {
	t := &timer{at: s.now.Add(d), do: do}
	heap.Push(&s.timers, t)
	return t
}

func (s *Scheduler) cancel(t *timer) {
	if t != nil && t.index >= 0 {
		heap.Remove(&s.timers, t.index)
	}
}

// Tick tells the time, which never goes back, and does what is due.
func (s *Scheduler) Tick(now time.Time) {
	if now.After(s.now) {
		s.now = now
	}
	for len(s.timers) > 0 && !s.timers[0].at.After(s.now) {
		heap.Pop(&s.timers).(*timer).do()
	}
}

// Due returns when Tick has something to do; ok is false when nothing waits.
func (s *Scheduler) Due() (at time.Time, ok bool) {
	if len(s.timers) == 0 {
		return time.Time{}, false
	}
	return s.timers[0].at, true
}
