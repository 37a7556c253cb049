package sys

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestThreads(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take another's credentials")
	}
	var threads Threads
	var wg sync.WaitGroup
	for n := range 200 {
		uid := 3000 + n%3
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := threads.As(Owner{UID: uid, GID: uid + 10, Groups: []int{uid + 20}}, func() error {
				groups, _ := unix.Getgroups()
				if unix.Geteuid() != uid || unix.Getegid() != uid+10 || len(groups) != 2 {
					t.Errorf("uid %d gid %d groups %v, want those of %d", unix.Geteuid(), unix.Getegid(), groups, uid)
				}
				return unix.ENOSPC
			})
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("got %v, want the error of the function", err)
			}
		}()
	}
	wg.Wait()
	if os.Geteuid() != 0 {
		t.Errorf("the process is %d now", os.Geteuid())
	}
	if threads.n > maxIdleThreads || threads.n == 0 {
		t.Errorf("%d threads wait", threads.n)
	}
}

func TestThreadsPanic(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take another's credentials")
	}
	var threads Threads
	defer func() {
		if recover() == nil || threads.n != 0 {
			t.Errorf("want the panic, and no thread left of %d", threads.n)
		}
	}()
	threads.As(Owner{UID: 3000, GID: 3000}, func() error { panic("mistake") })
}
