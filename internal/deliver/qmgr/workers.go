package qmgr

// workers are goroutines that do one thing after another. Each keeps the stack
// that the work needs, which a new goroutine would have to grow for every
// message.
type workers struct {
	work chan func()
	free chan struct{} // a token for each goroutine that may still be started
}

func newWorkers(most int) *workers {
	return &workers{work: make(chan func()), free: make(chan struct{}, most)}
}

// do has f done, by a worker that waits or by a new one; when there are as many
// as there may be, f is done by a goroutine of its own.
func (w *workers) do(f func()) {
	select {
	case w.work <- f:
		return
	default:
	}
	select {
	case w.free <- struct{}{}:
		go func() {
			for {
				f()
				f = nil // what it holds does not wait for the next
				f = <-w.work
			}
		}()
	default:
		go f()
	}
}
