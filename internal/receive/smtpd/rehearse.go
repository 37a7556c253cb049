package smtpd

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail/event"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
	"postern/internal/receive/smtpd/restrict"
)

// A Rehearsal is a session that does not take place: the server is told who
// the client would be.
type Rehearsal struct {
	Client     netip.Addr
	Name       string // of the client; "" asks the name service
	Helo       string
	User       string // who has authenticated; "" for nobody
	TLS        bool
	Sender     string
	Recipients []string
}

// An Exchange is one command with what was answered and what decided that.
type Exchange struct {
	Command string
	Reply   string // lines separated by newlines
	Trail   []event.Step
}

// Rehearse plays the session as the server would: the same commands, policy
// and queue file (where the Server's cleanup service is). Nothing is counted
// with anvil, and nobody is connected to.
func (s *Server) Rehearse(ctx context.Context, r Rehearsal) []Exchange {
	s.counter, s.stress = nil, func() bool { return false }
	conf, rules := s.current()
	c := &stage{client: r.Client}
	n := &session{Server: s, conf: conf, rules: rules, ctx: ctx, conn: c, raw: c, octets: -1, where: "CONNECT",
		bareNewline: s.bareNewline}
	n.in = smtp.NewReader(c, smtp.Limits{Timeout: conf.Timeout, MinRate: 1}, s.buffers)
	defer n.in.Release()
	n.subject.NewSession()
	n.subject.SASLEnabled = s.sasl != nil
	n.setPeer(n.cast(r))
	n.chooseDiscards()
	var all []Exchange
	var trail []event.Step
	n.subject.Observe = func(step event.Step) { trail = append(trail, step) }
	say := func(command string, act func()) bool {
		trail = nil
		act()
		n.write()
		e := Exchange{Command: command, Reply: strings.TrimRight(strings.ReplaceAll(c.sent.String(), "\r\n", "\n"), "\n"), Trail: trail}
		c.sent.Reset()
		all = append(all, e)
		return !n.end && !strings.HasPrefix(e.Reply, "4") && !strings.HasPrefix(e.Reply, "5")
	}
	command := func(line string) bool { return say(line, func() { n.command(line) }) }
	defer n.reset()
	if !say("(connect)", func() { n.put(n.greeting()) }) || !command("EHLO "+r.Helo) {
		return all
	}
	n.assume(r)
	if (r.TLS || r.User != "") && !command("EHLO "+r.Helo) {
		return all
	}
	if !command("MAIL FROM:<" + r.Sender + ">") {
		return all
	}
	accepted := false
	for _, rcpt := range r.Recipients {
		accepted = command("RCPT TO:<"+rcpt+">") || accepted
		if n.end {
			return all
		}
	}
	if accepted {
		c.content = "Subject: rehearsal\r\n\r\n.\r\n"
		command("DATA")
	}
	return all
}

// cast makes the client of the rehearsal.
func (s *session) cast(r Rehearsal) peer {
	p := newPeer(s.raw)
	if r.Name != "" {
		p.name, p.reverse, p.status, p.reverseStatus = r.Name, r.Name, restrict.NameOK, restrict.NameOK
		return p
	}
	s.lookupPeer(s.ctx, &p)
	return p
}

// assume gives the session what STARTTLS and AUTH would have given it.
func (s *session) assume(r Rehearsal) {
	if r.TLS {
		s.tls = &starttls.Session{Summary: starttls.Summary{Protocol: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384", Bits: 256}}
		s.subject.TLS = s.tls
	}
	if r.User != "" {
		s.auth = &authState{method: "PLAIN", user: r.User}
		s.subject.SASLMethod, s.subject.SASLUsername = "PLAIN", printableName(r.User)
	}
}

// A stage is the connection of a rehearsal: it keeps what is sent and has the
// content of the message ready when it is asked for.
type stage struct {
	client  netip.Addr
	sent    bytes.Buffer
	content string
}

// Read gives the content after the server has asked for it.
func (c *stage) Read(b []byte) (int, error) {
	if c.content == "" || !bytes.Contains(c.sent.Bytes(), []byte("354 ")) {
		return 0, io.EOF
	}
	n := copy(b, c.content)
	c.content = c.content[n:]
	return n, nil
}

func (c *stage) Write(b []byte) (int, error) { return c.sent.Write(b) }

func (c *stage) Close() error { return nil }

// LocalAddr is that of this host.
func (c *stage) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// RemoteAddr is the client's.
func (c *stage) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.client, 10025))
}

func (c *stage) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: what there is to read is there.
func (c *stage) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *stage) SetWriteDeadline(time.Time) error { return nil }
