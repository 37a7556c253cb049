package mailbox

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowded returns a disk with users deliveries, whose rounds all does.
func crowded(users int, all func() error) *disk {
	return &disk{all: all, users: users, now: time.Now}
}

func notOwn() error { return errors.New("synced alone") }

// Those who come while a round runs share the next one.
func TestRoundsAreShared(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	rounds := 0
	d := crowded(20, func() error {
		rounds++
		begun <- struct{}{}
		<-end
		return nil
	})
	var wg sync.WaitGroup
	one := func() {
		if err := d.sync(notOwn); err != nil {
			t.Error(err)
		}
	}
	wg.Go(one)
	<-begun
	var joined sync.WaitGroup
	for range 10 {
		joined.Add(1)
		wg.Go(func() {
			r := d.join()
			joined.Done()
			<-r.done
		})
	}
	joined.Wait()
	close(end)
	<-begun
	wg.Wait()
	if rounds != 2 {
		t.Errorf("%d rounds, want 2", rounds)
	}
}

func TestFailedRound(t *testing.T) {
	d := crowded(crowd, func() error { return unix.EIO })
	for range 3 {
		if err := d.sync(notOwn); err != unix.EIO {
			t.Errorf("got %v, want %v", err, unix.EIO)
		}
	}
}

func TestSyncAlone(t *testing.T) {
	own := errors.New("own")
	now := time.Now()
	all := 0
	d := crowded(crowd-1, func() error {
		all++
		now = now.Add(2 * slowRound)
		return nil
	})
	d.now = func() time.Time { return now }
	syncs := func(what string, users int, want error, rounds int) {
		t.Helper()
		d.users = users
		if err := d.sync(func() error { return own }); err != want || all != rounds {
			t.Errorf("%s: %v after %d rounds, want %v after %d", what, err, all, want, rounds)
		}
	}
	syncs("few deliveries", crowd-1, own, 0)
	syncs("many", crowd, nil, 1)
	syncs("after a slow round", crowd, own, 1)
	now = now.Add(calmDown)
	syncs("later", crowd, nil, 2)
	d = nil
	if err := d.sync(func() error { return own }); err != own {
		t.Errorf("no disk: %v", err)
	}
	d.leave()
}

func TestEnter(t *testing.T) {
	ds := &disks{by: map[uint64]*disk{}}
	dir := t.TempDir()
	opened := 0
	open := func() (rawFile, error) {
		opened++
		return openRaw(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	if d := ds.enter(1<<40, open); d != nil {
		t.Error("a directory of another device was taken")
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	opened = 0
	a, b := ds.enter(st.Dev, open), ds.enter(st.Dev, open)
	if a == nil {
		t.Skip("this file system shares no syncs")
	}
	if a != b || opened != 1 || a.users != 2 {
		t.Errorf("two deliveries: %p and %p, %d opened", a, b, opened)
	}
	if err := a.all(); err != nil {
		t.Error(err)
	}
	a.leave()
	b.leave()
	if err := a.all(); err != unix.EBADF {
		t.Errorf("the descriptor of a disk that nobody uses: %v", err)
	}
	if d := (&disks{}).enter(st.Dev, open); d != nil {
		t.Error("a kernel that tells no errors was trusted")
	}
}
