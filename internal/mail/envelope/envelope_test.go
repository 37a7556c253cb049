package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"postern/internal/mail/record"
)

// file is a queue file with 3 recipients before the content and 2 after it.
// flags is the hint of the size record; sizes says whether there is one.
func file(flags int, sizes bool) []byte {
	var b bytes.Buffer
	w := record.NewWriter(&b)
	if sizes {
		w.Put(record.Size, record.Sizes{}.Append(nil))
	}
	w.PutString(record.Time, "1795508745 811022")
	w.Attr("create_time", "1795508746")
	w.PutString(record.FullName, "Full Name")
	w.PutString(record.Sender, "s@example.com")
	w.Attr("client_name", "host.example")
	w.Attr("log_client_name", "localhost")
	w.Attr("encoding", "8bit")
	w.Attr("unknown", "x=y")
	for i := range 3 {
		w.Attr("dsn_orig_rcpt", fmt.Sprint("rfc822;o", i))
		w.Attr("notify_flags", "6")
		w.PutString(record.OrigRcpt, fmt.Sprint("O", i))
		w.PutString(record.Rcpt, fmt.Sprint("r", i))
	}
	w.PutString(record.OrigRcpt, "gone")
	w.PutString(record.Done, "done")
	w.Pointer(0)
	w.PutString(record.Mesg, "")
	start := w.Offset()
	w.PutString(record.Norm, "Subject: x")
	w.PutString(record.Norm, "")
	w.PutString(record.Cont, "long ")
	w.PutString(record.Norm, "line")
	end := w.Offset()
	w.PutString(record.Xtra, "")
	w.PutString(record.Filter, "scan:x")
	w.PutString(record.Rcpt, "x3")
	w.PutString(record.Rcpt, "x4")
	w.Attr("sasl_username", "late")
	w.PutString(record.End, "")
	data := b.Bytes()
	if sizes {
		s := record.Sizes{Content: end - start, ContentOffset: start, Recipients: 5, Flags: flags}
		copy(data[2:], s.Append(nil))
	}
	return data
}

func addresses(list []Recipient) string {
	var all []string
	for _, r := range list {
		all = append(all, r.Address)
	}
	return strings.Join(all, " ")
}

func TestRead(t *testing.T) {
	data := file(0, true)
	e, err := Read(bytes.NewReader(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := addresses(e.Recipients); got != "r0 r1 r2 x3 x4" || e.Next != 0 {
		t.Errorf("recipients %q, next %d", got, e.Next)
	}
	r := e.Recipients[1]
	if r.Orig != "O1" || r.DSNOrig != "rfc822;o1" || r.Notify != 6 || data[r.Offset] != 'R' {
		t.Errorf("recipient %+v", r)
	}
	if x := e.Recipients[3]; x.Orig != "" || x.DSNOrig != "" || x.Notify != 0 {
		t.Errorf("attributes of another recipient: %+v", x)
	}
	if e.Sender != "s@example.com" || !e.SeenSender || e.FullName != "Full Name" || e.Encoding != "8bit" ||
		e.Client.Name != "host.example" || e.LogClient.Name != "localhost" || e.Filter != "scan:x" ||
		e.SASLUsername != "late" || e.Attrs["unknown"] != "x=y" || e.Sizes.Recipients != 5 {
		t.Errorf("envelope %+v", e)
	}
	if !e.Arrival.Equal(time.Unix(1795508745, 811022000)) || e.CreateTime.Unix() != 1795508746 {
		t.Errorf("times %v %v", e.Arrival, e.CreateTime)
	}
}

func TestLimit(t *testing.T) {
	for _, flags := range []int{0, record.MixedRecipients} {
		for _, sizes := range []bool{true, false} {
			for limit := 1; limit <= 6; limit++ {
				f := bytes.NewReader(file(flags, sizes))
				e, err := Read(f, limit)
				if err != nil {
					t.Fatal(err)
				}
				if sizes && limit < 3 && e.Filter != "scan:x" {
					t.Errorf("limit %d: what follows the content was not read", limit)
				}
				if flags == record.MixedRecipients && sizes && e.SASLUsername != "late" {
					t.Errorf("limit %d: what stands between recipients was not read", limit)
				}
				got := addresses(e.Recipients)
				for e.Next != 0 {
					if len(e.Recipients) > limit {
						t.Fatalf("limit %d: %d recipients", limit, len(e.Recipients))
					}
					if err := e.More(f, limit); err != nil {
						t.Fatal(err)
					}
					got = strings.TrimSpace(got + " " + addresses(e.Recipients))
				}
				if got != "r0 r1 r2 x3 x4" {
					t.Errorf("flags %d, sizes %v, limit %d: %q", flags, sizes, limit, got)
				}
			}
		}
	}
}

func TestRealFile(t *testing.T) {
	f, err := os.Open("testdata/postfix-3.7.queue")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := Read(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.Sender != "root@mail.example.com" || e.EnvelopeID != "envid1" && e.EnvelopeID != "" || e.Sizes.Length != 307 {
		t.Errorf("envelope %+v", e)
	}
	if got := addresses(e.Recipients); got != "t1@site.example t2@other.example secret@other.example" {
		t.Errorf("recipients %q", got)
	}
	b, err := io.ReadAll(NewLines(NewContent(f, e.Sizes.ContentOffset)))
	if err != nil || !strings.HasPrefix(string(b), "Received: by mail.example.com") || !strings.HasSuffix(string(b), "\n\nbody\n") {
		t.Errorf("content %q, %v", b, err)
	}
}

func TestContent(t *testing.T) {
	data := file(0, true)
	e, err := Read(bytes.NewReader(data), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 3, 4096} {
		l := NewLines(NewContent(bytes.NewReader(data), e.Sizes.ContentOffset))
		var got []byte
		b := make([]byte, size)
		for {
			n, err := l.Read(b)
			got = append(got, b[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := "Subject: x\n\nlong line\n"; string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	open := "N\x01aL\x01bX\x00"
	if b, err := io.ReadAll(NewLines(NewContent(strings.NewReader(open), 0))); string(b) != "a\nb\n" || err != nil {
		t.Errorf("unfinished last line: %q, %v", b, err)
	}
	for _, bad := range []string{"N\x01a", "N\x01aR\x01b", "", "N\xff"} {
		if _, err := io.ReadAll(NewLines(NewContent(strings.NewReader(bad), 0))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCorrupt(t *testing.T) {
	good := string(file(0, true))
	for name, bad := range map[string]string{
		"cut":       good[:len(good)-2],
		"empty":     "",
		"no sender": "T\x011E\x00",
		"bad size":  "C\x01xS\x00E\x00",
		"bad time":  "T\x01xS\x00E\x00",
		"attribute": "S\x00A\x01xE\x00",
		"loop":      "C\x051 2 3" + "S\x00M\x00M\x00M\x00E\x00",
	} {
		if _, err := Read(strings.NewReader(bad), 0); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(0, true), 1)
	f.Add(file(1, true), 2)
	f.Add(file(0, false), 0)
	f.Add([]byte("C\x051 2 3S\x00M\x00M\x00E\x00"), 0)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		e, err := Read(bytes.NewReader(data), limit)
		for n := 0; err == nil && e.Next != 0; n++ {
			if n > 3*len(data) {
				return
			}
			err = e.More(bytes.NewReader(data), max(limit, 1))
		}
		io.Copy(io.Discard, NewLines(NewContent(bytes.NewReader(data), e.Sizes.ContentOffset)))
	})
}
