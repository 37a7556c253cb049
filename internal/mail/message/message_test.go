package message

import (
	"fmt"
	"strings"
	"testing"
)

// recorder writes down what a machine calls.
type recorder struct{ strings.Builder }

func (r *recorder) Field(s Section, name *Name, field []byte) {
	known := "-"
	if name != nil {
		known = name.Text
	}
	fmt.Fprintf(r, "%c %s %q\n", "PMN"[s], known, field)
}
func (r *recorder) HeaderEnd() { r.WriteString("end\n") }
func (r *recorder) Body(line []byte, more bool, offset int64) {
	if more {
		fmt.Fprintf(r, "B+%d %q\n", offset, line)
	} else {
		fmt.Fprintf(r, "B %d %q\n", offset, line)
	}
}
func (r *recorder) Problem(p Problem, text []byte) {
	_, what := p.Detail()
	fmt.Fprintf(r, "! %s: %q\n", what, text)
}

const everything = TooNested | TruncatedField | EightBitHeader | EightBitBody | EncodingDomain | NonEmptyHeaderEnd

func run(o Options, text string) string {
	var r recorder
	m := New(o, &r)
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if piece, ok := strings.CutSuffix(l, "\\"); ok {
			m.Line([]byte(piece), true)
		} else {
			m.Line([]byte(l), false)
		}
	}
	m.End()
	return r.String()
}

func TestMachine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "Subject: x\n y\nX-Other : z\n\nbody\n\nmore\n", `P - "Subject: x\n y"
P - "X-Other: z"
end
B 0 ""
B 0 "body"
B 4 ""
B 4 "more"
`},
		{"no header", "\nbody\n", `end
B 0 ""
B 0 "body"
`},
		{"body without empty line", "To: a\nnot a header\n", `P To "To: a"
! message header was terminated by non-empty line: "not a header"
end
B 0 ""
B 0 "not a header"
`},
		{"header only", "to: a\n", `P To "to: a"
end
`},
		{"long lines", "To: a\\\nb\n\nx\\\ny\n", `P To "To: ab"
end
B 0 ""
B+0 "x"
B 1 "y"
`},
		{"multipart", `Content-Type: multipart/mixed;
 boundary="b b"

preamble
--b b
Content-Type: text/plain

text
--b b
Content-Type: message/rfc822

Subject: inner

inner
--b b--
end
`, `P Content-Type "Content-Type: multipart/mixed;\n boundary=\"b b\""
end
B 0 ""
B 0 "preamble"
B 8 "--b b"
M Content-Type "Content-Type: text/plain"
B 0 ""
B 0 "text"
B 4 "--b b"
M Content-Type "Content-Type: message/rfc822"
B 0 ""
N - "Subject: inner"
B 0 ""
B 0 "inner"
B 0 "--b b--"
B 7 "end"
`},
		{"8 bit", "Subject: \xff\n\n\xff\n", `! improper use of 8-bit data in message header: "Subject: \xff"
P - "Subject: \xff"
end
B 0 ""
! improper use of 8-bit data in message body: "\xff"
B 0 "\xff"
`},
		{"8 bit allowed", "Content-Transfer-Encoding: 8bit\n\n\xff\n", `P Content-Transfer-Encoding "Content-Transfer-Encoding: 8bit"
end
B 0 ""
B 0 "\xff"
`},
		{"encoding domain", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n", `P Content-Type "Content-Type: message/rfc822"
P Content-Transfer-Encoding "Content-Transfer-Encoding: base64"
end
! invalid message/* or multipart/* encoding domain: "base64"
B 0 ""
`},
	} {
		o := Options{Report: everything, FieldLimit: 1000, BoundaryLimit: 100, NestingLimit: 5}
		if got := run(o, tt.text); got != tt.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	o := Options{Report: everything, FieldLimit: 20, BoundaryLimit: 10, NestingLimit: 3}
	got := run(o, "Subject: 0123456789\n 0123456789\n 0123456789\n\n")
	if !strings.Contains(got, "! message header length exceeds safety limit") || strings.Count(got, "56789") != 4 {
		t.Errorf("got %s", got)
	}
	nest := strings.Repeat("Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n", 10)
	if got := run(o, nest); strings.Count(got, "! MIME nesting") != 1 {
		t.Errorf("got %s", got)
	}
}

func TestNameLength(t *testing.T) {
	for _, tt := range []struct {
		line string
		want int
	}{
		{"To: x", 2}, {"To : x", 2}, {"To\t:", 2}, {":x", 0}, {" To: x", 0}, {"To x: y", 0}, {"", 0}, {"To", 0},
		{"T\xc3: x", 0}, {"http://x", 4}, {"From x@y Mon Jan 1 10:00", 0},
	} {
		if got := NameLength([]byte(tt.line)); got != tt.want {
			t.Errorf("NameLength(%q) = %d, want %d", tt.line, got, tt.want)
		}
	}
}

func TestValue(t *testing.T) {
	if got := string(Value([]byte("Message-Id :\n <x@y> "))); got != "<x@y>" {
		t.Errorf("got %q", got)
	}
}

func FuzzMachine(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=\"a\\\"b\"\n\n--a\"b\nContent-Type: message/rfc822\n\n\nx\n--a\"b--\n")
	f.Add("To: (\\\n\\\n:\n--\n")
	f.Fuzz(func(t *testing.T, text string) {
		run(Options{FieldLimit: 100, BoundaryLimit: 10, NestingLimit: 5}, text)
	})
}

func BenchmarkMachine(b *testing.B) {
	m := New(Options{FieldLimit: 102400}, &recorder{})
	header, body := []byte("Subject: a subject of some length"), []byte(strings.Repeat("x", 70))
	m.handler = silent{}
	b.ReportAllocs()
	for b.Loop() {
		m.Reset()
		for range 6 {
			m.Line(header, false)
		}
		m.Line(nil, false)
		for range 50 {
			m.Line(body, false)
		}
		m.End()
	}
}

type silent struct{}

func (silent) Field(Section, *Name, []byte) {}
func (silent) HeaderEnd()                   {}
func (silent) Body([]byte, bool, int64)     {}
func (silent) Problem(Problem, []byte)      {}
