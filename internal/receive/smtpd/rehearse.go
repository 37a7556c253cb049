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
	"postern/internal/protocol/milter"
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
	Ask        bool // ask policy servers and milters
}

// A Rehearsed is what a rehearsal has shown.
type Rehearsed struct {
	Exchanges   []Exchange
	Milters     []Milter // those of the client, in order
	ProxyFilter string   // smtpd_proxy_filter, which is never asked; "" for none
}

// A Milter is one that a message of the client would pass.
type Milter struct {
	Name          string // "inet:localhost:8891"
	DefaultAction string // if it could not be asked
	Asked         bool
}

// An Exchange is one command with what was answered and what decided that.
type Exchange struct {
	Command string
	Reply   string // lines separated by newlines
	Trail   []event.Step
}

// Rehearse plays the session as the server would: the same commands, policy
// and queue file (where the Server's cleanup service is). Nothing is counted
// with anvil. A filter before the queue is left out: it would get the message.
// Policy servers and milters are asked only if r says so; milters hear of all
// commands and then that the message is given up, and never see content.
func (s *Server) Rehearse(ctx context.Context, r Rehearsal) Rehearsed {
	s.counter = nil // and there is no stress
	var played Rehearsed
	if s.filter != nil {
		played.ProxyFilter, s.filter = s.filter.Name, nil
	}
	c := &stage{client: r.Client}
	n := &session{Server: s, ctx: ctx, conn: c, raw: c, octets: -1, where: "CONNECT",
		bareNewline: s.bareNewline}
	n.in = smtp.NewReader(c, smtp.Limits{Timeout: s.conf.Timeout, MinRate: 1}, s.buffers)
	defer n.in.Release()
	n.subject.NewSession()
	n.subject.SASLEnabled = s.sasl != nil
	n.setPeer(n.cast(r))
	n.chooseDiscards()
	n.rehearsing, n.subject.PolicyUnasked = &r, !r.Ask
	defer func() { n.milters.Disconnect() }()
	var trail []event.Step
	n.subject.Observe = func(step event.Step) { trail = append(trail, step) }
	say := func(command string, act func()) bool {
		trail = nil
		act()
		n.write()
		e := Exchange{Command: command, Reply: strings.TrimRight(strings.ReplaceAll(c.sent.String(), "\r\n", "\n"), "\n"), Trail: trail}
		c.sent.Reset()
		played.Exchanges = append(played.Exchanges, e)
		return !n.end && !strings.HasPrefix(e.Reply, "4") && !strings.HasPrefix(e.Reply, "5")
	}
	defer n.reset()
	if say("(connect)", func() { n.put(n.greeting()) }) {
		n.play(r, c, func(line string) bool { return say(line, func() { n.command(line) }) })
	}
	played.Milters = n.askedMilters
	return played
}

// play says the commands of the session, as long as they are accepted.
func (s *session) play(r Rehearsal, c *stage, command func(string) bool) {
	if !command("EHLO " + r.Helo) {
		return
	}
	s.assume(r)
	if (r.TLS || r.User != "") && !command("EHLO "+r.Helo) || !command("MAIL FROM:<"+r.Sender+">") {
		return
	}
	accepted := false
	for _, rcpt := range r.Recipients {
		accepted = command("RCPT TO:<"+rcpt+">") || accepted
		if s.end {
			return
		}
	}
	if accepted {
		c.content = "Subject: rehearsal\r\n\r\n.\r\n"
		command("DATA")
	}
}

// rehearseMilters notes which milters the client has, and says which of them are asked.
func (s *session) rehearseMilters(services []*milter.Service) []*milter.Service {
	s.askedMilters = nil
	for _, m := range services {
		s.askedMilters = append(s.askedMilters, Milter{Name: m.Name, DefaultAction: m.DefaultAction, Asked: s.rehearsing.Ask})
	}
	if s.rehearsing.Ask {
		return services
	}
	return nil
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
