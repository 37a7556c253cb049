package cleanup

import (
	"sync/atomic"
	"time"

	"postern/internal/ipc/trigger"
)

// A waker tells the queue manager of new messages.
type waker struct {
	service string
	limit   time.Duration
	missed  atomic.Bool // a message was not told
}

// wake names a new message to the queue manager. Should that not be possible
// now, the next message asks it to look for itself; it does so from time to
// time anyway.
func (w *waker) wake(id string) {
	request := trigger.ScanIncoming + id
	if w.missed.Swap(false) {
		request = trigger.ScanIncoming
	}
	if err := trigger.Send("", "public", w.service, request, w.limit); err != nil {
		w.missed.Store(true)
	}
}
