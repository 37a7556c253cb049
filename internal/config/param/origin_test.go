package param

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOriginFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mailname")
	tests := []struct{ text, want, fails string }{
		{"mail.example\nsecond\n", "mail.example", ""},
		{"  mail.example  ", "mail.example", ""},
		{"", "", "is empty"},
		{"\nmail.example\n", "", "is empty"},
		{"a b\n", "", "several words"},
	}
	for _, tt := range tests {
		if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		var c Common
		var other string
		s := NewSet()
		c.Params(s)
		s.Str(&other, "other", "x@$myorigin")
		err := s.Load(source{"compatibility_level": "3.11", "myorigin": file})
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) || !strings.Contains(err.Error(), file) {
				t.Errorf("%q: error %v, want %q", tt.text, err, tt.fails)
			}
			continue
		}
		if err != nil || c.MyOrigin != tt.want || other != "x@"+tt.want {
			t.Errorf("%q: got %q, %q, %v", tt.text, c.MyOrigin, other, err)
		}
	}
	var c Common
	s := NewSet()
	c.Params(s)
	if err := s.Load(source{"myorigin": file + ".absent"}); err == nil || !strings.Contains(err.Error(), "mailname.absent") {
		t.Errorf("no file: error %v", err)
	}
	for _, name := range []string{"myorigin", "mydomain"} {
		if err := s.Load(source{"myhostname": "a.b", name: "a, b"}); err == nil || !strings.Contains(err.Error(), name+" parameter setting must not contain multiple values: a, b") {
			t.Errorf("two values of %s: error %v", name, err)
		}
	}
	for _, name := range []string{"a..b", "-a.b", "a-.b", "1.2.3.4", "a.b.", "a*b", "[1.2.3.4]"} {
		if err := s.Load(source{"myhostname": name}); err == nil || !strings.Contains(err.Error(), "parameter myhostname: bad parameter value: "+name) {
			t.Errorf("myhostname = %s: error %v", name, err)
		}
	}
	// What postconf shows is what the administrator wrote.
	if text, err := s.Expand(source{"myorigin": file}, "$myorigin"); err != nil || text != file {
		t.Errorf("got %q, %v", text, err)
	}
}
