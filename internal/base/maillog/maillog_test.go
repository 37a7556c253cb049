package maillog

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain text", "plain text"},
		{"line\nbreak\ttab\x00nul\x7f", "line?break?tab?nul?"},
		{"höflich 邮件", "höflich 邮件"},
		{"\xffbroken\xc3", "?broken?"},
		{"\u202eright to left\u2028", "?right to left?"},
		{strings.Repeat("x", 3000), strings.Repeat("x", 2000)},
		{strings.Repeat("x", 1999) + "ö", strings.Repeat("x", 1999)},
	}
	for _, tt := range tests {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("printable(%.40q) = %.40q (%d octets), want %.40q", tt.in, got, len(got), tt.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\r\nb")
	f.Add(strings.Repeat("é", 1500))
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if len(got) > maxLine || strings.ContainsAny(got, "\r\n\x00\x1b") {
			t.Errorf("printable(%q) = %q", s, got)
		}
	})
}

func TestRecord(t *testing.T) {
	log, lines := Record()
	log.Infof("a %d", 1)
	log.Debugf("not asked for")
	log.Warningf("b")
	log.WithVerbose(1).Debugf("c")
	log.Event(sent{ID: "ABC"})
	log.Panicf("d")
	want := "a 1|warning: b|c|ABC: status=sent|panic: d"
	if got := strings.Join(lines(), "|"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type sent struct {
	ID string `json:"queue_id"`
}

func (sent) Kind() string   { return "delivery" }
func (s sent) Text() string { return s.ID + ": status=sent" }

func TestStreams(t *testing.T) {
	when := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	tests := []struct {
		style  Style
		format Format
		want   string
	}{
		{Command, Text, "postmap: warning: x\npostmap: ABC: status=sent\n"},
		{Dated, Text, "Mar  4 05:06:07 host postmap[7]: warning: x\nMar  4 05:06:07 host postmap[7]: ABC: status=sent\n"},
		{Dated, JSON, `{"time":"2026-03-04T05:06:07.000008Z","process":"postmap","pid":7,"level":"warning","text":"x"}` + "\n" +
			`{"time":"2026-03-04T05:06:07.000008Z","process":"postmap","pid":7,"level":"info","event":"delivery","text":"ABC: status=sent","queue_id":"ABC"}` + "\n"},
	}
	for _, tt := range tests {
		var b strings.Builder
		s := NewStream(&b, tt.style, tt.format, "host")
		s.now = func() time.Time { return when }
		log := New(s, "other").WithTag("postmap", 7)
		log.Warningf("x")
		log.Event(sent{"ABC"})
		if b.String() != tt.want {
			t.Errorf("style %d, format %d:\ngot  %q\nwant %q", tt.style, tt.format, b.String(), tt.want)
		}
	}
}

func listen(t *testing.T, network, path string) net.PacketConn {
	t.Helper()
	l, err := net.ListenPacket(network, path)
	if err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(time.Minute))
	return l
}

func receive(t *testing.T, l net.PacketConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, _, err := l.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestSyslog sends to a log service that is gone and comes back.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := listen(t, "unixgram", path)
	sink, err := NewSyslog(path, "mail", Text)
	if err != nil {
		t.Fatal(err)
	}
	sink.retry = time.Millisecond
	sink.now = func() time.Time { return time.Date(2026, 11, 24, 8, 0, 0, 0, time.Local) }
	log := New(sink, "postfix/smtpd").WithTag("postfix/smtpd", 12)
	log.Infof("one")
	if got, want := receive(t, l), "<22>Nov 24 08:00:00 postfix/smtpd[12]: one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	l.Close()
	os.Remove(path)
	log.Fatalf("two")
	l = listen(t, "unixgram", path)
	defer l.Close()
	if got, want := receive(t, l), "<18>Nov 24 08:00:00 postfix/smtpd[12]: fatal: two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFacilities(t *testing.T) {
	for name, want := range map[string]int{"kern": 0, "mail": 16, "daemon": 24, "authpriv": 80, "local0": 128, "local7": 184} {
		if got, ok := facilityCode(name); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "local8", "local", "nonesuch"} {
		if _, ok := facilityCode(name); ok {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestSyslogStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sink, err := NewSyslog(path, "local3", Text)
	if err != nil {
		t.Fatal(err)
	}
	New(sink, "x").Warningf("y")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 200)
	n, err := c.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "<156>") || !strings.HasSuffix(string(b[:n]), ": warning: y\x00") {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

// A stall is a transport whose service does not take anything until it is
// released.
type stall struct {
	released chan struct{}
	got      chan string
}

func (s *stall) render(b []byte, l *line) []byte { return append(b, l.text...) }
func (s *stall) room() int                       { return 0 }

func (s *stall) send(b []byte) error {
	select {
	case <-s.released:
		s.got <- string(b)
		return nil
	default:
		return errors.New("stalled")
	}
}

// TestDropped fills the buffer while the log service stalls: nothing blocks,
// and the loss is told afterwards.
func TestDropped(t *testing.T) {
	s := &stall{released: make(chan struct{}), got: make(chan string, 4*maxQueueLines)}
	q := newQueue(s)
	q.retry = time.Millisecond
	log := New(q, "x")
	const sent = 3 * maxQueueLines // more than the writer and the buffer hold
	for i := range sent {
		log.Infof("%d", i)
	}
	close(s.released)
	q.Flush(time.Minute)
	log.Infof("end")
	q.Flush(time.Minute)
	close(s.got)
	var reported, lines int
	for text := range s.got {
		var n int
		if _, err := fmt.Sscanf(text, "log service was too slow: %d log lines dropped", &n); err == nil {
			reported += n
		} else {
			lines++
		}
	}
	if reported == 0 || lines+reported != sent+1 {
		t.Errorf("%d lines came through, %d were reported as dropped, %d were logged", lines, reported, sent+1)
	}
}

func TestFlushHasALimit(t *testing.T) {
	s := &stall{released: make(chan struct{}), got: make(chan string, 10)}
	q := newQueue(s)
	New(q, "x").Infof("y")
	before := time.Now()
	q.Flush(20 * time.Millisecond)
	if d := time.Since(before); d > 30*time.Second {
		t.Errorf("Flush took %v", d)
	}
	close(s.released)
}

func TestJSONOfOddEvents(t *testing.T) {
	l := line{when: time.Now(), tag: "x", text: "y", event: odd{}}
	var m map[string]any
	if err := json.Unmarshal(l.object(nil), &m); err != nil || m["event"] != "odd" {
		t.Errorf("%v, %v", m, err)
	}
}

type odd struct{}

func (odd) Kind() string { return "odd" }
func (odd) Text() string { return "y" }

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "maillog")
	c := Config{File: file, Socket: filepath.Join(dir, "postlog"), Facility: "mail", Format: "text", Host: "h.example", Direct: true}
	sink, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	New(sink, "postfix/postfix-script").Infof("starting")
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), " h postfix/postfix-script[") {
		t.Errorf("written directly: %q, %v", b, err)
	}
	l := listen(t, "unixgram", c.Socket)
	defer l.Close()
	if sink, err = Open(c); err != nil {
		t.Fatal(err)
	}
	New(sink, "x").Infof("through the service")
	if got := receive(t, l); !strings.HasSuffix(got, "]: through the service") {
		t.Errorf("got %q", got)
	}
	c.Format = "xml"
	if _, err := Open(c); err == nil {
		t.Error("format xml is taken")
	}
}
