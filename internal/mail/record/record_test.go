package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	lengths := []int{0, 1, 127, 128, 129, 16383, 16384, 100_000}
	for _, n := range lengths {
		w.PutString(Norm, strings.Repeat("x", n))
	}
	w.Attr("client_name", "a=b")
	w.Pointer(1234)
	if err := w.Put(End, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Offset(), int64(b.Len()); got != want {
		t.Errorf("Offset() = %d, want %d", got, want)
	}
	check := func(name string, next func() (Type, []byte, error)) {
		for _, n := range lengths {
			typ, data, err := next()
			if typ != Norm || len(data) != n || err != nil {
				t.Fatalf("%s: got %c %d %v, want N %d", name, typ, len(data), err, n)
			}
		}
		if typ, data, err := next(); typ != Attr || string(data) != "client_name=a=b" {
			t.Errorf("%s: got %c %q %v", name, typ, data, err)
		}
	}
	check("stream", NewReader(bytes.NewReader(b.Bytes())).Next)
	check("file", NewFileReader(bytes.NewReader(b.Bytes()), 0).Next)
}

func TestWireForm(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Put(Sender, []byte("a@b"))
	w.PutString(Norm, strings.Repeat("y", 300))
	w.Pointer(7)
	got := b.String()
	want := "S\x03a@bN\xac\x02" + strings.Repeat("y", 300) + "p\x0f              7"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if a := string(Append(nil, Norm, strings.Repeat("y", 300))); a != want[5:5+3+300] {
		t.Errorf("Append = %q", a)
	}
}

func TestSizes(t *testing.T) {
	s := Sizes{313, 527, 1, 0, 313, 0}
	want := "            313             527               1               0             313               0"
	got := string(s.Append(nil))
	if got != want || len(got) != SizesData {
		t.Errorf("got %q (%d), want %q", got, len(got), want)
	}
	back, err := ParseSizes([]byte(got))
	if back != s || err != nil {
		t.Errorf("ParseSizes = %+v, %v", back, err)
	}
	old, err := ParseSizes([]byte("            313             527               1               0"))
	if err != nil || old.Length != 313 || old.SendOpts != 0 {
		t.Errorf("old form: %+v, %v", old, err)
	}
	for _, bad := range []string{"", "1", "1 x 3", "-1 2 3", "1 2 99999999999"} {
		if _, err := ParseSizes([]byte(bad)); err == nil {
			t.Errorf("ParseSizes(%q): no error", bad)
		}
	}
}

// file builds a file whose parts are records; "p" parts are pointers to the
// part with the given index.
func TestPointers(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.PutString(Norm, "one")
	hole := w.Offset()
	w.Pointer(0)
	w.PutString(Norm, "skipped")
	back := w.Offset()
	w.PutString(Pad, "....")
	w.PutString(Norm, "three")
	w.Put(End, nil)
	heap := w.Offset()
	w.PutString(Norm, "two")
	w.Pointer(back)
	file := b.Bytes()
	copy(file[hole:], fmt.Sprintf("p\x0f%15d", heap))

	r := NewFileReader(bytes.NewReader(file), 0)
	var got []string
	for {
		typ, data, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%c%s", typ, data))
	}
	if want := "None Ntwo Nthree E"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}

func TestBadFiles(t *testing.T) {
	tests := []struct {
		name, file string
		want       error
	}{
		{"self loop", "p\x0f              0p\x0f             17", ErrLoop},
		{"long length", "N\xff\xff\xff\xff\xff\x01", ErrLength},
		{"too long", "N\xff\xff\xff\x7f", ErrLength},
		{"short data", "N\x05abc", io.ErrUnexpectedEOF},
		{"no length", "N", io.ErrUnexpectedEOF},
		{"cut length", "N\x80", io.ErrUnexpectedEOF},
		{"pointer beyond", "p\x0f            999", io.EOF},
		{"empty", "", io.EOF},
	}
	for _, tt := range tests {
		r := NewFileReader(strings.NewReader(tt.file), 0)
		var err error
		for err == nil {
			_, _, err = r.Next()
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if tt.want == ErrLoop || tt.name == "pointer beyond" {
			continue
		}
		_, _, err = NewReader(strings.NewReader(tt.file)).Next()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: stream: %v, want %v", tt.name, err, tt.want)
		}
	}
	r := NewFileReader(strings.NewReader("p\x03-12"), 0)
	if _, _, err := r.Next(); err == nil {
		t.Error("negative pointer: no error")
	}
}

func TestNames(t *testing.T) {
	for typ, want := range map[Type]string{Size: "message_size", Norm: "regular_text", Cont: "content_filter", Type('?'): "unknown_record_type"} {
		if got := typ.String(); got != want {
			t.Errorf("%c: %q, want %q", typ, got, want)
		}
	}
	if AttrType("notify_flags") != Notify || AttrType("client_name") != Attr {
		t.Error("AttrType")
	}
}

func FuzzReaders(f *testing.F) {
	f.Add([]byte("S\x03a@bN\x02hiE\x00"))
	f.Add([]byte("p\x0f              0p\x0f             17"))
	f.Add([]byte("N\xff\xff\xff\xff\x01"))
	f.Add([]byte("w\x01 p\x0f              0E\x00N\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewReader(bytes.NewReader(b))
		raw := NewFileReader(bytes.NewReader(b), 0)
		raw.Raw = true
		for {
			t1, d1, err1 := s.Next()
			t2, d2, err2 := raw.Next()
			if t1 != t2 || !bytes.Equal(d1, d2) || (err1 == nil) != (err2 == nil) {
				t.Fatalf("stream %c %q %v, file %c %q %v", t1, d1, err1, t2, d2, err2)
			}
			if err1 != nil {
				break
			}
		}
		r := NewFileReader(bytes.NewReader(b), 0)
		for n := 0; ; n++ {
			if _, _, err := r.Next(); err != nil {
				return
			}
			if n > (maxBackward+1)*(len(b)+1) {
				t.Fatal("no end")
			}
		}
	})
}

func BenchmarkFileReader(b *testing.B) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	for range 100 {
		w.PutString(Norm, strings.Repeat("x", 70))
	}
	w.Put(End, nil)
	src := bytes.NewReader(buf.Bytes())
	r := NewFileReader(src, 0)
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(src, 0)
		for {
			if _, _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
