package smtpclient

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/delivery"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/cidr"
	"postern/internal/table/inline"
	"postern/internal/table/pattern"
	"postern/internal/table/static"
)

// A server plays one script per connection: lines "S: text" are sent, lines
// "C: text" are expected ("C: *" is any line), "D:" takes message content up
// to the lonely dot, "B:" takes an octet, "T:" starts TLS, "X:" closes the
// connection. After the script the
// connection is read to its end.
type server struct {
	t       *testing.T
	name    string
	l       net.Listener
	port    string
	mu      sync.Mutex
	scripts []string
	mail    []string // contents that were taken
	done    sync.WaitGroup
	tls     func(net.Conn) net.Conn // for "T:"
}

func serve(t *testing.T, scripts ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, l: l, scripts: scripts}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	s.start()
	return s
}

func (s *server) start() {
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		for {
			c, err := s.l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if len(s.scripts) == 0 {
				s.mu.Unlock()
				s.t.Errorf("unexpected connection")
				c.Close()
				continue
			}
			script := s.scripts[0]
			s.scripts = s.scripts[1:]
			s.mu.Unlock()
			s.done.Add(1)
			go func() {
				defer s.done.Done()
				s.play(c, script)
			}()
		}
	}()
	s.t.Cleanup(func() {
		s.l.Close()
		s.done.Wait()
	})
}

func (s *server) play(c net.Conn, script string) {
	defer func() { c.Close() }()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		kind, text, _ := strings.Cut(line, ":")
		text = strings.TrimPrefix(text, " ")
		switch kind {
		case "":
		case "S":
			fmt.Fprintf(c, "%s\r\n", text)
		case "C":
			got, err := r.ReadString('\n')
			got = strings.TrimSuffix(got, "\r\n")
			if err != nil || text != "*" && got != text {
				s.t.Errorf("%s: client said %q (%v), want %q", s.name, got, err, text)
				return
			}
		case "D":
			s.data(r)
		case "B":
			r.ReadByte()
		case "T":
			c = s.tls(c)
			r = bufio.NewReader(c)
		case "X":
			return
		}
	}
	r.ReadString(0)
}

func (s *server) data(r *bufio.Reader) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			s.t.Errorf("in message: %v", err)
			return
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.ReplaceAll(line, "\r\n", "\n"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail = append(s.mail, b.String())
}

func (s *server) messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mail...)
}

var types = append([]table.Type{inline.Type(), static.Type(), cidr.Type()}, pattern.Types()...)

// start makes a client in an instance.
func start(t *testing.T, p Protocol, config string) (*Client, *agenttest.Instance) {
	t.Helper()
	c := New(p).(*Client)
	in := agenttest.New(t, c, strings.ToLower(p.String()), "inet_protocols = ipv4\nnative_hosts_file = /none\n"+config, types)
	t.Cleanup(c.pool.close)
	return c, in
}

// numbers are the times of a delivery; that there was no TLS goes with them.
var numbers = regexp.MustCompile(`delay=[0-9.]+, delays=[0-9./]+(?:, tls=none(, dsn))?`)

// lines are the log without the queue id, ports and times.
func lines(in *agenttest.Instance, req *delivery.Request, ports ...string) []string {
	var list []string
	for _, l := range in.Log() {
		l = strings.ReplaceAll(l, string(req.QueueID), "ID")
		for i, p := range ports {
			l = strings.ReplaceAll(l, ":"+p, fmt.Sprintf(":PORT%d", i+1))
		}
		l = numbers.ReplaceAllString(l, "delay=N$1")
		list = append(list, l)
	}
	return list
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	g, w := strings.Join(got, "\n"), strings.Join(want, "\n")
	if g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

const hello = `
S: 220 test.example ESMTP
C: EHLO mx.example
S: 250-test.example
S: 250-PIPELINING
S: 250-SIZE 1000000
S: 250-8BITMIME
S: 250 ENHANCEDSTATUSCODES
`

// open opens a client with a main.cf and returns its complaint.
func open(t *testing.T, config string) error {
	t.Helper()
	conf, err := maincf.Read(strings.NewReader("myhostname = mx.example\n"+config), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	c := New(SMTP).(*Client)
	common := new(param.Common)
	set := param.NewSet()
	common.Params(set)
	c.Params(set)
	if err := set.Load(conf); err != nil {
		return err
	}
	log, _ := maillog.Record()
	tables := table.NewOpener(types)
	return c.Open(&service.Env{Program: "smtp", Name: "smtp", Config: conf, Common: common, Log: log, Tables: tables})
}
