package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/dsn"
)

// A stream is a Conn that hands out its pieces one by one.
type stream struct {
	pieces [][]byte
	step   int // with step > 0, at most step octets a read
	end    error
}

func newStream(step int, s string) *stream { return &stream{pieces: [][]byte{[]byte(s)}, step: step} }

func (s *stream) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		return 0, io.EOF
	}
	b := s.pieces[0]
	if s.step > 0 && len(b) > s.step {
		b = b[:s.step]
	}
	n := copy(p, b)
	s.pieces[0] = s.pieces[0][n:]
	if len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *stream) SetReadDeadline(time.Time) error { return nil }

func TestReadLine(t *testing.T) {
	tests := []struct {
		name, in string
		strict   bool
		want     []string // a line, or "!" and the error
		bare     []bool
	}{
		{"crlf", "EHLO a\r\nQUIT\r\n", true, []string{"EHLO a", "QUIT", "!EOF"}, []bool{false, false}},
		{"bare", "EHLO a\nQUIT\r\n", true, []string{"EHLO a", "QUIT", "!EOF"}, []bool{true, false}},
		{"two CR, strict", "a\r\r\n", true, []string{"a\r", "!EOF"}, []bool{false}},
		{"two CR, loose", "a\r\r\n", false, []string{"a", "!EOF"}, []bool{false}},
		{"cut", "abc", true, []string{"!unexpected EOF"}, nil},
		{"long", strings.Repeat("x", 99) + "\r\nnext\r\n", true, []string{"xxxxxxxxxxxxxxxxxxxx", "next", "!EOF"}, []bool{false, false}},
		{"long bare", strings.Repeat("x", 99) + "\nnext\r\n", true, []string{"xxxxxxxxxxxxxxxxxxxx", "next", "!EOF"}, []bool{true, false}},
		{"full", strings.Repeat("x", 20) + "\r\n", true, []string{"xxxxxxxxxxxxxxxxxxxx", "!EOF"}, []bool{false}},
		{"empty", "\r\n\n", true, []string{"", "", "!EOF"}, []bool{false, true}},
	}
	for _, tt := range tests {
		for _, step := range []int{0, 1, 3} {
			r := NewReader(newStream(step, tt.in), Limits{}, nil)
			r.Strict = tt.strict
			for i, want := range tt.want {
				line, err := r.ReadLine(20)
				got := string(line)
				if err != nil && err != ErrLineTooLong {
					got = "!" + err.Error()
				}
				if got != want {
					t.Errorf("%s, step %d, line %d: got %q, want %q", tt.name, step, i, got, want)
				}
				if i < len(tt.bare) && r.BareLF != tt.bare[i] {
					t.Errorf("%s, step %d, line %d: BareLF = %v", tt.name, step, i, r.BareLF)
				}
			}
		}
	}
}

// A clock is a Conn that notes the deadlines that it is given.
type clock struct {
	stream
	deadlines []time.Time
}

func (c *clock) SetReadDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

// TestDeadline checks that a client that sends octet after octet gets no more
// time for a line than one that sends it at once.
func TestDeadline(t *testing.T) {
	c := &clock{stream: *newStream(1, "NOOP slowly\r\nQUIT\r\n")}
	r := NewReader(c, Limits{Timeout: time.Minute, MinRate: 1000}, nil)
	r.ReadLine(100)
	if n := len(c.deadlines); n < 10 || !c.deadlines[n-1].Equal(c.deadlines[0]) {
		t.Errorf("%d reads, deadlines %v", n, c.deadlines)
	}
	c = &clock{stream: *newStream(1, strings.Repeat("x", 500)+"\r\n.\r\n")}
	r = NewReader(c, Limits{Timeout: time.Minute, MinRate: 1}, nil)
	r.budget = 0
	d := r.NewDataReader(NormalizeBareLF, 1000)
	r.budget = time.Second
	collect(d.Next)
	if left := r.budget; left <= time.Second || left > time.Minute {
		t.Errorf("budget after 505 octets at 1/s: %v", left)
	}
}

func TestReadLineTimeout(t *testing.T) {
	r := NewReader(&stream{end: os.ErrDeadlineExceeded}, Limits{Timeout: time.Second}, nil)
	if _, err := r.ReadLine(100); !IsTimeout(err) {
		t.Errorf("error %v is not a timeout", err)
	}
}

// collect reads all lines; a piece that does not end its line gets a "~".
func collect(next func() ([]byte, bool, error)) (lines []string, err error) {
	for {
		line, full, err := next()
		if err != nil {
			return lines, err
		}
		s := string(line)
		if !full {
			s += "~"
		}
		lines = append(lines, s)
	}
}

func TestDataReader(t *testing.T) {
	tests := []struct {
		name, in string
		policy   BareNewline
		want     []string
		rest     string
		bare     bool
		err      error
	}{
		{"plain", "a\r\n\r\n..b\r\n.\r\nQUIT", NormalizeBareLF, []string{"a", "", ".b"}, "QUIT", false, io.EOF},
		{"empty", ".\r\nQUIT", NormalizeBareLF, nil, "QUIT", false, io.EOF},
		{"LF . LF", "a\n.\nb\r\n.\r\n", NormalizeBareLF, []string{"a", "b"}, "", true, io.EOF},
		{"LF . LF allowed", "a\n.\nb\r\n.\r\n", AllowBareLF, []string{"a"}, "b\r\n.\r\n", true, io.EOF},
		{"LF . CR LF", "a\n.\r\nb\r\n.\r\n", NormalizeBareLF, []string{"a", "b"}, "", true, io.EOF},
		{"CR LF . LF", "a\r\n.\nb\r\n.\r\n", RejectBareLF, []string{"a", "b"}, "", true, io.EOF},
		{"CR . CR", "a\r.\rb\r\n.\r\n", NormalizeBareLF, []string{"a\r.\rb"}, "", false, io.EOF},
		{"CR CR LF . CR CR LF", "a\r\r\n.\r\r\nb\r\n.\r\n", NormalizeBareLF, []string{"a\r", "\r", "b"}, "", false, io.EOF},
		{"NUL", "a\x00b\r\n.\r\n", NormalizeBareLF, []string{"a\x00b"}, "", false, io.EOF},
		{"lost", "a\r\n.", NormalizeBareLF, []string{"a"}, ".", false, io.ErrUnexpectedEOF},
		{"long", strings.Repeat("x", 25) + "\r\n.\r\n", NormalizeBareLF, []string{"xxxxxxxxxx~", "xxxxxxxxxx~", "xxxxx"}, "", false, io.EOF},
		{"long dot", strings.Repeat("x", 10) + ".\r\n.\r\n", NormalizeBareLF, []string{"xxxxxxxxxx~", "."}, "", false, io.EOF},
		{"nine", strings.Repeat("x", 9) + "\r\n.\r\n", NormalizeBareLF, []string{"xxxxxxxxx"}, "", false, io.EOF},
		{"ten", strings.Repeat("x", 10) + "\r\n.\r\n", NormalizeBareLF, []string{"xxxxxxxxxx~", ""}, "", false, io.EOF},
	}
	for _, tt := range tests {
		for _, step := range []int{0, 1, 2, 7} {
			r := NewReader(newStream(step, tt.in), Limits{Timeout: time.Minute, MinRate: 500}, NewBuffers())
			r.Strict = tt.policy != AllowBareLF
			d := r.NewDataReader(tt.policy, 10)
			got, err := collect(d.Next)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s, step %d: got %q, %v; want %q, %v", tt.name, step, got, err, tt.want, tt.err)
			}
			if d.BareLF != tt.bare {
				t.Errorf("%s, step %d: BareLF = %v", tt.name, step, d.BareLF)
			}
			if rest := string(r.Peek()); step == 0 && rest != tt.rest {
				t.Errorf("%s: rest %q, want %q", tt.name, rest, tt.rest)
			}
		}
	}
}

func TestChunkReader(t *testing.T) {
	in := "abc\r\ndef\nxxxxxxxxxxyyyy\r\nnine-oct.\r\n.\r\nlast"
	want := []string{"abc", "def", "xxxxxxxxxx~", "yyyy", "nine-oct.", ".", "last"}
	for chunk := 1; chunk < len(in)+1; chunk++ {
		r := NewReader(newStream(0, in+"QUIT"), Limits{}, NewBuffers())
		r.Strict = true
		c := r.NewChunkReader(10)
		var got []string
		for left := len(in); left > 0; left -= chunk {
			c.StartChunk(int64(min(chunk, left)))
			lines, err := collect(c.Next)
			if err != io.EOF {
				t.Fatal(err)
			}
			got = append(got, lines...)
		}
		if p := c.Flush(); p != nil {
			got = append(got, string(p))
		}
		if !slices.Equal(got, want) || !c.BareLF {
			t.Errorf("chunks of %d: got %q, bare %v", chunk, got, c.BareLF)
		}
		if rest := string(r.Peek()); rest != "QUIT" {
			t.Errorf("chunks of %d: rest %q", chunk, rest)
		}
	}
}

func TestChunkSkip(t *testing.T) {
	r := NewReader(newStream(3, "0123456789QUIT\r\n"), Limits{}, nil)
	c := r.NewChunkReader(100)
	c.StartChunk(10)
	if err := c.Skip(); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadLine(100); string(line) != "QUIT" || err != nil {
		t.Errorf("after the chunk: %q, %v", line, err)
	}
}

func TestReply(t *testing.T) {
	tests := []struct {
		reply     Reply
		log, wire string
	}{
		{NewReply(250, "2.1.0", "Ok"), "250 2.1.0 Ok", "250 2.1.0 Ok\r\n"},
		{NewReply(221, "", "Bye"), "221 Bye", "221 Bye\r\n"},
		{NewReply(250, "", "a\nb"), "250 a b", "250-a\r\n250 b\r\n"},
		{NewReply(554, "5.7.1", "evil\r\nx"), "554 5.7.1 evil\r x", "554-5.7.1 evil?\r\n554 5.7.1 x\r\n"},
	}
	for _, tt := range tests {
		if got := tt.reply.String(); got != tt.log {
			t.Errorf("String: got %q, want %q", got, tt.log)
		}
		if got := string(tt.reply.AppendTo(nil)); got != tt.wire {
			t.Errorf("wire: got %q, want %q", got, tt.wire)
		}
	}
}

func TestParseReply(t *testing.T) {
	tests := []struct {
		in   string
		code int
		stat dsn.Status
		text string
		ok   bool
	}{
		{"554 5.7.1 No", 554, "5.7.1", "No", true},
		{"450 Later", 450, "", "Later", true},
		{"450 5.7.1 Later", 450, "", "5.7.1 Later", true},
		{"450", 450, "", "", true},
		{"4500", 0, "", "", false},
		{"554-5.7.1 No", 0, "", "", false},
		{"x", 0, "", "", false},
	}
	for _, tt := range tests {
		r, ok := ParseReply(tt.in)
		if ok != tt.ok || ok && (r.Code != tt.code || r.Status != tt.stat || r.Text() != tt.text) {
			t.Errorf("ParseReply(%q) = %+v, %v", tt.in, r, ok)
		}
	}
}

func TestReadReply(t *testing.T) {
	r := NewReader(newStream(0, "250-a\r\n250-2.0.0 b\r\n250 2.1.5 c\r\n421 x\r\nfoo\r\n"), Limits{}, nil)
	rep, err := r.ReadReply(2048, 10)
	if err != nil || rep.Code != 250 || rep.Status != "2.1.5" || !slices.Equal(rep.Lines, []string{"a", "b", "c"}) {
		t.Errorf("got %+v, %v", rep, err)
	}
	if rep, err = r.ReadReply(2048, 10); err != nil || rep.String() != "421 x" {
		t.Errorf("got %+v, %v", rep, err)
	}
	if _, err = r.ReadReply(2048, 10); err == nil {
		t.Error("no error for a line that is no reply")
	}
}

func TestXtext(t *testing.T) {
	for _, s := range []string{"", "abc", "a+b=c d\x00é", "\x7f"} {
		got, err := DecodeXtext(EncodeXtext(s, ""))
		if err != nil || got != s {
			t.Errorf("%q came back as %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"+", "+4", "+zz"} {
		if _, err := DecodeXtext(s); err == nil {
			t.Errorf("no error for %q", s)
		}
	}
}

func TestDotWriter(t *testing.T) {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	d := NewDotWriter(w)
	d.Line([]byte("a"), true)
	d.Line([]byte(".b"), false)
	d.Line([]byte(".c"), true)
	d.Line(nil, true)
	d.Line([]byte("x\n.\r\n.y"), true)
	d.Close()
	w.Flush()
	want := "a\r\n..b.c\r\n\r\nx\r\n..\r\n..y\r\n.\r\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// FuzzData checks that what the writer sends is what the reader reads, however
// the octets arrive, and that no content can end the data early.
func FuzzData(f *testing.F) {
	f.Add("a\n.\nb", 1)
	f.Add(".\r\n.\r\r\n", 2)
	f.Add("\r.\r\n..\n.", 3)
	f.Fuzz(func(t *testing.T, text string, step int) {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		d := NewDotWriter(w)
		var want []string
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimRight(line, "\r")
			d.Line([]byte(line), true)
			want = append(want, line)
		}
		d.Close()
		w.Flush()
		r := NewReader(newStream(max(step, 0)%50, b.String()+"QUIT\r\n"), Limits{}, NewBuffers())
		r.Strict = true
		got, err := collect(r.NewDataReader(NormalizeBareLF, 1000).Next)
		if joined := strings.ReplaceAll(strings.Join(got, "\n"), "~\n", ""); err != io.EOF || joined != strings.Join(want, "\n") {
			if !strings.Contains(text, "~") {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		if line, err := r.ReadLine(100); string(line) != "QUIT" || err != nil {
			t.Errorf("after the data: %q, %v", line, err)
		}
	})
}

// FuzzReader reads whatever comes as lines, content and chunks: no panic, no
// line over its limit.
func FuzzReader(f *testing.F) {
	f.Add("250-x\r\n250 y\r\n", 3, 5)
	f.Add(strings.Repeat("y", 3000), 100, 7)
	f.Fuzz(func(t *testing.T, in string, limit, step int) {
		limit = max(limit, 3) % 5000
		limit = max(limit, 3)
		s := func() *Reader { return NewReader(newStream(max(step, 0)%99, in), Limits{}, NewBuffers()) }
		for r := s(); ; {
			line, err := r.ReadLine(limit)
			if len(line) > limit {
				t.Fatalf("line of %d octets", len(line))
			}
			if err != nil && err != ErrLineTooLong {
				break
			}
		}
		lines, _ := collect(s().NewDataReader(NormalizeBareLF, limit).Next)
		for _, l := range lines {
			if len(l) > limit+1 {
				t.Fatalf("piece of %d octets", len(l))
			}
		}
		c := s().NewChunkReader(limit)
		c.StartChunk(int64(len(in)))
		lines, err := collect(c.Next)
		if err != io.EOF {
			t.Fatal(err)
		}
		for _, l := range lines {
			if len(l) > limit+1 {
				t.Fatalf("piece of %d octets", len(l))
			}
		}
	})
}
