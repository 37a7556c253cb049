package sys

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAsSideBySide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take another's credentials")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	before, _ := unix.Getgroups()
	var wg sync.WaitGroup
	for n := range 200 {
		uid := 3000 + n%3
		wg.Go(func() {
			err := As(Owner{UID: uid, GID: uid + 10, Groups: []int{uid + 20}}, func() error {
				groups, _ := unix.Getgroups()
				slices.Sort(groups)
				if unix.Geteuid() != uid || unix.Getegid() != uid+10 || !slices.Equal(groups, []int{uid + 10, uid + 20}) {
					t.Errorf("uid %d gid %d groups %v, want those of %d", unix.Geteuid(), unix.Getegid(), groups, uid)
				}
				// Root could; a capability would let the thread, too.
				if f, err := os.Create(dir + "/file"); err == nil {
					f.Close()
					t.Error("a directory of root's alone was written to")
				}
				return unix.ENOSPC
			})
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("got %v, want the error of the function", err)
			}
			groups, _ := unix.Getgroups()
			if unix.Geteuid() != 0 || unix.Getegid() != os.Getegid() || !slices.Equal(groups, before) {
				t.Errorf("afterwards uid %d gid %d groups %v", unix.Geteuid(), unix.Getegid(), groups)
			}
			f, err := os.CreateTemp(dir, "root")
			if err != nil {
				t.Errorf("root's rights did not come back: %v", err)
				return
			}
			f.Close()
		})
	}
	wg.Wait()
}
