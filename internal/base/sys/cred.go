package sys

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// As runs f with the credentials of o and nothing else: user, group and
// supplementary groups, no capabilities. The rest of the process keeps its own.
// f runs on a thread of its own that is thrown away afterwards; it must not
// start goroutines or processes that need the credentials. A process that is
// not root runs f as itself.
//
// Linux keeps credentials per thread; the runtime starts no other thread from
// one that is locked to a goroutine.
func As(o Owner, f func() error) error {
	if os.Geteuid() != 0 {
		return f()
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- r
		}()
		if r.err = becomeThread(o); r.err == nil {
			r.err = f()
		}
	}()
	r := <-done
	if r.panicked != "" {
		panic(r.panicked)
	}
	return r.err
}

type result struct {
	err      error
	panicked string
}

// becomeThread changes the credentials of the calling thread alone.
func becomeThread(o Owner) error {
	groups := make([]uint32, len(o.Groups)+1)
	for i, g := range o.Groups {
		groups[i] = uint32(g)
	}
	groups[len(o.Groups)] = uint32(o.GID)
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	gid := uintptr(o.GID)
	if _, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setgid %d: %w", o.GID, errno)
	}
	uid := uintptr(o.UID)
	if _, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setuid %d: %w", o.UID, errno)
	}
	return nil
}
