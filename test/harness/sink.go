package harness

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Sink is an SMTP or LMTP server that says what a script tells it to and
// keeps what it was told.
//
// The script has lines "WHAT reply": WHAT is CONNECT, a verb, or END for the
// end of the message; a reply of several lines has them separated by " | ".
// "RCPT:text reply" answers only recipients that contain text. The reply
// "DROP" closes the connection. What has no line gets a plain success.
type Sink struct {
	Port  int
	rules []sinkRule

	mu  sync.Mutex
	got []string
}

type sinkRule struct{ verb, contains, reply string }

// NewSink starts a sink on a free port of 127.0.0.1 that lives as long as the test.
func NewSink(t testing.TB, script string) *Sink {
	t.Helper()
	return NewSinkAt(t, "127.0.0.1:0", script)
}

// NewSinkAt starts a sink on an address and port.
func NewSinkAt(t testing.TB, addr, script string) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Port: l.Addr().(*net.TCPAddr).Port}
	for _, line := range strings.Split(script, "\n") {
		what, reply, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		verb, contains, _ := strings.Cut(what, ":")
		s.rules = append(s.rules, sinkRule{strings.ToUpper(verb), contains, reply})
	}
	var sessions sync.WaitGroup
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	sessions.Add(1)
	go func() {
		defer sessions.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Add(1)
			go func() {
				defer sessions.Done()
				defer c.Close()
				s.serve(c)
			}()
		}
	}()
	return s
}

// Got returns all that the clients sent, line by line.
func (s *Sink) Got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

func (s *Sink) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, line)
}

func (s *Sink) reply(verb, line, otherwise string) string {
	for _, r := range s.rules {
		if r.verb == verb && strings.Contains(line, r.contains) {
			return r.reply
		}
	}
	return otherwise
}

func (s *Sink) serve(c net.Conn) {
	r := bufio.NewReader(c)
	accepted, lmtp := 0, false
	if !say(c, s.reply("CONNECT", "", "220 sink.example ESMTP")) {
		return
	}
	for {
		c.SetDeadline(time.Now().Add(Wait))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.note(line)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		otherwise := "250 2.0.0 Ok"
		switch verb {
		case "EHLO", "LHLO":
			lmtp = verb == "LHLO"
			otherwise = "250-sink.example | 250-PIPELINING | 250-8BITMIME | 250-SIZE | 250-ENHANCEDSTATUSCODES | 250 DSN"
		case "MAIL", "RSET":
			accepted = 0
		case "DATA":
			otherwise = "354 go on"
			if accepted == 0 {
				otherwise = "554 5.5.1 no valid recipients"
			}
		case "QUIT":
			otherwise = "221 2.0.0 Bye"
		}
		reply := s.reply(verb, line, otherwise)
		if !say(c, reply) || verb == "QUIT" {
			return
		}
		if verb == "RCPT" && reply[0] == '2' {
			accepted++
		}
		if verb == "DATA" && reply[0] == '3' && !s.data(c, r, accepted, lmtp) {
			return
		}
	}
}

func (s *Sink) data(c net.Conn, r *bufio.Reader, accepted int, lmtp bool) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		line = strings.TrimRight(line, "\r\n")
		s.note(line)
		if line == "." {
			break
		}
	}
	if !lmtp {
		accepted = 1
	}
	for n := 0; n < accepted; n++ {
		if !say(c, s.reply("END", "", "250 2.0.0 Ok: taken")) {
			return false
		}
	}
	return true
}

func say(c net.Conn, reply string) bool {
	if reply == "DROP" {
		return false
	}
	_, err := fmt.Fprintf(c, "%s\r\n", strings.ReplaceAll(reply, " | ", "\r\n"))
	return err == nil
}
