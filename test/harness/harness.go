// Package harness runs whole mail systems in a private root: Postern as it was
// built from this tree, and the real Postfix from Debian's packages beside it.
//
// The root has a user database of its own (alice, bob, carol, vmail, postfix)
// and both systems, so that the same configuration, paths and users serve both
// and their outputs can be compared to the letter. An Instance is one
// configuration directory, queue and log below /t in that root.
package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A System is a mail system that can be started in the root.
type System struct {
	Name      string // "postern", "postfix"
	SbinDir   string // command_directory
	DaemonDir string // daemon_directory
	BinDir    string // mailq, newaliases
}

// Postern is the system under test, Postfix the oracle.
var (
	Postern = System{"postern", "/postern/sbin", "/postern/libexec", "/postern/bin"}
	Postfix = System{"postfix", "/usr/sbin", "/usr/lib/postfix/sbin", "/usr/bin"}
)

// Required says that a missing neighbour is a failure: in CI nothing is
// skipped.
func Required() bool { return os.Getenv("CI") != "" }

// Skip skips t with a reason, or fails it where every neighbour is required.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf("required: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Forbidden skips t, in CI too: the kernel does not permit here what the test
// needs, as in a container, and no package that is installed would help.
func Forbidden(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Skipf("not permitted here: "+format, args...)
}

// MountSpaces skips t where no name space of mounts can be had.
func MountSpaces(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		Forbidden(t, "a name space of mounts: %v %s", err, out)
	}
}

// Top returns the folder of the module.
func Top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == "/" {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// makeRoot makes the private root, once for a tree.
var makeRoot = sync.OnceValues(func() (string, error) {
	top, err := Top()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(top, "build", "root")
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(cache + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if out, err := exec.Command(filepath.Join(top, "test", "root", "make-root"), cache).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make-root: %w\n%s", err, out)
	}
	root := filepath.Join(cache, "root")
	return root, nameRun(root)
})

// install builds Postern and puts it into the root, once for a test binary.
var install = sync.OnceValue(func() error {
	root, err := makeRoot()
	if err != nil {
		return err
	}
	top, err := Top()
	if err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(top, "build", "root.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if out, err := exec.Command("make", "-s", "-C", top, "install-private", "DESTDIR="+root).CombinedOutput(); err != nil {
		return fmt.Errorf("make install-private: %w\n%s", err, out)
	}
	return nil
})

func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Root returns the private root, or skips t where it cannot be had.
func Root(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "the private root with real Postfix needs root (chroot, owners)")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		Skip(t, "the private root is made from Debian's packages: no apt-get here")
	}
	root, err := makeRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// nameRun puts into the root what programs ask of /proc: the name of this run
// of the machine. It is called with the lock.
func nameRun(root string) error {
	const file = "/proc/sys/kernel/random/boot_id"
	run, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(root + file); err == nil && string(have) == string(run) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(root+file), 0o755); err != nil {
		return err
	}
	temp := root + file + ".new"
	return errors.Join(os.WriteFile(temp, run, 0o644), os.Rename(temp, root+file))
}

// Installed returns the private root with Postern in it, or skips t.
func Installed(t testing.TB) string {
	t.Helper()
	root := Root(t)
	if err := install(); err != nil {
		t.Fatal(err)
	}
	return root
}

// FreePort returns a TCP port on loopback that nothing uses now, and that no
// other call gets, in this process or in one that runs at the same time. It is
// below those that the kernel gives to clients, one of which could take it
// before the test's own server does.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, ports = 12000, 18000
	for range ports {
		port := first + (os.Getpid()*101+int(portsGiven.Add(1)))%ports
		if !reserve(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// reserve takes a port for as long as this process runs, by a name that one
// socket only can have. Programs that the test starts do not inherit it.
func reserve(port int) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@postern-test-port-%d", port)}); err != nil {
		unix.Close(fd)
		return false
	}
	return true
}

// portsGiven counts the calls of FreePort.
var portsGiven atomic.Uint32

// indent makes a multi-line text readable in a failure.
func indent(s string) string {
	return "\t" + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n\t")
}
