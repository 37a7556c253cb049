// Package policy is the client's side of Postfix's policy delegation protocol:
// attributes of an SMTP command go to a server, an action comes back.
//
// A request is a list of "name=value" lines that an empty line ends; so is the
// reply, of which the attribute "action" counts. A connection serves many
// requests.
//
// Postfix: SMTPD_POLICY_README.
package policy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/internal/base/errno"
	"postern/internal/base/sys"
)

// A Config says which server is asked and how.
type Config struct {
	Network      string        // "unix" or "tcp"
	Address      string        // a path, or host:port
	Name         string        // what messages call it: "private/policy", "127.0.0.1:9998"
	Timeout      time.Duration // for connecting, sending and receiving, each
	MaxIdle      time.Duration // a connection is closed when it was not used for this long
	MaxTTL       time.Duration // and when it is this old
	RequestLimit int           // and after this many requests; 0 is no limit
	TryLimit     int           // attempts for one request
	RetryDelay   time.Duration // between them
}

// An Attr is one attribute of a request.
type Attr struct {
	Name, Value string
}

// Limits of a reply.
const (
	maxLine  = 4096
	maxLines = 100
)

// maxIdleConns is how many unused connections are kept.
const maxIdleConns = 50

// A Client asks one server. It may be used from several goroutines: each
// request has a connection of its own while it lasts.
type Client struct {
	Config
	Warn func(format string, args ...any) // nil for nobody

	mu   sync.Mutex
	idle []*conn
}

type conn struct {
	net.Conn
	r        *bufio.Reader
	made     time.Time
	used     time.Time
	requests int
}

// New returns a client.
func New(c Config, warn func(format string, args ...any)) *Client {
	if c.TryLimit < 1 {
		c.TryLimit = 1
	}
	return &Client{Config: c, Warn: warn}
}

// Ask sends the attributes and returns the action of the reply.
func (c *Client) Ask(ctx context.Context, attrs []Attr) (action string, err error) {
	request := encode(attrs)
	for try := 1; ; try++ {
		k, err := c.take(ctx)
		if err == nil {
			action, err = c.exchange(k, request)
			if err == nil {
				c.keep(k)
				return action, nil
			}
			k.Close()
		}
		last := try >= c.TryLimit || ctx.Err() != nil
		if last || !wentAway(err) {
			c.warn("problem talking to server %s: %s", c.Name, cause(err))
		}
		if last {
			return "", err
		}
		pause(ctx, c.RetryDelay)
	}
}

// wentAway says that a server ended a connection, as one does that is idle: the
// next attempt is no news.
func wentAway(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOENT) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// encode makes a request. A value cannot hold an octet that would end its line
// early.
func encode(attrs []Attr) []byte {
	var b []byte
	for _, a := range attrs {
		b = append(b, a.Name...)
		b = append(b, '=')
		for i := 0; i < len(a.Value); i++ {
			if ch := a.Value[i]; ch == '\n' || ch == '\r' || ch == 0 {
				b = append(b, '?')
			} else {
				b = append(b, ch)
			}
		}
		b = append(b, '\n')
	}
	return append(b, '\n')
}

func (c *Client) exchange(k *conn, request []byte) (string, error) {
	k.SetDeadline(time.Now().Add(c.Timeout))
	k.requests++
	if _, err := k.Write(request); err != nil {
		return "", err
	}
	k.SetDeadline(time.Now().Add(c.Timeout))
	return readReply(k.r)
}

// readReply reads a list of attributes and returns the one called "action".
func readReply(r *bufio.Reader) (string, error) {
	action, found := "", false
	for range maxLines {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return "", errors.New("reply line is too long")
		}
		if err == io.EOF {
			return "", io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if !found {
				return "", errors.New("reply without an attribute \"action\"")
			}
			return action, nil
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return "", fmt.Errorf("malformed reply line %.100q", text)
		}
		if name == "action" {
			action, found = strings.TrimSpace(value), true
		}
	}
	return "", errors.New("reply has too many lines")
}

func (c *Client) take(ctx context.Context) (*conn, error) {
	if k := c.takeIdle(); k != nil {
		return k, nil
	}
	d := net.Dialer{Timeout: c.Timeout}
	nc, err := d.DialContext(ctx, c.Network, c.Address)
	if err != nil {
		c.warn("connect to %s: %s", c.Name, cause(err))
		return nil, err
	}
	now := time.Now()
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, maxLine), made: now, used: now}, nil
}

func (c *Client) takeIdle() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.idle) > 0 {
		k := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if c.usable(k) && sys.Quiet(k.Conn) {
			return k
		}
		k.Close()
	}
	return nil
}

func (c *Client) usable(k *conn) bool {
	now := time.Now()
	return (c.MaxIdle <= 0 || now.Sub(k.used) < c.MaxIdle) && (c.MaxTTL <= 0 || now.Sub(k.made) < c.MaxTTL) &&
		(c.RequestLimit <= 0 || k.requests < c.RequestLimit) && k.r.Buffered() == 0
}

func (c *Client) keep(k *conn) {
	k.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.usable(k) || len(c.idle) >= maxIdleConns {
		k.Close()
		return
	}
	c.idle = append(c.idle, k)
}

// Close closes the connections that are not in use.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle {
		k.Close()
	}
	c.idle = nil
	return nil
}

func (c *Client) warn(format string, args ...any) {
	if c.Warn != nil {
		c.Warn(format, args...)
	}
}

// cause is an error as Postfix words it: that of the system alone.
func cause(err error) string {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return errno.Text(number)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "Connection timed out"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "Application error" // Postfix: its word for an error that the system has no number for
	}
	return err.Error()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
