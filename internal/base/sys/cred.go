package sys

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As runs f with the credentials of o and nothing else: effective user, group
// and supplementary groups, no effective capabilities. The rest of the process
// keeps its own: Linux keeps credentials per thread, f runs on a thread that
// does nothing else meanwhile, and the runtime starts no other thread from one
// that is locked to a goroutine. f must not start goroutines or processes that
// need the credentials. A process that is not root runs f as itself.
// Postfix: set_eugid.
func As(o Owner, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	own, err := threadCredentials()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if err := own.resume(); err != nil {
			// The thread stays locked and ends with the goroutine.
			panic(fmt.Sprintf("cannot return to the credentials of the process: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	if err := assume(o); err != nil {
		return err
	}
	return f()
}

// maxGroups is how many supplementary groups a process may have that acts for
// others; root has few.
const maxGroups = 64

// credentials are what a thread had before.
type credentials struct {
	gid    int
	groups [maxGroups]uint32
	n      uintptr // groups in use
}

func threadCredentials() (*credentials, error) {
	c := &credentials{gid: os.Getegid()}
	n, _, errno := unix.RawSyscall(unix.SYS_GETGROUPS, maxGroups, uintptr(unsafe.Pointer(&c.groups[0])), 0)
	if errno != 0 {
		return nil, fmt.Errorf("getgroups: %w", errno)
	}
	c.n = n
	return c, nil
}

// keep leaves an id as it is.
const keep = ^uintptr(0)

// assume changes the credentials of the calling thread alone. The real and the
// saved user stay root, so that nobody else may touch the thread.
func assume(o Owner) error {
	var few [16]uint32
	groups := few[:0]
	for _, g := range o.Groups {
		groups = append(groups, uint32(g))
	}
	groups = append(groups, uint32(o.GID))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(o.GID), keep); errno != 0 {
		return fmt.Errorf("setegid %d: %w", o.GID, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(o.UID), keep); errno != 0 {
		return fmt.Errorf("seteuid %d: %w", o.UID, errno)
	}
	return nil
}

// resume gives the calling thread back what it had.
func (c *credentials) resume() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		return fmt.Errorf("seteuid 0: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(c.gid), keep); errno != 0 {
		return fmt.Errorf("setegid %d: %w", c.gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, c.n, uintptr(unsafe.Pointer(&c.groups[0])), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	return nil
}
