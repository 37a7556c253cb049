// Package maincf is the file main.cf: parameter names with the text that they
// are set to, and where.
//
// A line is "name = value"; the value goes on in lines that start with white
// space. The last of several settings of a name counts.
package maincf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/base/errno"
	"postern/internal/base/lines"
	"postern/internal/base/macro"
)

// MaxFile is the largest main.cf that is read, in octets.
const MaxFile = 16 << 20

// A Setting is one parameter that is set.
type Setting struct {
	Name, Value string
	Where       string // "/etc/postfix/main.cf, line 12"
	Line        int    // number of its first line in main.cf; 0 if it is not from there
}

// A Config is the settings of main.cf, and those laid over them. It does not
// change; it may be used by several goroutines.
type Config struct {
	path     string
	names    []string // in the order of the file, each once
	set      map[string]Setting
	warnings []string
	below    *Config // what this layer is laid over
}

// Load reads dir/main.cf. An error names the file and the line.
func Load(dir string) (*Config, error) { return LoadFile(filepath.Join(dir, "main.cf")) }

// LoadFile reads a file of the form of main.cf, such as that of a database
// table.
func LoadFile(path string) (*Config, error) {
	for range changeLimit {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, errno.LibC(err))
		}
		text, complete, err := snapshot(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, errno.LibC(err))
		}
		if complete {
			return Read(bytes.NewReader(text), path)
		}
		time.Sleep(changePause)
	}
	return nil, fmt.Errorf("read %s: %w", path, errChanging)
}

// A file that changes while it is read is read again, so often and after such a
// pause.
const (
	changeLimit = 20
	changePause = 10 * time.Millisecond
)

var errChanging = errors.New("the file changes all the time")

// A file is what is read.
type file interface {
	io.Reader
	Stat() (os.FileInfo, error)
}

// snapshot reads f; complete says that nobody wrote to it meanwhile. Of a file
// that is too large it reads enough for Read to say so.
func snapshot(f file) (text []byte, complete bool, err error) {
	before, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if text, err = io.ReadAll(io.LimitReader(f, MaxFile+1)); err != nil {
		return nil, false, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	same := before.Size() == after.Size() && before.ModTime().Equal(after.ModTime())
	return text, same, nil
}

// Read reads the text of a main.cf; path names it in messages.
func Read(r io.Reader, path string) (*Config, error) {
	c := &Config{path: path, set: make(map[string]Setting)}
	in := lines.NewReader(r, MaxFile)
	in.Warn = func(e *lines.Error) {
		c.warnings = append(c.warnings, fmt.Sprintf("%s, line %d: %v", path, e.Line, e.Err))
	}
	for {
		line, err := in.Next()
		if err == io.EOF {
			return c, nil
		}
		if e := new(lines.Error); errors.As(err, &e) {
			return nil, fmt.Errorf("%s, line %d: %w", path, e.Line, e.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, errno.LibC(err))
		}
		name, value, err := SplitNameValue(line.Text)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w: %.100q", path, line.First, err, line.Text)
		}
		c.add(Setting{name, value, fmt.Sprintf("%s, line %d", path, line.First), line.First})
	}
}

func (c *Config) add(s Setting) {
	old, ok := c.set[s.Name]
	if !ok {
		c.names = append(c.names, s.Name)
	} else if old.Value != s.Value {
		c.warnings = append(c.warnings, fmt.Sprintf("%s: overriding earlier entry: %s=%s", s.Where, s.Name, old.Value))
	}
	c.set[s.Name] = s
}

// Empty returns a configuration in which nothing is set; path is the file that
// it stands for.
func Empty(path string) *Config {
	return &Config{path: path, set: make(map[string]Setting)}
}

// Path returns the file's name.
func (c *Config) Path() string { return c.path }

// Dir returns the configuration directory.
func (c *Config) Dir() string { return filepath.Dir(c.path) }

// Warnings returns what is suspicious in the file: settings that a later one
// overrides, lines that do not count.
func (c *Config) Warnings() []string {
	if c.below != nil {
		return c.below.Warnings()
	}
	return c.warnings
}

// Get returns the setting of a name.
func (c *Config) Get(name string) (Setting, bool) {
	for l := c; l != nil; l = l.below {
		if s, ok := l.set[name]; ok {
			return s, true
		}
	}
	return Setting{}, false
}

// Lookup returns the unexpanded value of name and where it is set.
func (c *Config) Lookup(name string) (value, where string, ok bool) {
	s, ok := c.Get(name)
	return s.Value, s.Where, ok
}

// Override returns a configuration in which name has another value; c stays as
// it is. where says who set it, for messages.
func (c *Config) Override(name, value, where string) *Config {
	return &Config{
		path:  c.path,
		names: []string{name},
		set:   map[string]Setting{name: {Name: name, Value: value, Where: where}},
		below: c,
	}
}

// Values returns every value that is set, also those that an override hides.
func (c *Config) Values() []string {
	var list []string
	for ; c != nil; c = c.below {
		for _, name := range c.names {
			list = append(list, c.set[name].Value)
		}
	}
	return list
}

// Names returns the names that are set, in the order of the file; those of
// overrides come last.
func (c *Config) Names() []string {
	var list []string
	if c.below != nil {
		list = c.below.Names()
	}
	for _, name := range c.names {
		if c.below != nil {
			if _, ok := c.below.Get(name); ok {
				continue
			}
		}
		list = append(list, name)
	}
	return list
}

// Expand expands text with the settings; other, which may be nil, is asked for
// names that are not set.
func (c *Config) Expand(text string, other func(name string) (string, bool)) (string, error) {
	x := macro.Expander{
		Recurse:   true,
		Functions: macro.Functions,
		Lookup: func(name string) (string, bool, error) {
			if s, ok := c.Get(name); ok {
				return s.Value, true, nil
			}
			if other == nil {
				return "", false, nil
			}
			value, ok := other(name)
			return value, ok, nil
		},
	}
	r, err := x.Expand(text)
	return r.Text, err
}

var (
	errNoName   = errors.New("missing attribute name")
	errNoEquals = errors.New("missing '=' after attribute name")
)

const blanks = " \t\r\n\v\f"

// SplitNameValue takes "name = value" apart; blanks around both do not count.
func SplitNameValue(text string) (name, value string, err error) {
	text = strings.Trim(text, blanks)
	n := strings.IndexAny(text, "="+blanks)
	if n < 0 {
		return "", "", errNoEquals
	}
	name, rest := text[:n], strings.TrimLeft(text[n:], blanks)
	if !strings.HasPrefix(rest, "=") {
		return "", "", errNoEquals
	}
	if name == "" {
		return "", "", errNoName
	}
	return name, strings.TrimLeft(rest[1:], blanks), nil
}
