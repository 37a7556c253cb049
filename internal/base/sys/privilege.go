package sys

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// An Owner is an account as the kernel knows it.
type Owner struct {
	UID, GID int
	Groups   []int // supplementary groups, without GID
}

// LookupOwner returns the account called name with its groups.
func LookupOwner(name string) (Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Owner{}, fmt.Errorf("unknown user: %s", name)
	}
	var o Owner
	if o.UID, err = strconv.Atoi(u.Uid); err != nil {
		return Owner{}, fmt.Errorf("user %s: bad uid %q", name, u.Uid)
	}
	if o.GID, err = strconv.Atoi(u.Gid); err != nil {
		return Owner{}, fmt.Errorf("user %s: bad gid %q", name, u.Gid)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return Owner{}, fmt.Errorf("groups of user %s: %w", name, err)
	}
	for _, id := range ids {
		if gid, err := strconv.Atoi(id); err == nil && gid != o.GID {
			o.Groups = append(o.Groups, gid)
		}
	}
	return o, nil
}

// LookupGroup returns the number of the group called name.
func LookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("unknown group: %s", name)
	}
	return strconv.Atoi(g.Gid)
}

// Become makes the whole process, all its threads, run as o and nothing else.
func Become(o Owner) error {
	if err := syscall.Setgroups(o.Groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(o.GID, o.GID, o.GID); err != nil {
		return fmt.Errorf("setgid %d: %w", o.GID, err)
	}
	if err := syscall.Setresuid(o.UID, o.UID, o.UID); err != nil {
		return fmt.Errorf("setuid %d: %w", o.UID, err)
	}
	return nil
}

// Chroot makes dir the root and the working directory.
func Chroot(dir string) error {
	if err := unix.Chroot(dir); err != nil {
		return fmt.Errorf("chroot %s: %w", dir, err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir / after chroot %s: %w", dir, err)
	}
	return nil
}

// NoNewPrivileges makes set-uid and set-gid files powerless for this process
// and its children. A binary that was built with cgo cannot reach all of its
// threads and stays as it is; the installed one is not.
func NoNewPrivileges() error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	if errno != 0 && errno != syscall.ENOTSUP {
		return fmt.Errorf("no_new_privs: %w", errno)
	}
	return nil
}
