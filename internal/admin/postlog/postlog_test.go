package postlog

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPostlog(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	conf := "maillog_file = " + log + "\nqueue_directory = " + dir + "\nmyhostname = h.example\n"
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MAIL_LOGTAG", "")
	tests := []struct {
		args  []string
		stdin string
		want  string
	}{
		{[]string{"-p", "warn", "-t", "mine", "some", "text"}, "", `mine\[\d+\]: warning: some text\n`},
		{nil, "one\ntwo\x1b[0m\n", `postfix/postlog\[\d+\]: one\n.* h postfix/postlog\[\d+\]: two\?\[0m\n`},
		{[]string{"-i", "-p", "error", "x"}, "", `postfix/postlog\[\d+\]: error: x\n`},
	}
	for _, tt := range tests {
		os.Remove(log)
		var stderr strings.Builder
		args := append([]string{"postlog", "-c", dir}, tt.args...)
		status := Main(args, strings.NewReader(tt.stdin), &stderr, &stderr)
		b, _ := os.ReadFile(log)
		if ok, _ := regexp.Match(`^\w\w\w [ \d]\d \d\d:\d\d:\d\d h `+tt.want+`$`, b); !ok || status != 0 {
			t.Errorf("%q: status %d, %s\nlog %q", tt.args, status, stderr.String(), b)
		}
	}
	var stderr strings.Builder
	if status := Main([]string{"postlog", "-c", dir, "-p", "loud", "x"}, nil, &stderr, &stderr); status != 1 ||
		stderr.String() != "postlog: fatal: bad severity: \"loud\"\n" {
		t.Errorf("%d, %q", status, stderr.String())
	}
}
