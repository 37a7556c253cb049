package maincf

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = `# comment
queue_directory = /var/spool/postfix
mydestination = $myhostname,
# in between
    localhost
empty =
relayhost=[a.example]:25
queue_directory = /q
`

func read(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Read(strings.NewReader(text), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRead(t *testing.T) {
	c := read(t, sample)
	tests := []struct{ name, value, where string }{
		{"queue_directory", "/q", "main.cf, line 8"},
		{"mydestination", "$myhostname,    localhost", "main.cf, line 3"},
		{"empty", "", "main.cf, line 6"},
		{"relayhost", "[a.example]:25", "main.cf, line 7"},
	}
	for _, tt := range tests {
		value, where, ok := c.Lookup(tt.name)
		if !ok || value != tt.value || where != tt.where {
			t.Errorf("%s: got %q, %q, %v; want %q, %q", tt.name, value, where, ok, tt.value, tt.where)
		}
	}
	if _, _, ok := c.Lookup("absent"); ok {
		t.Error("absent: found")
	}
	if got, want := c.Names(), []string{"queue_directory", "mydestination", "empty", "relayhost"}; !slices.Equal(got, want) {
		t.Errorf("names: got %q, want %q", got, want)
	}
	want := []string{"main.cf, line 8: overriding earlier entry: queue_directory=/var/spool/postfix"}
	if got := c.Warnings(); !slices.Equal(got, want) {
		t.Errorf("warnings: got %q, want %q", got, want)
	}
}

// Postfix: such a line, with what continues it, does not count.
func TestLeadingWhitespace(t *testing.T) {
	c, err := Read(strings.NewReader("# c\n a = b\n c\nd = e\n"), "main.cf")
	if err != nil || !slices.Equal(c.Names(), []string{"d"}) {
		t.Fatalf("got %q, %v", c.Names(), err)
	}
	want := []string{`main.cf, line 2: logical line must not start with whitespace: " a = b c"`}
	if got := c.Warnings(); !slices.Equal(got, want) {
		t.Errorf("warnings: got %q, want %q", got, want)
	}
}

func TestReadErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a = b\nnonsense\n", `main.cf, line 2: missing '=' after attribute name: "nonsense"`},
		{"a b = c\n", `main.cf, line 1: missing '=' after attribute name: "a b = c"`},
		{"= c\n", `main.cf, line 1: missing attribute name: "= c"`},
		{"a = \x00\n", "main.cf, line 1: line contains a NUL octet"},
	}
	for _, tt := range tests {
		_, err := Read(strings.NewReader(tt.text), "main.cf")
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
	path := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(path, []byte("a = b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir)
	if err != nil || c.Path() != path || c.Dir() != dir {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestOverride(t *testing.T) {
	below := read(t, "a = 1\nb = $a\n")
	c := below.Override("a", "2", "-o").Override("n", "3", "-o")
	if got, err := c.Expand("$b $n $other", func(string) (string, bool) { return "o", true }); err != nil || got != "2 3 o" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, _, _ := below.Lookup("a"); got != "1" {
		t.Errorf("the configuration below changed: a = %q", got)
	}
	if got, want := c.Names(), []string{"a", "b", "n"}; !slices.Equal(got, want) {
		t.Errorf("names: got %q, want %q", got, want)
	}
}

// A changing is a file that is written to while it is read.
type changing struct {
	io.Reader
	path string
	t    *testing.T
}

func (c *changing) Stat() (os.FileInfo, error) {
	defer func() {
		if err := os.WriteFile(c.path, []byte("a = b\nc = d\n"), 0o644); err != nil {
			c.t.Error(err)
		}
	}()
	return os.Stat(c.path)
}

// What is read while somebody writes is not taken for the file.
func TestChangesWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "main.cf")
	if err := os.WriteFile(path, []byte("a = b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := &changing{strings.NewReader("a = b\n"), path, t}
	if _, complete, err := snapshot(f); complete || err != nil {
		t.Errorf("complete %v, %v", complete, err)
	}
	c, err := LoadFile(path)
	if err != nil || !slices.Equal(c.Names(), []string{"a", "c"}) {
		t.Errorf("got %v, %v", c, err)
	}
}

// A file without end is refused, not read.
func TestEndless(t *testing.T) {
	if _, err := LoadFile("/dev/zero"); err == nil || !strings.Contains(err.Error(), "/dev/zero, line 1: ") {
		t.Errorf("error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample)
	f.Add("a = b\n c = d\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Read(strings.NewReader(text), "main.cf")
		if err != nil {
			return
		}
		for _, name := range c.Names() {
			if s, ok := c.Get(name); !ok || s.Line < 1 || strings.ContainsAny(name, "= \t\n") {
				t.Errorf("%q: %v, %v", name, s, ok)
			}
		}
	})
}
