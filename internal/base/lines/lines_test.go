package lines

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func readAll(text string, limit int64) (got []string, err error) {
	r := NewReader(strings.NewReader(text), limit)
	for {
		l, err := r.Next()
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, fmt.Sprintf("%d-%d:%s", l.First, l.Last, l.Text))
	}
}

func TestNext(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"a\n", "1-1:a"},
		{"a", "1-1:a"},
		{"a = b,\n  c\n\td\ne\n", "1-3:a = b,  c\td|4-4:e"},
		{"# x\n\na\n# comment\n  # comment\n\n b\n\n#\nc", "3-7:a b|10-10:c"},
		{"a\n \t\nb", "1-1:a|3-3:b"},
		{"  # only\n\n", ""},
	}
	for _, tt := range tests {
		got, err := readAll(tt.text, 0)
		if err != nil || strings.Join(got, "|") != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		text string
		line int
		want string
	}{
		{"\n  a = b\n", 2, "must not start with whitespace"},
		{"a\nb\x00c\n", 2, "NUL"},
		{"x\n" + strings.Repeat("a", MaxLine+1), 2, "longer than"},
		{"x\n" + strings.Repeat("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", MaxLine/50), 1, "longer than"},
	}
	for _, tt := range tests {
		_, err := readAll(tt.text, 0)
		e := new(Error)
		if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: error %v; want %q in line %d", tt.text, err, tt.want, tt.line)
		}
	}
	if _, err := readAll("a\nb\nc\n", 4); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want %v", err, errTooLarge)
	}
}

func FuzzNext(f *testing.F) {
	f.Add("a = b\n c\n# d\ne")
	f.Fuzz(func(t *testing.T, text string) {
		lines, _ := readAll(text, 0)
		for _, l := range lines {
			if strings.ContainsAny(l, "\x00\n") {
				t.Errorf("line %q", l)
			}
		}
	})
}
