package smtpclient

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"postern/internal/mail/queue"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
)

// A feature is something that a server offers, or that is done for it.
type feature int

const (
	featESMTP feature = 1 << iota
	featPipelining
	featSize
	feat8BitMIME
	featDSN
	featStartTLS
	featAuth
	featSMTPUTF8
	featRequireTLS
	featXforwardName
	featXforwardAddr
	featXforwardPort
	featXforwardProto
	featXforwardHelo
	featXforwardIdent
	featXforwardDomain
	featPixNoESMTP   // the server is behind a PIX that spoils ESMTP
	featPixDelayDot  // … and the end of data
	featEarlyRefused // commands that were sent ahead must not follow STARTTLS
)

const featXforward = featXforwardName | featXforwardAddr | featXforwardPort | featXforwardProto |
	featXforwardHelo | featXforwardIdent | featXforwardDomain

// writeBuffer is the size of one write to the network.
const writeBuffer = 32 << 10

// A session is a connection to a server, from the greeting to QUIT. It serves
// one delivery after the other.
type session struct {
	client *Client
	conn   net.Conn // over TLS when that was negotiated
	r      *smtp.Reader
	w      *bufio.Writer // nil while the session is idle
	id     queue.ID      // of the message under way
	place  place
	name   string // "host[addr]", for texts
	port   string // "host[addr]:port", for the log

	features  feature
	sizeLimit int64 // 0: none
	auth      []string
	tls       *starttls.ClientSession
	level     starttls.Level // of the policy
	tlsTried  bool           // STARTTLS failed, so that the host may do better without
	matched   bool           // the certificate is the one that the policy wants
	status    tlsStatus

	opened   time.Time
	uses     int // transactions, with the one under way
	bestMX   bool
	dead     bool // nothing can be sent or received any more
	noReuse  bool
	quitSent bool
	timeout  time.Duration // of the stage
	deadline time.Time     // of the request, with smtp_per_request_deadline
}

// buffers are the write buffers of sessions that are not idle.
type buffers struct {
	write sync.Pool
	read  *sync.Pool
}

func newBuffers() *buffers {
	return &buffers{
		write: sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeBuffer) }},
		read:  smtp.NewBuffers(),
	}
}

// newSession wraps a connection.
func (c *Client) newSession(conn net.Conn, p place) *session {
	s := &session{client: c, conn: conn, place: p, opened: time.Now()}
	s.name = p.host + "[" + p.printable() + "]"
	s.port = s.name
	if p.path == "" {
		s.port = fmt.Sprintf("%s:%d", s.name, p.port)
	}
	s.r = smtp.NewReader(conn, smtp.Limits{}, c.buffers.read)
	s.acquire()
	return s
}

// acquire makes an idle session ready to write.
func (s *session) acquire() {
	s.w = s.client.buffers.write.Get().(*bufio.Writer)
	s.w.Reset(s)
}

// release gives the buffers of a session back.
func (s *session) release() {
	if s.w != nil {
		s.w.Reset(nil)
		s.client.buffers.write.Put(s.w)
		s.w = nil
	}
	s.r.Release()
}

// close ends the connection.
func (s *session) close() {
	s.dead = true
	s.conn.Close()
	s.release()
}

// within bounds what follows: each read and write of the stage has d, or all
// of them together with smtp_per_request_deadline.
func (s *session) within(d time.Duration) {
	s.timeout, s.deadline = d, time.Time{}
	s.r.SetLimits(smtp.Limits{Timeout: d})
	if s.client.config.PerRequestDeadline {
		s.deadline = time.Now().Add(d)
	}
}

// Write sends octets to the server, within the stage's time. What is sent buys
// time at the rate of smtp_min_data_rate.
func (s *session) Write(b []byte) (int, error) {
	now := time.Now()
	deadline := now.Add(s.timeout)
	if !s.deadline.IsZero() {
		if bought := s.deadline.Add(time.Duration(len(b)) * time.Second / time.Duration(s.client.config.MinDataRate)); bought.Before(deadline) {
			deadline = bought
		}
		s.deadline = deadline
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	return s.conn.Write(b)
}

// cut ends the connection when ctx does; the caller calls stop afterwards.
func (s *session) cut(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
}

func (s *session) has(f feature) bool { return s.features&f == f }

// command writes a command; it goes out with the next read, or when the
// buffer is full.
func (s *session) command(text string) {
	s.client.env.Log.Debugf("> %s: %s", s.port, text)
	s.w.WriteString(text)
	s.w.WriteString("\r\n")
}

// flush sends what is buffered.
func (s *session) flush() error {
	if s.dead {
		return io.ErrClosedPipe
	}
	return s.w.Flush()
}

// quit takes leave: QUIT, and its reply unless smtp_skip_quit_response.
func (s *session) quit() {
	if s.dead {
		return
	}
	s.within(s.client.config.QuitTimeout)
	if !s.quitSent {
		s.command("QUIT")
	}
	if s.flush() != nil || s.client.config.SkipQuitResponse {
		return
	}
	s.reply()
}
