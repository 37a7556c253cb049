package source

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	r := NewReader(strings.NewReader(" leading\nk\n  # comment\n v1\n\n  \na\n#x\nb c"))
	var warnings []string
	r.Warn = func(text string) { warnings = append(warnings, text) }
	want := []Line{{"k v1", 2, 4}, {"a", 7, 7}, {"b c", 9, 9}}
	for _, w := range want {
		if got, err := r.Next(); got != w || err != nil {
			t.Errorf("got %+v %v, want %+v", got, err, w)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "logical line must not start with whitespace") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		in, key, value string
		warning        bool
		ok             bool
	}{
		{"a b", "a", "b", false, true},
		{"a\t b  c ", "a", "b  c", false, true},
		{`"q k" v`, `"q k"`, "v", false, true},
		{`a\ b c`, `a\ b`, "c", false, true},
		{`"open`, "", "", true, false},
		{"alone", "", "", true, false},
		{"k: v", "k:", "v", true, true},
	} {
		key, value, warning, ok := Split(c.in)
		if ok != c.ok || (warning != "") != c.warning || ok && (key != c.key || value != c.value) {
			t.Errorf("%q: %q %q %q %v", c.in, key, value, warning, ok)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("a b\n c\n# d\n\"e f\" g\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(strings.NewReader(text))
		for {
			l, err := r.Next()
			if err != nil {
				return
			}
			if l.Text == "" || l.First > l.Last {
				t.Fatalf("%+v", l)
			}
			Split(l.Text)
		}
	})
}
