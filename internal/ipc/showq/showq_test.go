package showq

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// wire is a stream that Postfix 3.7 has sent.
const wire = "protocol\x00mail_queue_list_protocol\x00\x00" +
	"queue_name\x00deferred\x00queue_id\x00A6A58BE039\x00time\x001795508693\x00size\x00284\x00forced_expire\x000\x00sender\x00sender@example.com\x00" +
	"recipient\x00b@other.example\x00reason\x00deferred transport\x00recipient\x00a@site.example\x00reason\x00\x00\x00" +
	"queue_name\x00hold\x00queue_id\x002B571BE048\x00time\x001795508728\x00size\x004294\x00forced_expire\x008\x00sender\x00s@example.com\x00\x00\x00"

func TestWire(t *testing.T) {
	var b bytes.Buffer
	bw := bufio.NewWriter(&b)
	w := NewWriter(bw)
	w.Begin(&Message{Queue: "deferred", ID: "A6A58BE039", Arrival: 1795508693, Size: 284, Sender: "sender@example.com"})
	w.Recipient(Recipient{"b@other.example", "deferred transport"})
	w.Recipient(Recipient{Address: "a@site.example"})
	w.EndMessage()
	w.Begin(&Message{Queue: "hold", ID: "2B571BE048", Arrival: 1795508728, Size: 4294, ForcedExpire: true, Sender: "s@example.com"})
	w.EndMessage()
	if err := w.End(); err != nil {
		t.Fatal(err)
	}
	bw.Flush()
	if b.String() != wire {
		t.Errorf("got %q, want %q", b.String(), wire)
	}
}

func TestRead(t *testing.T) {
	newer := strings.ReplaceAll(wire, "recipient\x00b@", "original_recipient\x00o@x\x00recipient\x00b@")
	newer = strings.ReplaceAll(newer, "reason\x00", "log_class\x00defer\x00reason\x00")
	for _, text := range []string{wire, newer} {
		r, err := NewReader(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Next()
		if err != nil || m.ID != "A6A58BE039" || m.Size != 284 || m.ForcedExpire {
			t.Fatalf("%+v, %v", m, err)
		}
		for _, want := range []Recipient{{"b@other.example", "deferred transport"}, {Address: "a@site.example"}} {
			if got, err := r.NextRecipient(); got != want || err != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if _, err := r.NextRecipient(); err != io.EOF {
			t.Errorf("after the last recipient: %v", err)
		}
		if m, err = r.Next(); err != nil || !m.ForcedExpire || m.Queue != "hold" {
			t.Errorf("%+v, %v", m, err)
		}
		if _, err = r.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	r, _ := NewReader(bufio.NewReader(strings.NewReader(wire)))
	r.Next()
	if m, err := r.Next(); err != nil || m.Queue != "hold" {
		t.Errorf("recipients passed over: %+v, %v", m, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(wire)
	f.Add(wire[:60])
	f.Add(strings.Replace(wire, "284", "x", 1))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewReader(bufio.NewReader(strings.NewReader(text)))
		for err == nil {
			if _, err = r.Next(); err != nil {
				return
			}
			for n := 0; ; n++ {
				if _, err := r.NextRecipient(); err != nil {
					break
				}
				if n > len(text) {
					t.Fatal("no end")
				}
			}
		}
	})
}
