package starttls

import (
	"context"
	"crypto/tls"
	"sync"
	"time"
)

// TicketKeys returns the keys of session tickets that several processes share,
// the one for new tickets first, and how long it stays the first.
type TicketKeys func(ctx context.Context) (keys [][32]byte, left time.Duration, err error)

// tickets keeps the shared keys in a tls.Config. Where they cannot be had the
// process uses keys of its own.
type tickets struct {
	ask TicketKeys
	log Logger

	mu     sync.Mutex
	next   time.Time // to ask again
	failed bool
}

// retryTickets is when keys that could not be had are asked for again.
const retryTickets = time.Minute

// refresh asks for new keys when it is time. One handshake asks; others that
// come meanwhile go on with what there is.
func (t *tickets) refresh(ctx context.Context, c *tls.Config) {
	if t.ask == nil || !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if time.Now().Before(t.next) {
		return
	}
	keys, left, err := t.ask(ctx)
	if err != nil {
		if !t.failed {
			t.log.Infof("TLS sessions are resumed within one process only: %v", err)
		}
		t.failed, t.next = true, time.Now().Add(retryTickets)
		return
	}
	c.SetSessionTicketKeys(keys)
	t.failed, t.next = false, time.Now().Add(left)
}
