package database

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/table"
	"postern/internal/table/inline"
)

func opener(t testing.TB) (*table.Opener, func() []string) {
	t.Helper()
	o := table.NewOpener([]table.Type{inline.Type()})
	log, lines := maillog.Record()
	o.Log = log
	return o, lines
}

func load(t testing.TB, o *table.Opener, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load("mysql", path, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	o, _ := opener(t)
	c := load(t, o, "# comment\nhosts = a b,\n  c\nlimit = 7\nyes = YES\npause=3\nempty =\nquery = $x ${y} $$\n")
	if got := c.List("hosts", ""); len(got) != 3 || got[2] != "c" {
		t.Errorf("hosts: %q", got)
	}
	if c.Int("limit", 1, 0) != 7 || c.Int("other", 1, 0) != 1 || !c.Bool("yes", false) || c.Seconds("pause", 1, 0) != 3*time.Second {
		t.Error("numbers")
	}
	if c.Str("empty", "default") != "" || c.Str("query", "") != "$x ${y} $$" || !c.Has("empty") || c.Has("nonesuch") {
		t.Error("texts")
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestMistakesNameFileAndLine(t *testing.T) {
	o, _ := opener(t)
	for text, read := range map[string]func(c *Config){
		"\n\nlimit = x":  func(c *Config) { c.Int("limit", 0, 0) },
		"\n\nlimit = -1": func(c *Config) { c.Int("limit", 0, 0) },
		"\n\nflag = on":  func(c *Config) { c.Bool("flag", false) },
		"\n\nquery =":    func(c *Config) { c.Required("query") },
	} {
		c := load(t, o, text)
		read(c)
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "x.cf, line 3: ") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if _, err := Load("mysql", "/nonexistent/x.cf", o); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestConfigInMainCF(t *testing.T) {
	o, _ := opener(t)
	o.Setting = func(name string) (string, bool) {
		value, ok := map[string]string{"users_hosts": "h", "users_limit": "x"}[name]
		return value, ok
	}
	c, err := Load("mysql", "users", o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Str("hosts", "") != "h" || c.Has("user") {
		t.Error("values")
	}
	c.Int("limit", 0, 0)
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "main.cf: users_limit") {
		t.Errorf("error %v", err)
	}
}

func TestAnswers(t *testing.T) {
	o, lines := opener(t)
	query, _ := ParseTemplate("query", "%s")
	tests := []struct {
		config, key string
		values      []string
		want        string // "-": not eligible, "!": error
	}{
		{"", "k", []string{"a", "b"}, "a,b"},
		{"", "k", nil, ""},
		{"", "k", []string{"", "b"}, "b"},
		{"", "", nil, "-"},
		{"", "\xff", nil, "-"},
		{"result_format = [%d] %u", "k", []string{"u@d", "x", "@e", "y@"}, "[d] u"},
		{"result_format = %U:%s", "u@d", []string{"v"}, "u:v"},
		{"result_format = %D", "u", nil, "-"},
		{"result_format = %2", "u@com", nil, "-"},
		{"expansion_limit = 1", "k", []string{"a"}, "a"},
		{"expansion_limit = 1", "k", []string{"a", "b"}, "!"},
		{"domain = example.com inline:{example.net=x}", "u@example.com", []string{"v"}, "v"},
		{"domain = example.com inline:{example.net=x}", "u@example.net", []string{"v"}, "v"},
		{"domain = example.com", "u@sub.example.com", nil, "-"},
		{"domain = example.com", "@example.com", nil, "-"},
		{"domain = example.com", "example.com", nil, "-"},
	}
	for _, tt := range tests {
		c := load(t, o, tt.config+"\n")
		m := NewCommon(c, o, query)
		if err := c.Err(); err != nil {
			t.Fatal(err)
		}
		got := "-"
		a, err := m.Eligible(context.Background(), tt.key)
		if err != nil {
			t.Fatal(err)
		}
		if a != nil {
			answer := m.Answer(a)
			for _, v := range tt.values {
				if err = answer.Add(v); err != nil {
					break
				}
			}
			if got, _ = answer.Value(); err != nil {
				got = "!"
			}
		}
		if got != tt.want {
			t.Errorf("%q, key %q: got %q, want %q", tt.config, tt.key, got, tt.want)
		}
	}
	if log := strings.Join(lines(), "\n"); !strings.Contains(log, `empty lookup result for: "k" -- ignored`) {
		t.Errorf("log: %s", log)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("hosts = a\nquery = %s\n  b\n")
	f.Add("expansion_limit = 9\ndomain = a, b\nresult_format = %d")
	f.Fuzz(func(t *testing.T, text string) {
		o, _ := opener(t)
		o.Preread = map[string][]byte{"/x.cf": []byte(text)}
		c, err := Load("mysql", "/x.cf", o)
		if err != nil {
			return
		}
		if strings.Contains(c.Str("domain", ""), "/") || strings.Contains(c.Str("domain", ""), ":") {
			return // files and tables of this machine
		}
		NewCommon(c, o)
		c.Bool("flag", false)
		c.Seconds("idle_interval", 60, 1)
		c.Err()
	})
}
