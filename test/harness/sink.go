package harness

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
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
//
// "CERT FILE" makes the sink offer STARTTLS with the key and the certificates of
// a PEM file; with "WRAPPER yes" TLS comes first, with "REQUIRETLS yes" that
// extension is announced within TLS, with "ASK yes" clients are asked for a
// certificate, whose name is noted. STARTTLS ends the connection where there is no
// certificate.
type Sink struct {
	Port    int
	rules   []sinkRule
	tls     *tls.Config // nil: no TLS
	wrapper bool
	require bool // REQUIRETLS is announced within TLS
	ask     bool // clients are asked for a certificate

	mu       sync.Mutex
	sessions []*sinkSession // in the order in which they began
}

// A sinkSession is what one client sent.
type sinkSession struct {
	sink  *Sink
	got   []string
	ended bool
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
	if err := s.read(script); err != nil {
		t.Fatal(err)
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
			n := &sinkSession{sink: s}
			s.mu.Lock()
			s.sessions = append(s.sessions, n)
			s.mu.Unlock()
			sessions.Add(1)
			go func() {
				defer sessions.Done()
				defer n.end()
				defer c.Close()
				n.serve(c)
			}()
		}
	}()
	return s
}

// read reads the script.
func (s *Sink) read(script string) error {
	for _, line := range strings.Split(script, "\n") {
		what, reply, ok := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case !ok:
		case what == "CERT":
			cert, err := tls.LoadX509KeyPair(reply, reply)
			if err != nil {
				return err
			}
			// One key exchange for all clients, which is named in their logs; every
			// client sees the certificate.
			s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.X25519}, SessionTicketsDisabled: true}
		case what == "WRAPPER":
			s.wrapper = reply == "yes"
		case what == "ASK":
			s.ask = reply == "yes"
		case what == "REQUIRETLS":
			s.require = reply == "yes"
		default:
			verb, contains, _ := strings.Cut(what, ":")
			s.rules = append(s.rules, sinkRule{strings.ToUpper(verb), contains, reply})
		}
	}
	return nil
}

// Got returns all that the clients sent, line by line, one session after the
// other: a QUIT may come when the next session has begun. It waits a while for
// those that have not ended, which a client can keep for further messages.
func (s *Sink) Got() []string {
	for deadline := time.Now().Add(3 * time.Second); !s.idle() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, n := range s.sessions {
		all = append(all, n.got...)
	}
	return all
}

// idle says whether every session has ended.
func (s *Sink) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.sessions, func(n *sinkSession) bool { return !n.ended })
}

func (n *sinkSession) end() {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.ended = true
}

func (n *sinkSession) note(line string) {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.got = append(n.got, line)
}

func (s *Sink) reply(verb, line, otherwise string) string {
	for _, r := range s.rules {
		if r.verb == verb && strings.Contains(line, r.contains) {
			return r.reply
		}
	}
	return otherwise
}

// secure makes the handshake, and notes which server the client named.
func (n *sinkSession) secure(c net.Conn) (net.Conn, error) {
	c.SetDeadline(time.Now().Add(Wait))
	conf := n.sink.tls.Clone()
	if n.sink.ask {
		conf.ClientAuth = tls.RequestClientCert
	}
	server := tls.Server(c, conf)
	err := server.Handshake()
	if err == nil {
		n.note(strings.TrimSpace("(TLS) " + server.ConnectionState().ServerName))
		for k, cert := range server.ConnectionState().PeerCertificates {
			n.note(fmt.Sprintf("(certificate %d) %s", k+1, cert.Subject.CommonName))
		}
	}
	return server, err
}

func (n *sinkSession) serve(c net.Conn) {
	s := n.sink
	secured := false
	if s.wrapper {
		var err error
		if c, err = n.secure(c); err != nil {
			return
		}
		secured = true
	}
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
		n.note(line)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		otherwise := "250 2.0.0 Ok"
		switch verb {
		case "EHLO", "LHLO":
			lmtp = verb == "LHLO"
			otherwise = "250-sink.example | 250-PIPELINING | 250-8BITMIME | 250-SIZE | 250-ENHANCEDSTATUSCODES | 250 DSN"
			if s.tls != nil && !secured {
				otherwise = strings.Replace(otherwise, "250 DSN", "250-STARTTLS | 250 DSN", 1)
			}
			if s.require && secured {
				otherwise = strings.Replace(otherwise, "250 DSN", "250-REQUIRETLS | 250 DSN", 1)
			}
		case "STARTTLS":
			otherwise = "220 2.0.0 Ready to start TLS"
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
		switch {
		case verb == "STARTTLS" && reply[0] == '2':
			if s.tls == nil {
				r.Peek(1) // what is not read would reset the connection
				r.Discard(r.Buffered())
				return
			}
			if c, err = n.secure(c); err != nil {
				return
			}
			secured, r = true, bufio.NewReader(c)
		case verb == "RCPT" && reply[0] == '2':
			accepted++
		case verb == "DATA" && reply[0] == '3' && !n.data(c, r, accepted, lmtp):
			return
		}
	}
}

func (n *sinkSession) data(c net.Conn, r *bufio.Reader, accepted int, lmtp bool) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		line = strings.TrimRight(line, "\r\n")
		n.note(line)
		if line == "." {
			break
		}
	}
	if !lmtp {
		accepted = 1
	}
	for range accepted {
		if !say(c, n.sink.reply("END", "", "250 2.0.0 Ok: taken")) {
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
