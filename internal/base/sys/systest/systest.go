// Package systest is what tests need of the operating system.
package systest

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// RefusedPort returns a TCP port of 127.0.0.1 that refuses connections as long as
// the test lasts: it is taken, so that nobody else gets it, but nobody listens.
func RefusedPort(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*unix.SockaddrInet4).Port
}

// Serve listens as net.Listen does for as long as the test lasts, gives each
// connection to f in a goroutine of its own, and closes it when f returns. It
// returns the address.
func Serve(t testing.TB, network, addr string, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}
