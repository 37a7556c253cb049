package check

import (
	"context"
	"errors"
	"testing"

	"postern/internal/mail/message"
	"postern/internal/table"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		value  string
		header bool
		want   Result
		err    string
	}{
		{"REJECT", true, Result{Reject, ""}, ""},
		{"reject  go away ", true, Result{Reject, "go away "}, ""},
		{"OK", true, Result{}, ""},
		{"dunno whatever", true, Result{Dunno, "whatever"}, ""},
		{"FILTER smtp:x", true, Result{Filter, "smtp:x"}, ""},
		{"FILTER", true, Result{}, "missing FILTER command argument in t map"},
		{"FILTER x", true, Result{}, "bad FILTER command x in t -- need transport:destination"},
		{"PREPEND X: y", true, Result{Prepend, "X: y"}, ""},
		{"PREPEND xy", true, Result{}, `bad PREPEND header text "xy" in t map -- need "headername: headervalue"`},
		{"PREPEND xy", false, Result{Prepend, "xy"}, ""},
		{"REPLACE", false, Result{}, "REPLACE action without text in t map"},
		{"REPLACE a", true, Result{}, `bad REPLACE header text "a" in t map -- need "headername: headervalue"`},
		{"REDIRECT a", true, Result{}, `bad REDIRECT target "a" in t map -- need user@domain`},
		{"BCC a@b", true, Result{BCC, "a@b"}, ""},
		{"STRIP x", true, Result{Strip, "x"}, ""},
		{"IGNORE", true, Result{Ignore, ""}, ""},
		{"INFO", true, Result{Info, ""}, ""},
		{"WARN w", true, Result{Warn, "w"}, ""},
		{"HOLD", true, Result{Hold, ""}, ""},
		{"PASS", true, Result{Pass, ""}, ""},
		{"DISCARD", true, Result{Discard, ""}, ""},
		{"REJECTED", true, Result{}, "unknown command in t map: REJECTED"},
		{"", true, Result{}, "unknown command in t map: "},
	} {
		got, err := Parse("t", tt.value, tt.header)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("Parse(%q, %v) = %+v, %q, want %+v, %q", tt.value, tt.header, got, text, tt.want, tt.err)
		}
	}
}

type one struct{ key, value string }

func (o one) Lookup(_ context.Context, key string) (string, bool, error) {
	if o.key == "!" {
		return "", false, errors.New("broken")
	}
	return o.value, key == o.key, nil
}
func (one) Close() error { return nil }

func maps(t *testing.T, title, key, value string) *table.Maps {
	o := table.NewOpener([]table.Type{{Name: "one", Open: func(string, *table.Opener) (table.Table, error) {
		return one{key, value}, nil
	}}})
	m, err := o.Maps(title, "one:x", TableFlags)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestChecks(t *testing.T) {
	ctx := context.Background()
	var warned error
	c := Checks{
		Header: maps(t, "h", "A: b", "INFO h"), MIME: maps(t, "m", "Content-Type: x", "INFO m"),
		Nested: maps(t, "n", "A: b", "INFO n"), Body: maps(t, "b", "line", "what"), BodyLimit: 10,
		Warn: func(err error) { warned = err },
	}
	field := func(s message.Section, text string) Result {
		r, err := c.Field(ctx, s, message.Lookup([]byte(text)), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, tt := range []struct {
		s    message.Section
		text string
		want string
	}{
		{message.Primary, "A: b", "h"}, {message.Primary, "Content-Type: x", "m"},
		{message.Nested, "A: b", "n"}, {message.Nested, "Content-Type: x", "m"},
		{message.Part, "Content-Type: x", "m"}, {message.Part, "A: b", ""},
	} {
		if got := field(tt.s, tt.text); got.Text != tt.want {
			t.Errorf("section %d, %q: %+v, want %q", tt.s, tt.text, got, tt.want)
		}
	}
	if r, err := c.Line(ctx, []byte("line"), 0); r.Action != Dunno || err != nil || warned == nil {
		t.Errorf("unknown action: %+v %v, warning %v", r, err, warned)
	}
	warned = nil
	if c.Line(ctx, []byte("line"), 10); warned != nil {
		t.Error("a line beyond the limit was looked at")
	}
	c.Body = maps(t, "b", "!", "")
	if _, err := c.Line(ctx, []byte("line"), 0); err == nil {
		t.Error("no error from a broken table")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("REJECT 5.7.1 x", true)
	f.Add("prepend \t a: b", false)
	f.Fuzz(func(t *testing.T, value string, header bool) {
		r, err := Parse("t", value, header)
		if err != nil && r != (Result{}) {
			t.Errorf("%+v with error %v", r, err)
		}
	})
}
