package smtpclient

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/ipc/delivery"
	"postern/internal/protocol/smtp"
	"postern/internal/service"
)

// bare is a client without tables and network.
func bare(t testing.TB) *Client {
	c := New(SMTP).(*Client)
	common := new(param.Common)
	set := param.NewSet()
	common.Params(set)
	c.Params(set)
	if err := set.Load(source{"myhostname": "mx.example", "smtp_line_length_limit": "990"}); err != nil {
		t.Fatal(err)
	}
	c.env = &service.Env{Program: "smtp", Name: "smtp", Common: common, Log: maillog.Discard()}
	c.buffers = newBuffers()
	c.port = 25
	return c
}

type source map[string]string

func (s source) Lookup(name string) (string, string, bool) {
	v, ok := s[name]
	return v, "", ok
}

// A monologue is a connection on which a server has said everything already.
type monologue struct {
	net.Conn
	r io.Reader
}

func (m monologue) Read(p []byte) (int, error)       { return m.r.Read(p) }
func (m monologue) Write(p []byte) (int, error)      { return len(p), nil }
func (m monologue) Close() error                     { return nil }
func (m monologue) SetReadDeadline(time.Time) error  { return nil }
func (m monologue) SetWriteDeadline(time.Time) error { return nil }
func (m monologue) SetDeadline(time.Time) error      { return nil }

func FuzzReply(f *testing.F) {
	f.Add("250-a\r\n250 2.1.0 b\r\n")
	f.Add("hello\n250\r\n")
	f.Add("2\x00 4.2.0 x\r\n999-\r\n")
	c := bare(f)
	f.Fuzz(func(t *testing.T, text string) {
		s := c.newSession(monologue{r: strings.NewReader(text)}, place{host: "h"})
		s.within(time.Minute)
		for {
			p, err := s.reply()
			if err != nil {
				break
			}
			if p.code < 0 || p.code > 999 || p.status.Class() == 0 || strings.ContainsAny(p.text, "\r\x00") {
				t.Fatalf("reply %+v", p)
			}
			d := &delivering{client: c, req: &agent.Request{Log: c.env.Log}}
			d.learnQuietly(s, p)
		}
		s.release()
	})
}

// learnQuietly reads a reply as one to EHLO.
func (d *delivering) learnQuietly(s *session, p *reply) {
	s.features |= featESMTP
	d.learn(s, p)
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"a.example", "a.example:25", "[a.example]:smtp", "[ipv6:::1]:24", "[", "[]", ":", "[::1]", "bücher.example"} {
		f.Add(s)
	}
	c := bare(f)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := c.parseDestination(text)
		if err == nil && (d.host == "" || d.port < 1 || d.port > 65535) {
			t.Fatalf("%q: %+v", text, d)
		}
		domainOf(text)
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("secure match=a:.b ciphers=high protocols=TLSv1.2:TLSv1.3")
	f.Add("may =x")
	c := bare(f)
	f.Fuzz(func(t *testing.T, text string) {
		if p, _, err := c.parsePolicy(text, tlsPolicy{}); err == nil && supported(p.level) != nil {
			t.Fatalf("%q: level %s", text, p.level)
		}
	})
}

// FuzzEditor encodes messages for 7-bit servers. What comes out must be lines
// within the limit.
func FuzzEditor(f *testing.F) {
	f.Add("Content-Transfer-Encoding: 8bit\n\n\xff\\\n\xfe\n.\n")
	f.Add("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: binary\n\n\xff\n--b--\n")
	c := bare(f)
	f.Fuzz(func(t *testing.T, text string) {
		s := c.newSession(monologue{}, place{host: "h"})
		defer s.release()
		var out bytes.Buffer
		s.w.Reset(&out)
		tr := &transaction{delivering: &delivering{client: c, req: &agent.Request{Request: delivery.Request{Encoding: "8bit"}, Log: c.env.Log}}, s: s}
		dots := smtp.NewDotWriter(s.w)
		e := tr.editor(&lineWriter{t: tr, out: dots, limit: 990, left: 990})
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			piece, more := strings.CutSuffix(line, "\\")
			if err := e.Line([]byte(piece), !more); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.End(); err != nil {
			t.Fatal(err)
		}
		dots.Close()
		s.w.Flush()
		for line := range bytes.Lines(out.Bytes()) {
			if len(line) > 990+3 {
				t.Fatalf("line of %d octets", len(line))
			}
		}
	})
}
