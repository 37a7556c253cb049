// Package network is tables that ask a server: "tcp:host:port" (one text line
// each way) and "socketmap:inet:host:port:name" (netstrings).
//
// Postfix: tcp_table(5), socketmap_table(5).
package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/table"
)

// Limits of both protocols (Postfix: DICT_TCP_*, DICT_SOCKMAP_*).
const (
	maxTries    = 2 // Postfix: ten for tcp; the second is over a new connection
	retryDelay  = 1 * time.Second
	ioTimeout   = 100 * time.Second
	idleTimeout = 10 * time.Second
	lineLimit   = 4096
)

// Types returns the table types of this package.
func Types() []table.Type {
	return []table.Type{
		{Name: "tcp", Open: openTCP},
		{Name: "socketmap", Open: openSocketmap},
	}
}

// A server is asked by several sessions at once, each over a connection of its
// own, so that a slow answer to one does not hold up the others. A connection
// that is not used is kept for the next one that asks.
type server struct {
	network, addr string

	mu     sync.Mutex
	idle   []*conn // the last one used at the end
	closed bool
}

type conn struct {
	net.Conn
	r    *bufio.Reader
	used time.Time
}

// ask calls exchange with a connection, and with a fresh one if that fails.
func (s *server) ask(ctx context.Context, exchange func(net.Conn, *bufio.Reader) error) error {
	c := s.kept()
	for try := 1; ; try++ {
		err := s.once(ctx, c, exchange)
		if err == nil || try == maxTries {
			return err
		}
		c = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryDelay):
		}
	}
}

// once asks over c, or a new connection if it is nil, and keeps it if that went
// well.
func (s *server) once(ctx context.Context, c *conn, exchange func(net.Conn, *bufio.Reader) error) error {
	deadline := time.Now().Add(ioTimeout)
	if c == nil {
		d := net.Dialer{Deadline: deadline}
		dialed, err := d.DialContext(ctx, s.network, s.addr)
		if err != nil {
			return err
		}
		c = &conn{Conn: dialed, r: bufio.NewReaderSize(dialed, lineLimit+1)}
	}
	c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := exchange(c, c.r)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline may have passed for the next one
	}
	if err != nil {
		c.Close()
		return err
	}
	s.keep(c)
	return nil
}

// kept takes the connection that was used last; nil if there is none. Those
// that nobody wanted for a while are closed.
func (s *server) kept() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.idle) > 0 && now.Sub(s.idle[0].used) > idleTimeout {
		s.idle[0].Close()
		s.idle = s.idle[1:]
	}
	n := len(s.idle) - 1
	if n < 0 {
		return nil
	}
	c := s.idle[n]
	s.idle = s.idle[:n]
	return c
}

func (s *server) keep(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return
	}
	c.used = time.Now()
	s.idle = append(s.idle, c)
}

// Close closes the connections.
func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.idle {
		c.Close()
	}
	s.idle = nil
	return nil
}

// Keys says that a server sees whole keys only.
func (s *server) Keys() table.Keys { return table.Pattern }

type tcpTable struct {
	*server
	spec string
}

func openTCP(name string, _ *table.Opener) (table.Table, error) {
	host, port, ok := cutLast(name, ":")
	if !ok {
		host, port = "localhost", name
	}
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		return nil, fmt.Errorf("tcp:%s: expected tcp:host:port", name)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return &tcpTable{&server{network: "tcp", addr: net.JoinHostPort(host, port)}, "tcp:" + name}, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Lookup sends "get key" and reads "200 value", "500 …" or "400 …".
func (t *tcpTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	var reply string
	err := t.ask(ctx, func(c net.Conn, r *bufio.Reader) error {
		if _, err := c.Write([]byte("get " + quote(key) + "\n")); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("the reply is longer than %d octets", lineLimit)
		}
		if err != nil {
			return fmt.Errorf("read reply: %w", err)
		}
		reply = strings.TrimRight(string(line), "\r\n")
		if len(reply) < 4 || reply[3] != ' ' {
			return fmt.Errorf("malformed reply %.100q", reply)
		}
		reply, err = unquote(reply)
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", t.spec, err)
	}
	switch reply[:3] {
	case "200":
		return strings.TrimLeft(reply[4:], " "), true, nil
	case "500":
		return "", false, nil
	}
	return "", false, fmt.Errorf("%s: server reply: %.100q", t.spec, reply)
}

// quote writes white space, control characters, '%' and octets beyond ASCII as %XX.
func quote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unquote(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("malformed %XX in reply")
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", errors.New("malformed %XX in reply")
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}
