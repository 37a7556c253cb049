package sasl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of what the service sends.
const (
	maxLine       = 16 * 1024
	maxMechanisms = 100
)

// A Dovecot asks Dovecot's auth service. It may be used from several
// goroutines; each dialogue has a connection of its own while it lasts.
type Dovecot struct {
	network, address string
	timeout          time.Duration

	mu         sync.Mutex
	idle       []*conn
	mechanisms []Mechanism
	known      time.Time // when the mechanisms were learned
}

// maxIdle is how many unused connections are kept.
const maxIdle = 10

// mechanismsLife is how long the list of mechanisms is believed.
const mechanismsLife = 60 * time.Second

type conn struct {
	net.Conn
	r          *bufio.Reader
	mechanisms []Mechanism
	next       int // id of the next request
}

// NewDovecot returns a client of the service at path: "private/auth",
// "unix:private/auth" or "inet:host:port" (smtpd_sasl_path).
func NewDovecot(path string, timeout time.Duration) *Dovecot {
	d := &Dovecot{network: "unix", address: strings.TrimPrefix(path, "unix:"), timeout: timeout}
	if rest, ok := strings.CutPrefix(path, "inet:"); ok {
		d.network, d.address = "tcp", rest
	}
	return d
}

// Mechanisms lists what the service offers.
func (d *Dovecot) Mechanisms(ctx context.Context) ([]Mechanism, error) {
	d.mu.Lock()
	if d.mechanisms != nil && time.Since(d.known) < mechanismsLife {
		defer d.mu.Unlock()
		return d.mechanisms, nil
	}
	d.mu.Unlock()
	c, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	d.keep(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mechanisms, d.known = c.mechanisms, time.Now()
	return c.mechanisms, nil
}

func (d *Dovecot) dial(ctx context.Context) (*conn, error) {
	nd := net.Dialer{Timeout: d.timeout}
	nc, err := nd.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, fmt.Errorf("connect to the SASL service: %w", err)
	}
	c := &conn{Conn: nc, r: bufio.NewReaderSize(nc, maxLine), next: 1}
	if err := c.handshake(d.timeout); err != nil {
		nc.Close()
		return nil, fmt.Errorf("SASL service %s: %w", d.address, err)
	}
	return c, nil
}

func (c *conn) handshake(timeout time.Duration) error {
	c.SetDeadline(time.Now().Add(timeout))
	if _, err := fmt.Fprintf(c, "VERSION\t1\t1\nCPID\t%d\n", os.Getpid()); err != nil {
		return err
	}
	for {
		f, err := c.fields()
		if err != nil {
			return err
		}
		switch f[0] {
		case "VERSION":
			if len(f) < 2 || f[1] != "1" {
				return errors.New("unsupported protocol version")
			}
		case "MECH":
			if len(f) < 2 || len(c.mechanisms) >= maxMechanisms {
				return errors.New("malformed list of mechanisms")
			}
			if !validName(f[1]) {
				return fmt.Errorf("malformed name of a mechanism: %.40q", f[1])
			}
			c.mechanisms = append(c.mechanisms, mechanism(f[1], f[2:]))
		case "DONE":
			return nil
		}
	}
}

// validName says whether a mechanism may be called so (RFC 4422 3.1).
func validName(name string) bool {
	for _, r := range name {
		if !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
			return false
		}
	}
	return name != "" && len(name) <= 20
}

func mechanism(name string, traits []string) Mechanism {
	m := Mechanism{Name: strings.ToUpper(name)}
	for _, t := range traits {
		switch t {
		case "anonymous":
			m.Anonymous = true
		case "plaintext":
			m.Plaintext = true
		case "dictionary":
			m.Dictionary = true
		case "active":
			m.Active = true
		case "forward-secrecy":
			m.ForwardSecrecy = true
		case "mutual-auth":
			m.MutualAuth = true
		case "private":
			m.Private = true
		}
	}
	return m
}

// fields reads one line.
func (c *conn) fields() ([]string, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	f := strings.Split(strings.TrimRight(string(line), "\r\n"), "\t")
	for i := range f {
		f[i] = unescape(f[i])
	}
	return f, nil
}

// A dovecotDialogue has a connection of its own while it lasts.
type dovecotDialogue struct {
	d  *Dovecot
	c  *conn
	id string
}

// Start asks over a connection that was kept, if there is one: the service may
// have closed it meanwhile, and then a new one is made.
func (d *Dovecot) Start(ctx context.Context, mech string, p Peer, initial string, hasInitial bool) (Dialogue, Result, error) {
	if c := d.take(); c != nil {
		dlg, res, err := d.start(c, mech, p, initial, hasInitial)
		if err == nil || isTimeout(err) {
			return dlg, res, err
		}
	}
	c, err := d.dial(ctx)
	if err != nil {
		return nil, Result{}, err
	}
	return d.start(c, mech, p, initial, hasInitial)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (d *Dovecot) start(c *conn, mech string, p Peer, initial string, hasInitial bool) (Dialogue, Result, error) {
	dlg := &dovecotDialogue{d: d, c: c, id: strconv.Itoa(c.next)}
	c.next++
	var b strings.Builder
	fmt.Fprintf(&b, "AUTH\t%s\t%s\tservice=%s\tnologin", dlg.id, escape(mech), escape(p.Service))
	for _, f := range [...][2]string{{"lip", p.LocalAddr}, {"rip", p.RemoteAddr}, {"lport", p.LocalPort}, {"rport", p.RemotePort}} {
		if f[1] != "" {
			b.WriteString("\t" + f[0] + "=" + escape(f[1]))
		}
	}
	if p.Secured {
		b.WriteString("\tsecured")
	}
	if p.ClientCert {
		b.WriteString("\tvalid-client-cert")
	}
	if hasInitial {
		// Last of all: it ends the line.
		b.WriteString("\tresp=" + escape(initial))
	}
	res, err := dlg.exchange(b.String())
	return dlg, res, err
}

// Next passes on the client's answer to a challenge, in base64.
func (g *dovecotDialogue) Next(_ context.Context, answer string) (Result, error) {
	return g.exchange("CONT\t" + g.id + "\t" + escape(answer))
}

// Cancel gives the dialogue up; the service forgets it with the connection.
func (g *dovecotDialogue) Cancel() {
	if g.c != nil {
		g.c.Close()
		g.c = nil
	}
}

func (g *dovecotDialogue) exchange(line string) (Result, error) {
	res, err := g.ask(line)
	if err != nil {
		g.Cancel()
		return res, fmt.Errorf("SASL service %s: %w", g.d.address, err)
	}
	if res.Outcome != Continue {
		g.d.keep(g.c)
		g.c = nil
	}
	return res, nil
}

func (g *dovecotDialogue) ask(line string) (Result, error) {
	g.c.SetDeadline(time.Now().Add(g.d.timeout))
	if _, err := g.c.Write([]byte(line + "\n")); err != nil {
		return Result{}, err
	}
	for {
		f, err := g.c.fields()
		if err != nil {
			return Result{}, err
		}
		if len(f) < 2 || f[1] != g.id {
			continue // of a dialogue that was given up
		}
		switch f[0] {
		case "OK":
			user := param(f[2:], "user")
			if user == "" {
				return Result{}, errors.New("success without a user")
			}
			return Result{Outcome: Success, User: user}, nil
		case "FAIL":
			return failure(f[2:]), nil
		case "CONT":
			if len(f) < 3 {
				f = append(f, "")
			}
			if !Valid(f[2]) {
				return Result{}, errors.New("a challenge that is not base64")
			}
			return Result{Outcome: Continue, Text: f[2]}, nil
		}
	}
}

func failure(f []string) Result {
	res := Result{Outcome: Failure, Text: printable(param(f, "reason")), User: param(f, "user")}
	for _, w := range f {
		if w == "temp" || w == "code=temp_fail" {
			res.Outcome = Temporary
		}
	}
	return res
}

// printable keeps control octets out of replies.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func param(fields []string, name string) string {
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, name+"="); ok {
			return v
		}
	}
	return ""
}

// escape keeps tabs and line ends out of a field.
func escape(s string) string {
	return strings.NewReplacer("\x01", "\x011", "\t", "\x01t", "\n", "\x01n", "\r", "\x01r", "\x00", "\x010").Replace(s)
}

func unescape(s string) string {
	if !strings.Contains(s, "\x01") {
		return s
	}
	return strings.NewReplacer("\x011", "\x01", "\x01t", "\t", "\x01n", "\n", "\x01r", "\r", "\x010", "\x00").Replace(s)
}

func (d *Dovecot) take() *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return c
	}
	return nil
}

func (d *Dovecot) keep(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= maxIdle {
		c.Close()
		return
	}
	d.idle = append(d.idle, c)
}

// Close closes the unused connections.
func (d *Dovecot) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.idle {
		c.Close()
	}
	d.idle = nil
	return nil
}
