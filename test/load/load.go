// Package load makes load: a Source sends messages over many SMTP sessions at
// once and measures how long each takes, a Sink takes messages and counts them.
//
// Every message has a number in its header, so that what was accepted at one
// end can be compared with what arrives at the other.
package load

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// idField is the header field with the identity of a message.
const idField = "X-Load-Id: "

// body makes the content of a message, with about size octets, from the first
// header field up to the lonely dot.
func body(id, from, to string, size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 256)
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: load\r\n%s%s\r\n\r\n", from, to, idField, id)
	const line = "The quick brown fox jumps over the lazy dog, again and again,\r\n"
	for b.Len() < size {
		b.WriteString(line[max(0, len(line)-max(2, size-b.Len())):])
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// Latencies are the times of many messages.
type Latencies []time.Duration

// At returns the time within which the part p of all messages was done, 0.5 for
// the median. The receiver must be sorted.
func (l Latencies) At(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, int(p*float64(len(l))))]
}

// A Result is what a Source has done.
type Result struct {
	Accepted int // messages that got 250 to the end of data
	Refused  int // messages that got another reply
	Failed   int // messages whose connection broke
	Elapsed  time.Duration
	Times    Latencies // of accepted messages, sorted
}

// Rate is the accepted messages per second.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Accepted) / r.Elapsed.Seconds()
}

// String is one line with the numbers that matter.
func (r *Result) String() string {
	return fmt.Sprintf("accepted %d, refused %d, failed %d in %.3f s: %.1f/s; latency p50 %s p90 %s p99 %s max %s",
		r.Accepted, r.Refused, r.Failed, r.Elapsed.Seconds(), r.Rate(),
		short(r.Times.At(0.5)), short(r.Times.At(0.9)), short(r.Times.At(0.99)), short(r.Times.At(1)))
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

func (r *Result) add(o *Result) {
	r.Accepted += o.Accepted
	r.Refused += o.Refused
	r.Failed += o.Failed
	r.Times = append(r.Times, o.Times...)
}

func (r *Result) sort() { slices.Sort(r.Times) }
