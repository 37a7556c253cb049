package maillog

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// packets is a transport that keeps what was sent.
type packets struct{ sent []string }

func (p *packets) render(b []byte, l *line) []byte { return append(b, l.text...) }
func (p *packets) room() int                       { return 100 }
func (p *packets) send(b []byte) error             { p.sent = append(p.sent, string(b)); return nil }

func TestQueueJoinsLines(t *testing.T) {
	p := &packets{}
	q := newQueue(p)
	now := time.Now()
	q.now = func() time.Time { return now } // however slow the writer, it is busy
	var want []string
	for n := range 500 {
		text := "line " + strconv.Itoa(n)
		if n == 250 {
			text = strings.Repeat("long", 100)
		}
		want = append(want, text)
		q.Write(Info, "test", 1, text, nil)
	}
	q.Flush(time.Minute)
	if got := strings.Join(p.sent, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("lines are missing or out of order:\n%s", got)
	}
	if len(p.sent) > 250 {
		t.Errorf("%d messages for 500 lines", len(p.sent))
	}
	for _, s := range p.sent {
		if len(s) > 100 && strings.Contains(s, "\n") {
			t.Errorf("%d octets in one message", len(s))
		}
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	for n := range 5 {
		if p.sent(now.Add(time.Duration(n) * 3 * time.Millisecond)) {
			t.Errorf("busy after %d", n)
		}
	}
	busy := false
	for range 20 {
		busy = p.sent(now.Add(10 * time.Millisecond))
	}
	if !busy {
		t.Error("not busy after 25 messages in 10 ms")
	}
	if p.sent(now.Add(time.Second)); p.sent(now.Add(2 * time.Second)) {
		t.Error("busy after a second of silence")
	}
}
