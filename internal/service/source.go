package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/base/sys"
)

// maxTrigger is the longest trigger request, in octets.
const maxTrigger = 1024

// triggerLimit is how long a client of a trigger service may take.
const triggerLimit = 10 * time.Second

// passLimit is how long a client of a pass service may take.
const passLimit = 10 * time.Second

// A listener is a stream socket: inet, unix or pass.
type listener struct {
	l      net.Listener
	passed bool // the connection to serve comes as a descriptor
}

func (l *listener) stop() {
	if d, ok := l.l.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Unix(1, 0))
	}
}

// rest leaves connections in the socket for the next process.
func (l *listener) rest(*server) {}

func (l *listener) accept(v *server) error {
	c, err := l.l.Accept()
	if err != nil {
		if transient(err) {
			return nil
		}
		return err
	}
	if t, ok := v.service.(Triggered); ok {
		v.start(c, func(ctx context.Context) error { return serveTrigger(ctx, t, c) })
		return nil
	}
	if l.passed {
		v.start(c, func(ctx context.Context) error { return servePassed(ctx, v.service, c) })
		return nil
	}
	v.start(c, func(ctx context.Context) error { return v.service.Serve(ctx, c) })
	return nil
}

// transient says whether an error of accept concerns only that connection.
func transient(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.EINTR)
}

// serveTrigger reads one request and hands it over. The end of the connection
// ends the request; so does an octet, if the client then waits.
func serveTrigger(ctx context.Context, t Triggered, c net.Conn) error {
	c.SetDeadline(time.Now().Add(triggerLimit))
	b := make([]byte, maxTrigger)
	n, err := c.Read(b)
	c.Close()
	if n == 0 {
		return err
	}
	t.Trigger(ctx, b[:n])
	return nil
}

// A PassedConn is a connection that another service accepted, with the text
// that came along.
type PassedConn struct {
	net.Conn
	Text []byte
}

func servePassed(ctx context.Context, s Service, c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("connection is not a Unix-domain socket")
	}
	u.SetDeadline(time.Now().Add(passLimit))
	client, text, err := sys.RecvConn(u)
	if err != nil {
		return err
	}
	c.Close()
	defer client.Close()
	return s.Serve(ctx, &PassedConn{Conn: client, Text: text})
}

// datagrams is a unix-dgram socket.
type datagrams struct {
	c net.PacketConn
	b []byte
}

// maxDatagram is the longest datagram that is read whole.
const maxDatagram = 64 << 10

func newDatagrams(f *os.File) (source, error) {
	c, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	return &datagrams{c: c, b: make([]byte, maxDatagram)}, nil
}

func (d *datagrams) stop() { d.c.SetReadDeadline(time.Unix(1, 0)) }

// accept serves one datagram in place: their order counts.
func (d *datagrams) accept(v *server) error {
	p, ok := v.service.(Packets)
	if !ok {
		return errors.New("this program does not serve datagrams")
	}
	n, _, err := d.c.ReadFrom(d.b)
	if err != nil {
		if transient(err) {
			return nil
		}
		return err
	}
	v.inPlace(func(ctx context.Context) error {
		p.Packet(ctx, d.b[:n])
		return nil
	})
	return nil
}

// rest serves the datagrams that were sent before the end.
func (d *datagrams) rest(v *server) {
	p, ok := v.service.(Packets)
	raw, err := d.c.(syscall.Conn).SyscallConn()
	if !ok || err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		for range maxRest {
			n, _, err := unix.Recvfrom(int(fd), d.b, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			v.inPlace(func(ctx context.Context) error {
				p.Packet(ctx, d.b[:n])
				return nil
			})
		}
	})
}

// maxRest bounds what a process that is to end still takes.
const maxRest = 10000

// inPlace is start without a goroutine.
func (v *server) inPlace(work func(context.Context) error) {
	v.mu.Lock()
	v.active++
	v.mu.Unlock()
	v.session(nil, work)
}

// fifo is a FIFO whose octets are requests of a trigger service.
type fifo struct {
	f *os.File
	b []byte
}

// newFIFO takes over f, which master has opened without blocking.
func newFIFO(f *os.File) (source, error) {
	return &fifo{f: f, b: make([]byte, maxTrigger)}, nil
}

func (f *fifo) stop() { f.f.SetReadDeadline(time.Unix(1, 0)) }

func (f *fifo) rest(*server) {}

func (f *fifo) accept(v *server) error {
	t, ok := v.service.(Triggered)
	if !ok {
		return errors.New("this program does not serve a fifo")
	}
	n, err := f.f.Read(f.b)
	if err != nil && !errors.Is(err, io.EOF) {
		if transient(err) {
			return nil
		}
		return err
	}
	if n > 0 {
		v.inPlace(func(ctx context.Context) error {
			t.Trigger(ctx, f.b[:n])
			return nil
		})
	}
	return nil
}
