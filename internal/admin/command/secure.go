package command

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kept are the variables that a set-gid program takes over from its caller:
// those of import_environment that it has a use for.
var kept = [...]string{"MAIL_CONFIG", "TZ"}

// Secure is the first step of a set-gid program. Whatever its caller has left:
// descriptors 0 to 2 are open, the others are not, the environment is nearly
// empty, no memory is dumped, and new files are for the owner only.
func Secure() error {
	for fd := 0; fd <= 2; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			continue
		}
		// The lowest free descriptor is this one.
		if _, err := unix.Open("/dev/null", unix.O_RDWR, 0); err != nil {
			return err
		}
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS {
		return err
	}
	var values [len(kept)]string
	for i, name := range kept {
		values[i] = os.Getenv(name)
	}
	os.Clearenv()
	for i, name := range kept {
		if values[i] != "" {
			os.Setenv(name, values[i])
		}
	}
	os.Setenv("PATH", "/usr/bin:/bin")
	unix.Umask(0o077)
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// SetID says whether the process has privileges that its user does not have.
func SetID() bool {
	return os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid()
}

// DropGroup gives the group of a set-gid program up, once what it is for is
// open.
func DropGroup() error {
	gid := os.Getgid()
	return syscall.Setresgid(gid, gid, gid)
}
