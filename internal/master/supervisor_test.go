package master

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/mastercf"
	"postern/internal/service"
)

// The end of a process is known before what it said last: one that has served is
// not taken for one that cannot start.
func TestLastWords(t *testing.T) {
	for _, tt := range []struct {
		said      string
		throttled bool
	}{
		{string([]byte{service.Ready, service.Used}), false},
		{string([]byte{service.Ready}), true},
		{"", true},
	} {
		ours, theirs, err := sys.SocketPair()
		if err != nil {
			t.Fatal(err)
		}
		e := &entry{Service: mastercf.Service{Name: "toy", Type: "unix"}}
		c := &child{pid: 1, entry: e, path: "toy", channel: os.NewFile(uintptr(ours), "channel"), silent: make(chan struct{})}
		e.live = c
		s := &supervisor{log: maillog.Discard(), conf: &configuration{}, events: make(chan func(), 64), children: map[int]*child{1: c}}
		s.conf.common.ServiceThrottleTime = patience
		if _, err := unix.Write(theirs, []byte(tt.said)); err != nil {
			t.Fatal(err)
		}
		unix.Close(theirs)
		s.exited(1, syscall.WaitStatus(7<<8))
		go s.listenTo(c)
		for s.working() {
			(<-s.events)()
		}
		if e.throttled != tt.throttled || e.live != nil {
			t.Errorf("after %q: throttled %v, want %v; live %v", tt.said, e.throttled, tt.throttled, e.live)
		}
	}
}
