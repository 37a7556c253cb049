package beforequeue

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/record"
	"postern/internal/protocol/smtp"
)

// serve answers each line that begins with a word as answers says, others with
// 250; "" hangs, "DROP" hangs up. What it was told comes over the channel at
// the end.
func serve(t *testing.T, answers map[string]string) (address string, told chan []string) {
	t.Helper()
	address = filepath.Join(t.TempDir(), "filter")
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	told = make(chan []string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var lines []string
		defer func() { told <- lines }()
		reply := func(what, usual string) bool {
			r, ok := answers[what]
			if !ok {
				r = usual
			}
			switch r {
			case "DROP":
				return false
			case "":
				return true
			}
			_, err := fmt.Fprintf(c, "%s\r\n", r)
			return err == nil
		}
		if !reply("CONNECT", "220 filter") {
			return
		}
		data := false
		for in := bufio.NewScanner(c); in.Scan(); {
			lines = append(lines, in.Text())
			word, _, _ := strings.Cut(in.Text(), " ")
			usual := "250 2.0.0 Ok"
			switch {
			case data && word != ".":
				continue
			case word == "DATA":
				data, usual = true, "354 go on"
			case word == ".":
				data = false
			}
			if !reply(word, usual) {
				return
			}
		}
	}()
	return address, told
}

func config(t *testing.T, address string, speed bool) (Config, *[]string) {
	var warned []string
	return Config{Network: "unix", Address: address, Name: "filter", Hello: "me.example", Timeout: time.Minute,
		SpeedAdjust: speed, TempDir: t.TempDir(), Warn: func(f string, a ...any) { warned = append(warned, fmt.Sprintf(f, a...)) }}, &warned
}

// pass gives a message with one recipient to a filter and returns its word.
func pass(t *testing.T, c Config) (smtp.Reply, bool) {
	f, r := Open(t.Context(), c, []Attr{{"NAME", "a b"}, {"ADDR", "192.0.2.1"}}, "MAIL FROM:<a@x>")
	if f == nil {
		return r, false
	}
	defer f.Close()
	if r, ok := f.Command("RCPT TO:<b@y>", '2'); !ok {
		return r, false
	}
	if r, ok := f.Command("DATA", '3'); !ok {
		return r, false
	}
	w := f.Records()
	w.Attr("ignored", "x")
	w.PutString(record.Mesg, "")
	w.PutString(record.Norm, "Subject: x")
	w.PutString(record.Cont, ".begin ")
	w.PutString(record.Norm, "end")
	w.PutString(record.Xtra, "")
	w.PutString(record.Norm, "not content")
	return f.End(), true
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		reply   string
		warned  string
	}{
		{"taken", map[string]string{".": "250 2.7.0 fine"}, "250 2.7.0 fine", ""},
		{"refused", map[string]string{".": "554 5.7.1 no"}, "554 5.7.1 no", ""},
		{"greeting", map[string]string{"CONNECT": "421 busy"}, "451 4.3.0 Error: queue file write error", `proxy filter rejected "connection request": "421 busy"`},
		{"mail", map[string]string{"MAIL": "552 5.3.4 no"}, "552 5.3.4 no", `proxy filter rejected "MAIL FROM:<a@x>": "552 5.3.4 no"`},
		{"rcpt", map[string]string{"RCPT": "550 5.1.1 no"}, "550 5.1.1 no", `proxy filter rejected "RCPT TO:<b@y>": "550 5.1.1 no"`},
		{"dropped", map[string]string{".": "DROP"}, "451 4.3.0 Error: queue file write error", "lost connection with proxy filter"},
		{"babble", map[string]string{".": strings.Repeat("x", 9000)}, "451 4.3.0 Error: queue file write error", "lost connection with proxy filter"},
	} {
		for _, speed := range []bool{false, true} {
			address, _ := serve(t, tt.answers)
			c, warned := config(t, address, speed)
			r, _ := pass(t, c)
			if r.String() != tt.reply {
				t.Errorf("%s, speed_adjust %v: got %q, want %q", tt.name, speed, r.String(), tt.reply)
			}
			if got := strings.Join(*warned, "\n"); got != tt.warned {
				t.Errorf("%s, speed_adjust %v: warned %q, want %q", tt.name, speed, got, tt.warned)
			}
		}
	}
}

func TestFilterHears(t *testing.T) {
	want := []string{"EHLO me.example", "XFORWARD NAME=a+20b", "MAIL FROM:<a@x>", "RCPT TO:<b@y>", "DATA", "Subject: x", "..begin end", ".", "QUIT"}
	for _, speed := range []bool{false, true} {
		address, told := serve(t, map[string]string{"EHLO": "250-filter\r\n250 XFORWARD NAME PORT"})
		c, _ := config(t, address, speed)
		pass(t, c)
		if got := <-told; !slices.Equal(got, want) {
			t.Errorf("speed_adjust %v: got %q, want %q", speed, got, want)
		}
	}
}

// A filter that never answers costs the time that it may take, and no more.
func TestFilterHangs(t *testing.T) {
	address, _ := serve(t, map[string]string{".": ""})
	c, warned := config(t, address, false)
	c.Timeout = time.Second
	r, _ := pass(t, c)
	if r.Code != 451 || !slices.Equal(*warned, []string{"timeout talking to proxy filter"}) {
		t.Errorf("got %q, warned %q", r.String(), *warned)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:10025": "tcp 127.0.0.1:10025", "inet:host.example:smtp": "tcp host.example:smtp", ":10025": "tcp localhost:10025",
		"10025": "tcp localhost:10025", "unix:private/filter": "unix private/filter", "[::1]:25": "tcp [::1]:25", "a:": "", "unix:": "", "a:b:c": "",
	} {
		network, address, err := ParseEndpoint(in)
		got := network + " " + address
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzLines cuts a stream of records at a chance place: the lines must be the
// same as in one piece.
func FuzzLines(f *testing.F) {
	var b bytes.Buffer
	w := record.NewWriter(&b)
	w.PutString(record.Mesg, "")
	w.PutString(record.Norm, strings.Repeat("x", 200))
	w.PutString(record.Cont, "y")
	w.PutString(record.Xtra, "")
	w.Flush()
	f.Add(b.Bytes(), 3)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		read := func(pieces ...[]byte) (got []string, err error) {
			l := lines{emit: func(b []byte, full bool) error { got = append(got, fmt.Sprint(full, string(b))); return nil }}
			for _, p := range pieces {
				if _, err = l.Write(p); err != nil {
					break
				}
			}
			return got, err
		}
		if at < 0 || at > len(stream) {
			return
		}
		one, err1 := read(stream)
		two, err2 := read(stream[:at], stream[at:])
		if (err1 == nil) != (err2 == nil) || err1 == nil && !slices.Equal(one, two) {
			t.Errorf("%q at %d: %q, %v; %q, %v", stream, at, one, err1, two, err2)
		}
	})
}
