package bounce

import (
	"bufio"
	"bytes"
	"testing"

	"postern/internal/ipc/attr"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
)

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

func samples() []Request {
	m := Message{QueueName: queue.Active, QueueID: "ABC123DEF", Encoding: "8bit", SendOpts: 1, Sender: "a@b", EnvelopeID: "e", RetFlags: 2}
	verp := m
	verp.Verp = "+="
	rcpt := Recipient{Address: "r@x", OrigAddr: "o@x", Offset: 7, DSNOrigRcpt: "rfc822;o@x", Notify: 3}
	res := dsn.Result{Status: "5.1.1", Reason: "no", DiagType: "smtp", DiagText: "550", MTAType: "dns", MTAName: "mx", Action: "failed"}
	return []Request{
		{Op: OpAppend, Flags: FlagClean, Message: Message{QueueID: m.QueueID}, Recipient: rcpt, Result: res},
		{Op: OpFlush, Message: m}, {Op: OpWarn, Message: m}, {Op: OpVerp, Message: verp},
		{Op: OpOne, Message: m, Recipient: rcpt, Result: res}, {Op: OpTrace, Message: m},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, want := range samples() {
		var got Request
		if err := decode(encode(t, &want), &got); err != nil || got != want {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	var got Request
	if err := decode([]byte("nrequest\x009\x00flags\x000\x00\x00"), &got); err == nil {
		t.Error("an unknown request is accepted")
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range samples() {
		f.Add(encode(f, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Request
		if decode(b, &r) == nil {
			if err := decode(encode(t, &r), &again); err != nil || again != r {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}
