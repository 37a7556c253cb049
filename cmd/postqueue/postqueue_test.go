package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/showq"
)

type listed struct {
	showq.Message
	rcpts []showq.Recipient
}

var listing = []listed{
	{showq.Message{Queue: "deferred", ID: "2D3F7BE04A", Arrival: 1795508728, Size: 370, ForcedExpire: true, Sender: "s@example.com"},
		[]showq.Recipient{{Address: "3many@site.example", Reason: "no way"}, {Address: "4many@site.example", Reason: "no way"}, {Address: "2many@site.example"}}},
	{showq.Message{Queue: "active", ID: "A2A3FBE03C", Arrival: 1795508716, Size: 283, Sender: "MAILER-DAEMON"},
		[]showq.Recipient{{Address: "h2@site.example", Reason: strings.Repeat("long ", 16)}}},
	{showq.Message{Queue: "hold", ID: "2B571BE048", Arrival: 1795508716, Size: 4294, ForcedExpire: true, Sender: `"a\\b"@é`}, nil},
}

// text is the layout that Postfix prints for such a queue.
const text = `-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
2D3F7BE04A#     370 Tue Nov 24 08:25:28  s@example.com
                                                                      (no way)
                                         3many@site.example
                                         4many@site.example
                                                          (reason unavailable)
                                         2many@site.example

A2A3FBE03C*     283 Tue Nov 24 08:25:16  MAILER-DAEMON
(long long long long long long long long long long long long long long long long )
                                         h2@site.example

2B571BE048!#    4294 Tue Nov 24 08:25:16  "a\\b"@é

-- 4 Kbytes in 3 Requests.
`

const objects = `{"queue_name": "deferred", "queue_id": "2D3F7BE04A", "arrival_time": 1795508728, "message_size": 370, "forced_expire": true, "sender": "s@example.com", "recipients": [{"address": "3many@site.example", "delay_reason": "no way"}, {"address": "4many@site.example", "delay_reason": "no way"}, {"address": "2many@site.example"}]}
{"queue_name": "active", "queue_id": "A2A3FBE03C", "arrival_time": 1795508716, "message_size": 283, "forced_expire": false, "sender": "MAILER-DAEMON", "recipients": [{"address": "h2@site.example", "delay_reason": "long long long long long long long long long long long long long long long long "}]}
{"queue_name": "hold", "queue_id": "2B571BE048", "arrival_time": 1795508716, "message_size": 4294, "forced_expire": true, "sender": "\"a\\\\b\"@é", "recipients": []}
`

// instance makes a queue directory and returns that of the configuration.
func instance(t *testing.T, settings string) (etc, queue string) {
	t.Helper()
	dir := t.TempDir()
	etc, queue = filepath.Join(dir, "etc"), filepath.Join(dir, "queue")
	for _, d := range []string{etc, queue, queue + "/public"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(etc+"/main.cf", []byte("queue_directory = "+queue+"\n"+settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	return etc, queue
}

// listen serves a public socket, one connection after the other.
func listen(t *testing.T, queue, name string, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(queue, "public", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
}

func sendListing(c net.Conn, messages []listed) {
	b := bufio.NewWriter(c)
	w := showq.NewWriter(b)
	for _, m := range messages {
		w.Begin(&m.Message)
		for _, r := range m.rcpts {
			w.Recipient(r)
		}
		w.EndMessage()
	}
	w.End()
	b.Flush()
}

func run(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = Main(append([]string{"postqueue"}, args...), nil, &out, &errs)
	return status, out.String(), errs.String()
}

func TestList(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	defer func() { time.Local = local }()
	tests := []struct {
		name, settings, option string
		messages               []listed
		want                   string
	}{
		{"text", "", "-p", listing, text},
		{"JSON", "", "-j", listing, objects},
		{"empty text", "", "-p", nil, "Mail queue is empty\n"},
		{"empty JSON", "", "-j", nil, ""},
		{"long ids", "enable_long_queue_ids = yes\n", "-p",
			[]listed{{showq.Message{Queue: "deferred", ID: "4jYc2B3llJz5rFn", Arrival: 1795510194, Size: 2048, Sender: "s@x"}, []showq.Recipient{{Address: "r@y"}}}},
			`----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jYc2B3llJz5rFn       2048 Tue Nov 24 08:49:54 s@x
                                               r@y

-- 2 Kbytes in 1 Request.
`},
	}
	for _, tt := range tests {
		etc, queue := instance(t, tt.settings)
		listen(t, queue, "showq", func(c net.Conn) { sendListing(c, tt.messages) })
		status, out, errs := run("-c", etc, tt.option)
		if status != 0 || out != tt.want || errs != "" {
			t.Errorf("%s: status %d, stderr %q\n got %s\nwant %s", tt.name, status, errs, out, tt.want)
		}
	}
}

func TestBadListing(t *testing.T) {
	etc, queue := instance(t, "")
	listen(t, queue, "showq", func(c net.Conn) { io.WriteString(c, "protocol\x00mail_queue_list_protocol\x00\x00queue_name\x00x\x00") })
	status, _, errs := run("-c", etc, "-p")
	if status != failure || !strings.Contains(errs, "malformed queue listing") {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

func TestFlush(t *testing.T) {
	tests := []struct {
		args   string
		answer flush.Status
		want   string // request, and stderr
	}{
		{"-s site.example", 0, "send_site site.example "},
		{"-s [192.0.2.1]", 0, "send_site [192.0.2.1] "},
		{"-i ABC", 0, "send_file  ABC"},
		{"-s other.example", flush.StatusDeny, "Flush service is not configured for destination \"other.example\""},
		{"-i ABC", flush.StatusBad, "Invalid request: \"ABC\""},
		{"-i ABC", flush.StatusFail, "Cannot flush mail queue - mail system is down"},
	}
	for _, tt := range tests {
		etc, queue := instance(t, "")
		requests := make(chan string, 1)
		listen(t, queue, "flush", func(nc net.Conn) {
			c := attr.NewConn(nc, time.Minute)
			p := attr.Protocol(flush.Protocol)
			c.Send(&p)
			var r flush.Request
			if c.Recv(&r) != nil {
				return
			}
			status := attr.Status(tt.answer)
			c.Send(&status)
			c.Flush()
			requests <- r.Kind + " " + r.Site + " " + r.QueueID
		})
		status, _, errs := run(append([]string{"-c", etc}, strings.Fields(tt.args)...)...)
		got := <-requests
		if tt.answer == 0 && (status != 0 || got != tt.want) || tt.answer != 0 && (status != failure || !strings.Contains(errs, tt.want)) {
			t.Errorf("%s: status %d, request %q, stderr %q, want %q", tt.args, status, got, errs, tt.want)
		}
	}
}

func TestFlushAll(t *testing.T) {
	etc, queue := instance(t, "")
	if status, _, errs := run("-c", etc, "-f"); status != failure || !strings.Contains(errs, "mail system is down") {
		t.Errorf("nobody listens: status %d, stderr %q", status, errs)
	}
	got := make(chan string, 2)
	for _, name := range []string{"qmgr", "pickup"} {
		listen(t, queue, name, func(c net.Conn) {
			b, _ := io.ReadAll(c)
			got <- name + " " + string(b)
		})
	}
	if status, _, errs := run("-c", etc, "-f"); status != 0 {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	if a, b := <-got, <-got; a+b != "qmgr FADpickup W" && a+b != "pickup Wqmgr FAD" {
		t.Errorf("got %q %q", a, b)
	}
}

func TestRefusals(t *testing.T) {
	etc, _ := instance(t, "")
	for args, want := range map[string]string{
		"":         "usage: ",
		"-p -f":    "usage: ",
		"-p x":     "usage: ",
		"-z":       "usage: ",
		"-s a..b":  "invalid destination: \"a..b\"",
		"-s 1.2.3": "invalid destination",
		"-s [::1]": "invalid destination",
		"-s -a.b":  "invalid destination",
		"-i A/B":   "invalid name: \"A/B\"",
		"-i AB":    "mail system is down",
	} {
		status, _, errs := run(append([]string{"-c", etc}, strings.Fields(args)...)...)
		if status != failure || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d, stderr %q, want %q", args, status, errs, want)
		}
	}
}

func TestJSONString(t *testing.T) {
	for in, want := range map[string]string{
		"":                `""`,
		"a\"\\\b\f\n\r\t": `"a\"\\\b\f\n\r\t"`,
		"\x01\x7f\xff/é":  `"\u0001\u007F?/é"`,
	} {
		if got := jsonString(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
