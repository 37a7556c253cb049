package statuslog

import (
	"io"
	"reflect"
	"strings"
	"testing"

	"postern/internal/mail/dsn"
)

func all(t testing.TB, text string) []Record {
	t.Helper()
	r := NewReader(strings.NewReader(text))
	var list []Record
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rec)
	}
}

func TestRoundTrip(t *testing.T) {
	want := []Record{{
		Address: "a b@example.com", OrigAddr: "c@example.com", Offset: 123, DSNOrigRcpt: "rfc822;c@example.com", Notify: 3,
		Result: dsn.Result{Status: "5.1.1", Action: "failed", DiagType: "smtp", DiagText: "550 no", MTAType: "dns", MTAName: "mx", Reason: "host said: no"},
	}, {
		Address: "", Result: dsn.Result{Status: "4.0.0", Action: "delayed", Reason: "later"},
	}}
	for _, old := range []bool{true, false} {
		var b []byte
		for i := range want {
			b = want[i].Append(b, old)
		}
		if got := all(t, string(b)); !reflect.DeepEqual(got, want) {
			t.Errorf("old %v: got %+v\nwant %+v\n%s", old, got, want, b)
		}
	}
}

func TestForm(t *testing.T) {
	r := Record{Address: "a@b", Offset: 7, Result: dsn.Make("4.1.1", "x\ny")}
	want := "\n<a@b>: x?y\nrecipient=a@b\noffset=7\nstatus=4.1.1\nreason=x?y\n\n"
	if got := string(r.Append(nil, true)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOldAndGarbled(t *testing.T) {
	got := all(t, "<a@b>: gone\n\nrubbish\nrecipient=c@d\nwho=knows\n\n\n\nrecipient=e@f\nreason=cut sho")
	want := []Record{
		{Address: "a@b", Result: dsn.Result{Reason: "gone"}},
		{Address: "c@d", Result: dsn.Result{Reason: "(unavailable)"}},
		{Address: "e@f", Result: dsn.Result{Reason: "cut sho"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What a torn record says is not said of the next one.
func TestTorn(t *testing.T) {
	whole := &Record{Address: "b@x.example", Result: dsn.Result{Status: "5.1.1", Action: "failed", Reason: "unknown"}}
	torn := &Record{Address: "a@x.example", OrigAddr: "alias@x.example", DSNOrigRcpt: "rfc822;alias@x.example", Notify: dsn.NotifyNever, Offset: 7, Result: whole.Result}
	for _, old := range []bool{false, true} {
		first := string(torn.Append(nil, old))
		for cut := 1; cut < len(first)-1; cut++ {
			got := all(t, first[:cut]+string(whole.Append(nil, old)))
			if first[cut-1] == '\n' && len(got) == 2 {
				got = got[1:] // cut between two lines
			}
			if len(got) != 1 || got[0] != *whole {
				t.Errorf("old %v, cut at %d: got %+v, want %+v alone", old, cut, got, *whole)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("\n<a@b>: x\nrecipient=a@b\noffset=9\nstatus=5.1.1\naction=failed\nreason=x\n\n")
	f.Add("recipient=<>\n\n=\n\n<")
	f.Fuzz(func(t *testing.T, text string) {
		for _, rec := range all(t, text) {
			b := rec.Append(nil, true)
			if n := len(all(t, string(b))); n != 1 {
				t.Errorf("%q: %d records", b, n)
			}
		}
	})
}
