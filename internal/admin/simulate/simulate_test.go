package simulate

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config/mastercf"
	"postern/internal/service"
)

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
		says string
	}{
		{nil, 64, "usage: simulate --client"},
		{[]string{"--client", "192.0.2.1", "--from", "a@b.example"}, 64, "usage"},
		{[]string{"--client", "c.example", "--from", "a@b.example", "--to", "x"}, 64, "give an IP address"},
		{[]string{"--client", "192.0.2.1", "--from", "a\r\nDATA", "--to", "x"}, 64, "line ends"},
		{[]string{"--client", "192.0.2.1", "--from", "a", "--to", "x", "--config", "/nonexistent"}, 78, "/nonexistent/main.cf"},
	} {
		var out, errs bytes.Buffer
		status := Main(append([]string{"simulate"}, tt.args...), nil, &out, &errs, Knowledge{Programs: []service.Program{}})
		if status != tt.want || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("%q: got %d, %s; want %d, %s", tt.args, status, errs.String(), tt.want, tt.says)
		}
	}
}

func TestChoose(t *testing.T) {
	const behind = "smtp inet n - n - 1 postscreen\nsubmission inet n - n - - smtpd\nsmtpd pass - - n - - smtpd\n"
	for _, tt := range []struct{ file, name, want string }{
		{"submission inet n - n - - smtpd\n192.0.2.1:smtp inet n - n - - smtpd\n", "", "192.0.2.1:smtp/inet"},
		{"submission inet n - n - - smtpd\n25 inet n - n - - smtpd\n", "", "25/inet"},
		{behind, "", "smtpd/pass"},
		{behind, "submission", "submission/inet"},
		{"2525 inet n - n - - smtpd\n10025 inet n - n - - smtpd\n", "", "2525/inet"},
		{behind, "smtp", ""},
		{"smtp unix - - n - - smtp\n", "", ""},
	} {
		path := filepath.Join(t.TempDir(), "master.cf")
		if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		services, err := mastercf.Load(path, mastercf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if s := choose(services, tt.name); s != nil {
			got = s.Key()
		}
		if got != tt.want {
			t.Errorf("%q, %q: got %q, want %q", tt.file, tt.name, got, tt.want)
		}
	}
}
