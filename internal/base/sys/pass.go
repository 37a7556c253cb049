package sys

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxPassed is the longest text that travels with a passed connection.
const MaxPassed = 4096

// SendConn passes the connection c to the process at the other end of u, with
// a text of 1 to MaxPassed octets. The sender still has to close c.
func SendConn(u *net.UnixConn, c syscall.Conn, text []byte) error {
	if len(text) == 0 || len(text) > MaxPassed {
		return fmt.Errorf("pass connection: text has %d octets", len(text))
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		_, _, sent = u.WriteMsgUnix(text, unix.UnixRights(int(fd)), nil)
	})
	return errors.Join(err, sent)
}

// RecvConn receives a connection and the text that came with it.
func RecvConn(u *net.UnixConn) (net.Conn, []byte, error) {
	text := make([]byte, MaxPassed)
	control := make([]byte, unix.CmsgSpace(4*4))
	n, cn, flags, _, err := u.ReadMsgUnix(text, control)
	if err != nil {
		return nil, nil, fmt.Errorf("receive connection: %w", err)
	}
	fds, err := rights(control[:cn])
	if err == nil && (len(fds) != 1 || flags&unix.MSG_CTRUNC != 0) {
		err = fmt.Errorf("got %d descriptors, want 1", len(fds))
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, fmt.Errorf("receive connection: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, fmt.Errorf("receive connection: %w", err)
	}
	return c, text[:n], nil
}

func rights(control []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, got...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}
