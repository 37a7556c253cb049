package service

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// serveStandAlone serves standard input and output as the one connection.
func (s *process) serveStandAlone() error {
	c, err := standardConn()
	if err != nil {
		return err
	}
	v := newServer(s)
	v.start(c, func(ctx context.Context) error { return s.service.Serve(ctx, c) })
	v.idle()
	return nil
}

// standardConn makes a connection of descriptors 0 and 1.
func standardConn() (net.Conn, error) {
	if c, err := net.FileConn(os.Stdin); err == nil {
		return c, nil
	}
	in, err := pollable(0)
	if err != nil {
		return nil, err
	}
	out, err := pollable(1)
	if err != nil {
		return nil, err
	}
	return &pipeConn{in: in, out: out}, nil
}

// pollable returns descriptor fd as a file on which deadlines work, if it is a
// pipe. A terminal or file is shared with others and stays as it is.
func pollable(fd int) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
	}
	return os.NewFile(uintptr(fd), "standard descriptor"), nil
}

// A pipeConn is a connection over two descriptors.
type pipeConn struct {
	in, out *os.File
}

func (p *pipeConn) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipeConn) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipeConn) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }
func (p *pipeConn) LocalAddr() net.Addr         { return standardAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr        { return standardAddr{} }

// Deadlines work on pipes and terminals; on files they are not needed.
func (p *pipeConn) SetDeadline(t time.Time) error {
	return ignoreNoDeadline(errors.Join(p.in.SetDeadline(t), p.out.SetDeadline(t)))
}
func (p *pipeConn) SetReadDeadline(t time.Time) error {
	return ignoreNoDeadline(p.in.SetReadDeadline(t))
}
func (p *pipeConn) SetWriteDeadline(t time.Time) error {
	return ignoreNoDeadline(p.out.SetWriteDeadline(t))
}

func ignoreNoDeadline(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}

// standardAddr is the address of a connection without one.
type standardAddr struct{}

func (standardAddr) Network() string { return "stdio" }
func (standardAddr) String() string  { return "localhost" }
