package cleanup

import (
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/ipc/trigger"
)

// A waker tells the queue manager of new messages: it sends "I", the queue id
// and a NUL for each, on a connection that stays open.
type waker struct {
	path  string
	limit time.Duration // for connecting, trigger_timeout

	mu     sync.Mutex
	conn   *net.UnixConn
	buf    []byte
	missed bool // a message was not told
}

func newWaker(service string, limit time.Duration) *waker {
	return &waker{path: filepath.Join("public", service), limit: limit}
}

// patience is how long a queue manager that does not read may hold up a
// client, whose message is safe already.
const patience = 20 * time.Millisecond

// wake names a new message to the queue manager. Should that not be possible
// now, the next message asks it to look for itself; it does so from time to
// time anyway.
func (w *waker) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = w.buf[:0]
	if w.missed {
		w.buf = append(w.buf, trigger.ScanIncoming...)
		w.buf = append(w.buf, 0)
	}
	w.buf = append(w.buf, trigger.ScanIncoming...)
	w.buf = append(w.buf, id...)
	w.buf = append(w.buf, 0)
	w.missed = !w.send() && !w.send()
}

// send writes what is in buf. A queue manager that was restarted has closed
// the connection, so that another attempt may succeed.
func (w *waker) send() bool {
	if w.conn == nil {
		c, err := net.DialTimeout("unix", w.path, w.limit)
		if err != nil {
			return false
		}
		w.conn = c.(*net.UnixConn)
	}
	n := w.sendNow()
	if n == len(w.buf) {
		return true
	}
	w.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := w.conn.Write(w.buf[n:]); err != nil {
		w.conn.Close()
		w.conn = nil
		return false
	}
	return true
}

// sendNow writes what can be written of buf without waiting, and returns how
// much that was: a deadline would wake this process once more for nothing.
func (w *waker) sendNow() (n int) {
	raw, err := w.conn.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), w.buf)
		return true
	})
	return max(n, 0)
}
