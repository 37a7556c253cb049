package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink takes messages and forgets them. Its fields are set before Listen.
type Sink struct {
	LMTP    bool
	Delay   time.Duration // before the reply to the end of data
	Name    string        // in the greeting
	Refuse  func(command string) string
	Message func(id string, recipients int, size int64) // called for each message taken, from many goroutines

	listener   net.Listener
	wg         sync.WaitGroup
	mu         sync.Mutex
	open       map[net.Conn]bool
	closed     bool
	messages   atomic.Int64
	recipients atomic.Int64
	octets     atomic.Int64
	sessions   atomic.Int64
	peak       atomic.Int64
}

// Counts are what a Sink has taken so far.
type Counts struct {
	Sessions, PeakSessions       int64
	Messages, Recipients, Octets int64
}

// Listen starts to take connections.
func (s *Sink) Listen(network, addr string) error {
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	s.listener = l
	s.open = map[net.Conn]bool{}
	if s.Name == "" {
		s.Name = "sink.example"
	}
	s.wg.Add(1)
	go s.accept()
	return nil
}

// Addr returns where the sink listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Counts returns what was taken.
func (s *Sink) Counts() Counts {
	return Counts{s.sessions.Load(), s.peak.Load(), s.messages.Load(), s.recipients.Load(), s.octets.Load()}
}

// Close stops the sink and ends its sessions.
func (s *Sink) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Sink) accept() {
	defer s.wg.Done()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed {
				return
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = true
		n := int64(len(s.open))
		s.mu.Unlock()
		s.sessions.Add(1)
		for old := s.peak.Load(); n > old && !s.peak.CompareAndSwap(old, n); old = s.peak.Load() {
		}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			s.serve(c)
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
			c.Close()
		}()
	}
}

// dialogue is one session of a sink.
type dialogue struct {
	s     *Sink
	r     *bufio.Reader
	w     *bufio.Writer
	rcpts int
}

func (s *Sink) serve(c net.Conn) {
	d := &dialogue{s: s, r: bufio.NewReaderSize(c, 16<<10), w: bufio.NewWriterSize(c, 4<<10)}
	protocol := "ESMTP"
	if s.LMTP {
		protocol = "LMTP"
	}
	fmt.Fprintf(d.w, "220 %s %s\r\n", s.Name, protocol)
	for {
		if d.r.Buffered() == 0 {
			if d.w.Flush() != nil {
				return
			}
		}
		line, err := d.r.ReadSlice('\n')
		if err != nil {
			return
		}
		line = bytes.TrimRight(line, "\r\n")
		if s.Refuse != nil {
			if reply := s.Refuse(string(line)); reply != "" {
				d.w.WriteString(reply + "\r\n")
				continue
			}
		}
		if !d.command(line) {
			d.w.Flush()
			return
		}
	}
}

// command answers one command; false ends the session.
func (d *dialogue) command(line []byte) bool {
	verb := string(bytes.ToUpper(line[:min(4, len(line))]))
	switch verb {
	case "EHLO", "LHLO":
		fmt.Fprintf(d.w, "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 SMTPUTF8\r\n", d.s.Name)
	case "HELO":
		fmt.Fprintf(d.w, "250 %s\r\n", d.s.Name)
	case "MAIL", "RSET":
		d.rcpts = 0
		d.w.WriteString("250 2.1.0 Ok\r\n")
	case "RCPT":
		d.rcpts++
		d.w.WriteString("250 2.1.5 Ok\r\n")
	case "DATA":
		return d.data()
	case "QUIT":
		d.w.WriteString("221 2.0.0 Bye\r\n")
		return false
	case "NOOP", "VRFY":
		d.w.WriteString("252 2.0.0 Ok\r\n")
	default:
		d.w.WriteString("502 5.5.2 What?\r\n")
	}
	return true
}

// data takes a message.
func (d *dialogue) data() bool {
	if d.rcpts == 0 {
		d.w.WriteString("503 5.5.1 No recipients\r\n")
		return true
	}
	d.w.WriteString("354 Go ahead\r\n")
	if d.w.Flush() != nil {
		return false
	}
	id, size, err := d.content()
	if err != nil {
		return false
	}
	if d.s.Delay > 0 {
		time.Sleep(d.s.Delay)
	}
	d.s.messages.Add(1)
	d.s.recipients.Add(int64(d.rcpts))
	d.s.octets.Add(size)
	if d.s.Message != nil {
		d.s.Message(id, d.rcpts, size)
	}
	replies := 1
	if d.s.LMTP {
		replies = d.rcpts
	}
	d.w.WriteString(strings.Repeat("250 2.0.0 Ok\r\n", replies))
	d.rcpts = 0
	return true
}

// content reads up to the lonely dot, and finds the message's id.
func (d *dialogue) content() (id string, size int64, err error) {
	header, start := true, true
	for {
		line, err := d.r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			size += int64(len(line))
			start = false
			continue
		}
		if err != nil {
			return "", 0, err
		}
		if start && len(line) == 3 && line[0] == '.' && line[1] == '\r' {
			return id, size, nil
		}
		if header && start {
			if rest, ok := bytes.CutPrefix(line, []byte(idField)); ok {
				id = string(bytes.TrimRight(rest, "\r\n"))
			}
			header = len(line) > 2
		}
		size += int64(len(line))
		start = true
	}
}
