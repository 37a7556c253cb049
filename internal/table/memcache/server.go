package memcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A server is a memcached server and the idle connections to it. It speaks the
// text protocol.
type server struct {
	network, addr        string
	tries                int           // max_try
	pause                time.Duration // retry_pause
	timeout              time.Duration // for a command with its reply
	lineLimit, dataLimit int

	mu   sync.Mutex
	idle []*link
}

// A link is a connection.
type link struct {
	net.Conn
	r     *bufio.Reader
	since time.Time // idle
}

// maxIdle is how long a connection is kept. Postfix keeps one for ever.
const maxIdle = time.Minute

// ask sends command and reads its reply, on another connection if the first
// fails. A server that takes no connection is not tried again.
func (s *server) ask(ctx context.Context, command string, read func(r *bufio.Reader) error) error {
	var err error
	for try := 1; ; try++ {
		var c *link
		if c, err = s.connect(ctx); err != nil {
			return fmt.Errorf("connect to memcached at %s: %w", s.addr, err)
		}
		if err = s.once(ctx, c, command, read); err == nil {
			return nil
		}
		c.Close()
		if try >= s.tries || ctx.Err() != nil {
			break
		}
		s.closeIdle(time.Time{})
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
	return fmt.Errorf("memcached at %s: %w", s.addr, err)
}

func (s *server) once(ctx context.Context, c *link, command string, read func(r *bufio.Reader) error) error {
	c.SetDeadline(time.Now().Add(s.timeout))
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(c, command); err != nil {
		return err
	}
	if err := read(c.r); err != nil {
		return err
	}
	if c.r.Buffered() > 0 {
		return errors.New("the reply is longer than it should be")
	}
	c.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, c)
	return nil
}

func (s *server) connect(ctx context.Context) (*link, error) {
	s.closeIdle(time.Now().Add(-maxIdle))
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return c, nil
	}
	s.mu.Unlock()
	d := net.Dialer{Timeout: s.timeout}
	c, err := d.DialContext(ctx, s.network, s.addr)
	if err != nil {
		return nil, err
	}
	return &link{Conn: c, r: bufio.NewReaderSize(c, 4096)}, nil
}

// closeIdle closes the connections that are idle since before a time; the zero
// time means all.
func (s *server) closeIdle(before time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keep []*link
	for _, c := range s.idle {
		if before.IsZero() || c.since.Before(before) {
			c.Close()
		} else {
			keep = append(keep, c)
		}
	}
	s.idle = keep
}

// get returns the value of a key.
func (s *server) get(ctx context.Context, key string) (value string, found bool, err error) {
	err = s.ask(ctx, "get "+key+"\r\n", func(r *bufio.Reader) (err error) {
		value, found, err = s.readValue(r, key)
		return err
	})
	return value, found, err
}

// set stores a value.
func (s *server) set(ctx context.Context, key, value string, flags, ttl int) error {
	if len(value) > s.dataLimit {
		return fmt.Errorf("a value of %d octets; data_size_limit is %d", len(value), s.dataLimit)
	}
	command := fmt.Sprintf("set %s %d %d %d\r\n%s\r\n", key, flags, ttl, len(value), value)
	return s.ask(ctx, command, func(r *bufio.Reader) error {
		line, err := s.readLine(r)
		if err == nil && line != "STORED" {
			err = fmt.Errorf("unexpected reply %.100q to set", line)
		}
		return err
	})
}

// remove removes a key.
func (s *server) remove(ctx context.Context, key string) (found bool, err error) {
	err = s.ask(ctx, "delete "+key+"\r\n", func(r *bufio.Reader) error {
		line, err := s.readLine(r)
		if err == nil && line != "DELETED" && line != "NOT_FOUND" {
			err = fmt.Errorf("unexpected reply %.100q to delete", line)
		}
		found = line == "DELETED"
		return err
	})
	return found, err
}

// readValue reads the reply to get: "VALUE key flags length", the data, "END";
// or "END".
func (s *server) readValue(r *bufio.Reader, key string) (value string, found bool, err error) {
	line, err := s.readLine(r)
	if err != nil || line == "END" {
		return "", false, err
	}
	f := strings.Fields(line)
	if len(f) < 4 || f[0] != "VALUE" || f[1] != key {
		return "", false, fmt.Errorf("unexpected reply %.100q to get", line)
	}
	n, err := strconv.Atoi(f[3])
	if err != nil || n < 0 || n > s.dataLimit {
		return "", false, fmt.Errorf("a value of %.20q octets; data_size_limit is %d", f[3], s.dataLimit)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", false, err
	}
	if string(b[n:]) != "\r\n" {
		return "", false, errors.New("a value is longer than the server said")
	}
	if line, err = s.readLine(r); err == nil && line != "END" {
		err = fmt.Errorf("unexpected end %.100q of the reply to get", line)
	}
	return string(b[:n]), err == nil, err
}

// readLine reads a line of at most line_size_limit octets.
func (s *server) readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > s.lineLimit+2 {
			return "", fmt.Errorf("a reply line of more than %d octets", s.lineLimit)
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}
