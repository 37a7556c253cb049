// Package sys is what the programs need of the operating system and Go's
// library does not offer: inherited descriptors, descriptor passing, locks of
// files, listening sockets that are kept without being watched, credentials.
//
// It is written for Linux.
package sys

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is a listening socket or FIFO that its owner does not serve
// itself: it hands the descriptor to a child process, or polls it.
type Listener struct {
	FD   int
	Addr string // "127.0.0.1:25" or a path
}

// backlog is how many connections wait in a socket that nobody accepts from.
// The kernel lowers it to net.core.somaxconn.
const backlog = 4096

// ListenTCP opens a listening socket. An IPv6 socket serves IPv6 only.
func ListenTCP(addr *net.TCPAddr) (*Listener, error) {
	family, sa := sockaddr(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind %s port %d: %w", addr.IP, addr.Port, err)
	}
	return &Listener{FD: fd, Addr: localName(fd, addr.String())}, nil
}

func sockaddr(addr *net.TCPAddr) (int, unix.Sockaddr) {
	if ip := addr.IP.To4(); ip != nil {
		return unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	}
	sa := &unix.SockaddrInet6{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To16())
	if zone, err := net.InterfaceByName(addr.Zone); err == nil {
		sa.ZoneId = uint32(zone.Index)
	}
	return unix.AF_INET6, sa
}

// localName is the address that the socket got: port 0 means any free one.
func localName(fd int, asked string) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return asked
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return (&net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}).String()
	case *unix.SockaddrInet6:
		return (&net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}).String()
	}
	return asked
}

// ListenUnix opens a Unix-domain stream socket at path, in the place of what
// is there, with mode.
func ListenUnix(path string, mode uint32) (*Listener, error) {
	l, err := bindUnix(path, mode, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(l.FD, backlog); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// ListenUnixgram opens a Unix-domain datagram socket at path, in the place of
// what is there, with mode.
func ListenUnixgram(path string, mode uint32) (*Listener, error) {
	return bindUnix(path, mode, unix.SOCK_DGRAM)
}

func bindUnix(path string, mode uint32, kind int) (*Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind %s: %w", path, err)
	}
	if err := unix.Chmod(path, mode); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("chmod %s: %w", path, err)
	}
	return &Listener{FD: fd, Addr: path}, nil
}

// ListenFIFO makes a FIFO at path, in the place of what is there, and opens it
// so that it never comes to its end.
func ListenFIFO(path string, mode uint32) (*Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := unix.Mkfifo(path, mode); err != nil {
		return nil, fmt.Errorf("make fifo %s: %w", path, err)
	}
	if err := unix.Chmod(path, mode); err != nil {
		return nil, fmt.Errorf("chmod %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open fifo %s: %w", path, err)
	}
	return &Listener{FD: fd, Addr: path}, nil
}

// Close closes the descriptor. It does not remove a path.
func (l *Listener) Close() error { return unix.Close(l.FD) }

// Readable says which of the descriptors have something to read or a
// connection waiting. It waits up to timeoutMillis, for ever when negative.
func Readable(fds []int, timeoutMillis int) ([]int, error) {
	set := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		set[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, err := unix.Poll(set, timeoutMillis)
	if err == unix.EINTR || n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	var ready []int
	for _, p := range set {
		if p.Revents != 0 {
			ready = append(ready, int(p.Fd))
		}
	}
	return ready, nil
}

// Quiet says whether the other end of a connection has neither closed it nor sent
// anything that was not read. It does not wait. What is no socket is quiet.
func Quiet(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN
		return true
	})
	return err == nil && quiet
}

// SocketPair returns the two ends of a stream. Both close on exec.
func SocketPair() (int, int, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	return p[0], p[1], nil
}
