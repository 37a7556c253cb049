package milter

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/sys/systest"
	"postern/internal/protocol/milter/miltertest"
)

// settings are those of a milter that must answer within limit.
func settings(t *testing.T, limit time.Duration, action string) *Settings {
	t.Helper()
	p := Params{ConnectTimeout: limit, CommandTimeout: limit, ContentTimeout: limit, Protocol: "6", DefaultAction: action}
	p.Macros[atConnect], p.Macros[atEndOfHead], p.Macros[atEndOfBody] = "j {absent}", "i", "i"
	s, err := p.Parse()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func chain(t *testing.T, s *Settings, ports ...int) (*Chain, func() []string) {
	t.Helper()
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprintf("inet:127.0.0.1:%d", p))
	}
	services, err := s.Services(strings.Join(list, ", "))
	if err != nil {
		t.Fatal(err)
	}
	log, lines := maillog.Record()
	c := s.New(services, log, func(name string) (string, bool) {
		return map[string]string{"j": "host", "i": "QID"}[name], len(name) == 1
	})
	t.Cleanup(c.Disconnect)
	return c, lines
}

// A text is a message: fields of the header, lines of the body.
type text struct{ header, body []string }

func (m text) Read(f *Feed) error {
	for _, h := range m.header {
		name, value, _ := strings.Cut(h, ":")
		if !f.Header(name, value) {
			return nil
		}
	}
	if !f.EndOfHeader() {
		return nil
	}
	for _, l := range m.body {
		if !f.Body([]byte(l), false) {
			return nil
		}
	}
	return nil
}

// A notebook keeps what it is asked for.
type notebook struct{ lines []string }

func (n *notebook) note(format string, args ...any) error {
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
	return nil
}
func (n *notebook) AddHeader(name, space, value string) error {
	return n.note("add %s:%s%s", name, space, value)
}
func (n *notebook) InsertHeader(i int, name, space, value string) error {
	return n.note("insert %d %s:%s%s", i, name, space, value)
}
func (n *notebook) ChangeHeader(i int, name, space, value string) error {
	return n.note("change %d %s:%s%s", i, name, space, value)
}
func (n *notebook) DeleteHeader(i int, name string) error { return n.note("delete %d %s", i, name) }
func (n *notebook) Body(b []byte, first bool) error       { return n.note("body %q %v", b, first) }
func (n *notebook) EndBody() error                        { return n.note("end of body") }
func (n *notebook) ChangeSender(addr, args string) error  { return n.note("from %s %s", addr, args) }
func (n *notebook) AddRecipient(addr, args string) error  { return n.note("to %s %s", addr, args) }
func (n *notebook) DeleteRecipient(addr string) error     { return n.note("not to %s", addr) }

var sample = text{[]string{"Subject: one", "X-Two:two"}, []string{"first", "second"}}

// session tells of all events up to the end of a message and returns the first
// answer, with the name of its event.
func session(c *Chain, ed Editor) string {
	for _, step := range []struct {
		name string
		tell func() Response
	}{
		{"connect", func() Response { return c.Connect(context.Background(), "client.example", "192.0.2.1", "25") }},
		{"helo", func() Response { return c.Helo("client.example") }},
		{"unknown", func() Response { return c.Unknown("FROB") }},
		{"mail", func() Response { return c.Mail("<a@b.example>", []string{"SIZE=1"}) }},
		{"rcpt", func() Response { return c.Rcpt("<c@d.example>", nil, false) }},
		{"data", c.Data},
		{"eom", func() Response {
			r, err := c.Message(sample, ed)
			if err != nil {
				return Response{Reply, err.Error()}
			}
			return r
		}},
	} {
		if r := step.tell(); r.Action != Continue {
			return step.name + ": " + [...]string{"continue", "", "hold", "discard", "shutdown"}[r.Action] + r.Text
		}
	}
	return "continue"
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ script, want, warning string }{
		{"", "continue", ""},
		{"connect accept\nhelo reject", "continue", ""},
		{"connect reject", "connect: 550 5.7.1 Command rejected", ""},
		{"connect discard", "continue", "DISCARD action is not allowed for connect or helo"},
		{"helo tempfail", "helo: 451 4.7.1 Service unavailable - try again later", ""},
		{"helo shutdown", "helo: shutdown", ""},
		{"mail accept\nrcpt reject\neom reject", "continue", ""},
		{"mail discard", "mail: discard", ""},
		{"rcpt reply 550 5.1.1 100%% no", "rcpt: 550 5.1.1 100% no", ""},
		{"data reply 550-5.7.1 one\\r\\n550 5.7.1 two", "data: 550-5.7.1 one\r\n550 5.7.1 two", ""},
		{"unknown reject", "unknown: 550 5.7.1 Command rejected", ""},
		{"header:Two reject", "eom: 550 5.7.1 Command rejected", ""},
		{"eoh discard", "eom: discard", ""},
		{"body accept\neom reject", "continue", ""},
		{"body skip", "continue", ""},
		{"eom quarantine why", "eom: hold", ""},
		{"eom quarantine why\neom reject", "eom: 550 5.7.1 Command rejected", ""},
		{"eom progress\neom progress\neom tempfail", "eom: 451 4.7.1 Service unavailable - try again later", ""},
		{"rcpt reply 250 2.0.0 ok", "rcpt: 451 4.3.5 Server configuration problem - try again later", `malformed reply`},
		{"rcpt reply 550 4.0.0 ok", "rcpt: 451 4.3.5 Server configuration problem - try again later", `malformed reply`},
		{"rcpt reply 550-5.7.1 a\\r\\n551 5.7.1 b", "rcpt: 451 4.3.5 Server configuration problem - try again later", `malformed reply`},
		{"rcpt reply 550 no status", "rcpt: 550 no status", ""},
		{"rcpt reply 550 5.7.1 %%s %s 5%", "rcpt: 550 5.7.1 %s s 5", ""},
		{"rcpt packet y550 5.7.1 no end", "rcpt: 451 4.3.5 Server configuration problem - try again later", `malformed reply`},
		{"rcpt packet cdata", "rcpt: 451 4.7.1 Service unavailable - try again later", "reply SMFIR_CONTINUE was followed by 4 data bytes"},
		{"rcpt addheader X y", "rcpt: 451 4.7.1 Service unavailable - try again later", "SMFIR_ADDHEADER was followed by"},
		{"rcpt packet ?", "rcpt: 451 4.7.1 Service unavailable - try again later", `unexpected filter response "?" after event SMFIC_RCPT`},
		{"mail raw \\0\\0\\0\\0", "mail: 451 4.7.1 Service unavailable - try again later", "unreasonable packet length: 0"},
		{"mail raw zzzzzzzz", "mail: 451 4.7.1 Service unavailable - try again later", "unreasonable packet length"},
		{"negotiate raw nonsense", "connect: 451 4.7.1 Service unavailable - try again later", "unreasonable packet length"},
		{"negotiate version 9", "connect: 451 4.7.1 Service unavailable - try again later", "protocol version 9 conflict"},
		{"negotiate actions 0xffff", "connect: 451 4.7.1 Service unavailable - try again later", "request mask 0xffff conflict"},
		{"negotiate drop", "connect: 451 4.7.1 Service unavailable - try again later", "can't read SMFIC_OPTNEG reply packet header: the milter closed the connection"},
		{"helo drop", "helo: 451 4.7.1 Service unavailable - try again later", "can't read SMFIC_HELO reply"},
		{"eom drop", "eom: 451 4.7.1 Service unavailable - try again later", "can't read SMFIC_BODYEOB reply"},
		{"eom packet mxx", "eom: 451 4.7.1 Service unavailable - try again later", "bad request SMFIR_CHGHEADER: packet too short"},
		{"eom packet +<a@b>", "eom: 451 4.7.1 Service unavailable - try again later", "bad request SMFIR_ADDRCPT: missing string null terminator"},
		{"eom packet +<a@b>\\0more\\0", "eom: 451 4.7.1 Service unavailable - try again later", "data after the end of the request"},
	} {
		t.Run(tt.script, func(t *testing.T) {
			m := miltertest.New(t, tt.script)
			c, lines := chain(t, settings(t, time.Minute, "tempfail"), m.Port)
			if got := session(c, &notebook{}); got != tt.want {
				t.Errorf("got %q, want %q\n%s", got, tt.want, strings.Join(m.Got(), "\n"))
			}
			if log := strings.Join(lines(), "\n"); !strings.Contains(log, tt.warning) || tt.warning == "" && log != "" {
				t.Errorf("log %q, want %q", log, tt.warning)
			}
		})
	}
}

// A milter that does not answer costs its default action after the time limit,
// and so does one that is not there.
func TestDefaultAction(t *testing.T) {
	nobody := systest.RefusedPort(t)
	for _, tt := range []struct{ action, down, hangs string }{
		{"accept", "continue", "continue"},
		{"reject", "connect: 550 5.5.0 Service unavailable", "mail: 550 5.5.0 Service unavailable"},
		{"tempfail", "connect: 451 4.7.1 Service unavailable - try again later", "mail: 451 4.7.1 Service unavailable - try again later"},
		{"quarantine", "connect: hold", "mail: hold"},
		{"shutdown", "connect: shutdown", "mail: shutdown"},
	} {
		t.Run(tt.action, func(t *testing.T) {
			t.Parallel()
			m := miltertest.New(t, "mail hang")
			s := settings(t, time.Second, tt.action)
			c, _ := chain(t, s, nobody)
			if got := session(c, &notebook{}); got != tt.down {
				t.Errorf("down: got %q, want %q", got, tt.down)
			}
			c, _ = chain(t, s, m.Port)
			if got := session(c, &notebook{}); got != tt.hangs {
				t.Errorf("hanging: got %q, want %q", got, tt.hangs)
			}
			if got := c.Other(); tt.action == "reject" && got.Text != textRefused {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

func TestEdits(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{"eom addheader X-A a b\neom insheader 3 X-B b\neom chgheader 2 X-C c", "add X-A: a b|insert 3 X-B: b|change 2 X-C: c"},
		{"negotiate protocol 0x100000\neom addheader X-A a\neom chgheader 1 X-C \\_c", "add X-A:a|change 1 X-C: c"},
		{"eom chgheader 1 X-C ", "delete 1 X-C"},
		{"eom addheader X:A a\neom addheader X-A line\\r\\n\\tmore\\rx", "add X-A: line\n\tmore x"},
		{"eom body one\\r\\n\neom addcpt\neom body two", `body "one\r\n" true|end of body`},
		{"eom body one\\r\\n\neom body two", `body "one\r\n" true|body "two" false|end of body`},
		{"eom addrcpt <a@b>\neom addrcptpar <c@d> NOTIFY=NEVER\neom delrcpt <e@f>\neom chgfrom <g@h> RET=HDRS",
			"to <a@b> |to <c@d> NOTIFY=NEVER|not to <e@f>|from <g@h> RET=HDRS"},
		{"eom packet 2<a@b>\\0\neom packet e<c@d>\\0", "to <a@b> |from <c@d> "},
	} {
		m := miltertest.New(t, tt.script+"\neom continue")
		c, _ := chain(t, settings(t, time.Minute, "tempfail"), m.Port)
		var n notebook
		session(c, &n)
		if got := strings.Join(n.lines, "|"); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.script, got, tt.want)
		}
	}
}

// What a milter does not want is not sent, and no answer is waited for that it
// does not give.
func TestNegotiation(t *testing.T) {
	for _, tt := range []struct{ script, absent, present string }{
		{"negotiate protocol 0x37f", "connect client|helo|mail \"|rcpt \"|data|header|eoh|body|unknown \"", "eom"},
		{"negotiate protocol 0xff080", "", "connect client.example 4 192.0.2.1|helo \"client.example\"|mail \"<a@b.example>\" \"SIZE=1\"|" +
			"header \"Subject\" \"one\"|header \"X-Two\" \"two\"|eoh|body \"first\\r\\nsecond\\r\\n\"|eom"},
		{"negotiate protocol 0x100000", "", "header \"Subject\" \" one\""},
		{"negotiate version 2\nnegotiate actions 0\nnegotiate protocol 0", "data|unknown", "eom"},
		{"negotiate macros 0 i\nnegotiate macros 6 j\nnegotiate macros 5 ", "macros connect j", "macros connect i=QID|macros eoh j=host|macros eom "},
		{"header skip", "header \"X-Two\"", "header \"Subject\"|eoh"},
	} {
		m := miltertest.New(t, tt.script)
		c, _ := chain(t, settings(t, time.Minute, "tempfail"), m.Port)
		if got := session(c, &notebook{}); got != "continue" {
			t.Errorf("%s: %s", tt.script, got)
		}
		c.Abort()
		c.Disconnect()
		if !strings.Contains(tt.script, "0x37f") {
			m.Await(t, "quit")
		}
		trace := m.Got()
		has := func(prefix string) bool {
			return slices.ContainsFunc(trace, func(l string) bool { return strings.HasPrefix(l, prefix) })
		}
		for _, p := range strings.Split(tt.present, "|") {
			if !has(p) {
				t.Errorf("%s: no %q in\n%s", tt.script, p, strings.Join(trace, "\n"))
			}
		}
		for _, p := range strings.Split(tt.absent, "|") {
			if p != "" && has(p) {
				t.Errorf("%s: %q in\n%s", tt.script, p, strings.Join(trace, "\n"))
			}
		}
	}
}

func TestLargeBody(t *testing.T) {
	m := miltertest.New(t, "")
	c, _ := chain(t, settings(t, time.Minute, "tempfail"), m.Port)
	old := sample.body
	sample.body = slices.Repeat([]string{strings.Repeat("x", 998)}, 200)
	defer func() { sample.body = old }()
	if got := session(c, &notebook{}); got != "continue" {
		t.Fatal(got)
	}
	n, pieces := 0, 0
	for _, l := range m.Got() {
		if s, ok := strings.CutPrefix(l, "body "); ok {
			pieces++
			n += strings.Count(s, "x") + 2*strings.Count(s, `\n`)
		}
	}
	if n != 200*1000 || pieces != 4 {
		t.Errorf("%d octets in %d pieces, want 200000 in 4", n, pieces)
	}
}

func TestServices(t *testing.T) {
	s := settings(t, 30*time.Second, "tempfail")
	for _, tt := range []struct{ list, want, err string }{
		{"inet:localhost:8891", "inet:localhost:8891 tcp localhost:8891 30s tempfail 6", ""},
		{"inet:8891", "inet:8891 tcp localhost:8891 30s tempfail 6", ""},
		{"inet:[::1]:99", "inet:[::1]:99 tcp [::1]:99 30s tempfail 6", ""},
		{"unix:/run/x, local:y", "unix:/run/x unix /run/x 30s tempfail 6|local:y unix y 30s tempfail 6", ""},
		{"{ unix:a, command_timeout=5, default_action=accept, protocol=2 }", "unix:a unix a 5s accept 2", ""},
		{"{unix:a, { default_action = quarantine }}", "unix:a unix a 30s quarantine 6", ""},
		{"{unix:a, content_timeout=1h connect_timeout=2m}", "unix:a unix a 30s tempfail 6", ""},
		{"unix", "", "needs transport:endpoint"},
		{"tcp:a:1", "", `unknown transport "tcp"`},
		{"{}", "", "empty milter definition"},
		{"{unix:a, frob=1}", "", "frob: unknown name"},
		{"{unix:a, command_timeout=0}", "", "command_timeout: the time must be positive"},
		{"{unix:a, default_action=ignore}", "", `unknown action "ignore"`},
		{"{unix:a, protocol=5}", "", "bad protocol information"},
		{"{unix:a", "", "missing '}'"},
	} {
		list, err := s.Services(tt.list)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Services(%q): %v, want %q", tt.list, err, tt.err)
		}
		var got []string
		for _, v := range list {
			got = append(got, fmt.Sprint(v.Name, " ", v.Network, " ", v.Addr, " ", v.CommandTimeout, " ", v.DefaultAction, " ", v.Version))
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("Services(%q) = %q, want %q", tt.list, got, tt.want)
		}
	}
}

// FuzzReplies gives a milter's answers to the end of a message to the client,
// which must come to a decision whatever they are.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01c"))
	f.Add([]byte("\x00\x00\x00\x07hX\x00one\x00\x00\x00\x00\x01a"))
	f.Add([]byte("\x00\x00\x00\x0fy550 5.7.1 no\x00"))
	f.Add([]byte("\x00\x00\x00\x0am\x00\x00\x00\x01X\x00y\x00\x00\x00\x00\x02bx\x00\x00\x00\x01t"))
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		go func() {
			there.Write(data)
			there.Close()
		}()
		l := &link{Service: &Service{Name: "fuzz", DefaultAction: "tempfail"}, warn: func(string, ...any) {}, w: newWire(here),
			state: inMail, offered: events6}
		n := &notebook{}
		r := l.answer(&onEnd, &edits{Editor: n}, time.Minute)
		here.Close()
		if r.Action == Reply && !validLine(strings.Split(r.Text, "\r\n")[0]) {
			t.Errorf("reply %q", r.Text)
		}
		for _, line := range n.lines {
			if strings.ContainsAny(line, "\r") && !strings.HasPrefix(line, "to ") && !strings.HasPrefix(line, "from ") && !strings.HasPrefix(line, "not ") {
				t.Errorf("change %q", line)
			}
		}
	})
}
