package delivery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
)

func sample() *Request {
	return &Request{
		Flags: FlagSuccess | FlagRecord, QueueName: queue.Active, QueueID: "ABC123DEF", Offset: 300, Size: 4096,
		Nexthop: "example.com", Encoding: "8bit", SendOpts: SendUTF8Requested, Sender: "a@b", EnvelopeID: "x", RetFlags: RetHeaders,
		Times:      Times{Arrival: time.UnixMicro(1_700_000_000_123_456)},
		ClientName: "c", ClientAddr: "192.0.2.1", ClientPort: "25", ClientProto: "ESMTP", ClientHelo: "h",
		SASLMethod: "PLAIN", SASLUsername: "u", SASLSender: "s", LogIdent: "l", RewriteContext: "remote",
		Recipients: []*Recipient{{Address: "r@x", OrigAddr: "o@x", Offset: 200, DSNOrigRcpt: "rfc822;o@x", Notify: 3}, {Address: "q@x", Offset: -1}},
	}
}

func encode(t testing.TB, m attr.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := attr.NewWriter(w).Do(m); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.Bytes()
}

func decode(b []byte, m attr.Message) error {
	return attr.NewReader(bufio.NewReader(bytes.NewReader(b))).Do(m)
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	var got Request
	if err := decode(encode(t, want), &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	answer := Reply{Status: Defer, Bounced: true, Hop: dsn.Result{Status: "4.4.1", Reason: "refused", DiagType: "smtp", DiagText: "421", MTAType: "dns", MTAName: "mx", Action: "delayed"}}
	var back Reply
	if err := decode(encode(t, &answer), &back); err != nil || back != answer {
		t.Errorf("got %+v, %v\nwant %+v", back, err, answer)
	}
}

// An agent that goes away before it has read the request has done nothing; one
// that goes away later may have delivered.
func TestExchange(t *testing.T) {
	for _, c := range []struct {
		name   string
		read   bool // the agent reads the request
		early  bool // it closes before the request is sent
		unread bool
	}{
		{"closes while idle", false, true, true},
		{"closes as the request arrives", false, false, true},
		{"reads and dies", true, false, false},
	} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if c.read {
				var r Request
				attr.NewConn(conn, time.Minute).Recv(&r)
			} else if !c.early {
				one := make([]byte, 1)
				conn.Read(one) // the rest is there, unread
			}
		}()
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if c.early {
			<-closed
		}
		var reply Reply
		err = Exchange(context.Background(), attr.NewConn(conn, time.Minute), sample(), &reply, time.Minute)
		if err == nil || c.unread != errors.Is(err, ErrUnread) {
			t.Errorf("%s: %v", c.name, err)
		}
		conn.Close()
		l.Close()
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if decode(b, &r) == nil {
			var again Request
			if err := decode(encode(t, &r), &again); err != nil || len(again.Recipients) != len(r.Recipients) {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}
