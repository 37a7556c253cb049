package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config/param"
)

func TestGetopt(t *testing.T) {
	tests := []struct {
		args, want, rest, err string
	}{
		{"", "", "", ""},
		{"-a -b x y", "a;bx;", "y", ""},
		{"-abx y -a", "a;bx;", "y -a", ""},
		{"-a -- -b", "a;", "-b", ""},
		{"-", "", "-", ""},
		{"-b -a", "b-a;", "", ""},
		{"-b", "", "", "option requires an argument -- 'b'"},
		{"-c", "", "", "invalid option -- 'c'"},
		{"-:", "", "", "invalid option -- ':'"},
	}
	for _, tt := range tests {
		var got string
		rest, err := Getopt(strings.Fields(tt.args), "ab:", func(o byte, arg string) error {
			got += fmt.Sprintf("%c%s;", o, arg)
			return nil
		})
		msg := ""
		if err != nil {
			msg, got = err.Error(), ""
		}
		if got != tt.want || strings.Join(rest, " ") != tt.rest || msg != tt.err {
			t.Errorf("%q: %q, rest %q, error %q", tt.args, got, rest, msg)
		}
	}
	stop := errors.New("stop")
	if _, err := Getopt([]string{"-a"}, "a", func(byte, string) error { return stop }); err != stop {
		t.Errorf("error of each: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "main.cf"), []byte("queue_directory = "+dir+"\nmaillog_file = /nowhere\nown = yes\n"), 0o600)
	var errs strings.Builder
	c := New("postx", nil, nil, &errs)
	own := false
	if err := c.Load(dir, func(s *param.Set) { s.Bool(&own, "own", false) }); err != nil {
		t.Fatal(err)
	}
	if !own || c.Common.QueueDirectory != dir || c.Common.ConfigDirectory != dir {
		t.Errorf("own %v, common %q %q", own, c.Common.QueueDirectory, c.Common.ConfigDirectory)
	}
	if status := c.Fail(Usage, "no %s", "way"); status != Usage || errs.String() != "postx: fatal: no way\n" {
		t.Errorf("status %d, stderr %q", status, errs.String())
	}
	if err := New("x", nil, nil, &errs).Load(t.TempDir()); err == nil {
		t.Error("no main.cf: no error")
	}
}

func TestConfigDirectory(t *testing.T) {
	t.Setenv("MAIL_CONFIG", "")
	if d := ConfigDirectory(""); d != DefaultConfigDirectory {
		t.Errorf("default %q", d)
	}
	t.Setenv("MAIL_CONFIG", "/x")
	if d := ConfigDirectory(""); d != "/x" {
		t.Errorf("environment %q", d)
	}
	if d := ConfigDirectory("/y"); d != "/y" {
		t.Errorf("option %q", d)
	}
}
