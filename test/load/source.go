package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Source sends messages.
type Source struct {
	Network, Addr string // "tcp", "127.0.0.1:2525"; or "unix" and a path
	Sessions      int    // at once
	Messages      int    // in all; 0: until the context ends
	PerSession    int    // messages over one connection; 0: as many as there are
	Recipients    int    // of one message; 0 is 1
	Size          int    // octets of a message
	From          string
	To            func(n int) string // the n-th recipient of all, from 0
	Run           string             // prefix of message ids, to tell runs apart
	LMTP          bool
	Pipeline      bool          // send the envelope at once
	Timeout       time.Duration // for one reply; 0 is one minute
	Retry         time.Duration // wait so long after a broken connection and go on; 0: that session ends

	// Done, if set, is told what became of each message. It is called from
	// many goroutines.
	Done func(id string, accepted bool, reply string)

	next atomic.Int64
}

// Users returns recipients that take turns: prefix0@domain to prefix<n-1>@domain; without n, prefix@domain alone.
func Users(prefix, domain string, n int) func(int) string {
	if n < 1 {
		return func(int) string { return prefix + "@" + domain }
	}
	return func(i int) string { return fmt.Sprintf("%s%d@%s", prefix, i%n, domain) }
}

// Send sends all messages. The error is the first that ended a session early.
func (s *Source) Send(ctx context.Context) (Result, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		sum   Result
		first error
	)
	start := time.Now()
	for range max(1, s.Sessions) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var r Result
			err := s.session(ctx, &r)
			mu.Lock()
			defer mu.Unlock()
			sum.add(&r)
			if first == nil {
				first = err
			}
		}()
	}
	wg.Wait()
	sum.Elapsed = time.Since(start)
	sum.sort()
	return sum, first
}

// take returns the number of the next message, or false at the end.
func (s *Source) take(ctx context.Context) (int, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	n := int(s.next.Add(1)) - 1
	return n, s.Messages == 0 || n < s.Messages
}

// session sends messages over one connection after the other.
func (s *Source) session(ctx context.Context, r *Result) error {
	n, ok := s.take(ctx)
	for ok {
		c, err := s.connect(ctx)
		for i := 0; err == nil && ok && (s.PerSession == 0 || i < s.PerSession); i++ {
			if err = c.message(n, r); err == nil {
				n, ok = s.take(ctx)
			}
		}
		if c != nil {
			if err == nil {
				c.command("QUIT")
				c.w.Flush()
			}
			c.Close()
		}
		if err == nil {
			continue
		}
		r.Failed++
		if s.Done != nil {
			s.Done(s.id(n), false, err.Error())
		}
		if s.Retry == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.Retry):
		}
		n, ok = s.take(ctx)
	}
	return nil
}

func (s *Source) id(n int) string { return fmt.Sprintf("%s%d", s.Run, n) }

type conn struct {
	net.Conn
	s *Source
	r *bufio.Reader
	w *bufio.Writer
}

// connect opens a session up to the reply to EHLO.
func (s *Source) connect(ctx context.Context) (*conn, error) {
	network := s.Network
	if network == "" {
		network = "tcp"
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, s.Addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, s: s, r: bufio.NewReader(nc), w: bufio.NewWriterSize(nc, 32<<10)}
	if err := c.expect("220"); err != nil {
		nc.Close()
		return nil, err
	}
	hello := "EHLO load.example"
	if s.LMTP {
		hello = "LHLO load.example"
	}
	c.command(hello)
	if err := c.expect("250"); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) command(text string) {
	c.w.WriteString(text)
	c.w.WriteString("\r\n")
}

// reply sends what is buffered and reads a reply; it returns the last line.
func (c *conn) reply() (string, error) {
	timeout := c.s.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	c.SetDeadline(time.Now().Add(timeout))
	if err := c.w.Flush(); err != nil {
		return "", err
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(line, "\r\n"), nil
		}
	}
}

// A refusal is a reply that was not the one hoped for.
type refusal string

func (r refusal) Error() string { return string(r) }

func (c *conn) expect(code string) error {
	line, err := c.reply()
	if err == nil && !strings.HasPrefix(line, code) {
		err = refusal(line)
	}
	return err
}

// message sends message n. The error is one of the connection.
func (c *conn) message(n int, r *Result) error {
	start := time.Now()
	reply, err := c.transaction(n)
	var no refusal
	switch {
	case errors.As(err, &no):
		r.Refused++
		reply = string(no)
		c.command("RSET")
		if _, err := c.reply(); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		r.Accepted++
		r.Times = append(r.Times, time.Since(start))
	}
	if c.s.Done != nil {
		c.s.Done(c.s.id(n), err == nil, reply)
	}
	return nil
}

// transaction returns the reply to the end of data; any other ending is an
// error.
func (c *conn) transaction(n int) (string, error) {
	s := c.s
	count := max(1, s.Recipients)
	commands := []string{"MAIL FROM:<" + s.From + ">"}
	to := ""
	for i := range count {
		to = s.To(n*count + i)
		commands = append(commands, "RCPT TO:<"+to+">")
	}
	commands = append(commands, "DATA")
	for i, text := range commands {
		c.command(text)
		if !s.Pipeline {
			if err := c.expect(expected(i, len(commands))); err != nil {
				return "", err
			}
		}
	}
	if s.Pipeline {
		var refused error
		for i := range commands {
			err := c.expect(expected(i, len(commands)))
			if err != nil && !errors.As(err, new(refusal)) {
				return "", err
			}
			if refused == nil {
				refused = err
			}
		}
		if refused != nil {
			return "", refused
		}
	}
	c.w.Write(body(s.id(n), s.From, to, s.Size))
	reply := ""
	replies := 1
	if s.LMTP {
		replies = count
	}
	for range replies {
		line, err := c.reply()
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(line, "250") {
			return "", refusal(line)
		}
		reply = line
	}
	return reply, nil
}

// expected is the code of the reply to command i of n, the last of which is
// DATA.
func expected(i, n int) string {
	if i == n-1 {
		return "354"
	}
	return "250"
}
