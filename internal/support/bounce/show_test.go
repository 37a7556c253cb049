package bounce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
)

func TestShowTemplates(t *testing.T) {
	main := maincf.Empty("main.cf").Override("myhostname", "a.example", "test").Override("delay_warning_time", "3h", "test")
	show := func(file string, expand bool) (string, error) {
		var b strings.Builder
		err := ShowTemplates(&b, maillog.Discard(), main, file, expand)
		return b.String(), err
	}
	plain, err := show("", false)
	if err != nil || strings.Count(plain, "\nEOF\n") != int(kinds) || !strings.HasPrefix(plain, "failure_template = <<EOF\nCharset: us-ascii\nFrom: Mail Delivery System <MAILER-DAEMON>\nSubject: Undelivered Mail Returned to Sender\nPostmaster-Subject: ") {
		t.Errorf("got %v\n%s", err, plain)
	}
	file := filepath.Join(t.TempDir(), "templates")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// What is printed can be read again.
	write(plain)
	if again, err := show(file, false); err != nil || again != plain {
		t.Errorf("got %v\n%s", err, again)
	}
	write("success_template = <<EOF\nSubject: s\n\n$myhostname ${delay_warning_time_hours}h\nEOF\n")
	if text, err := show(file, true); err != nil || !strings.Contains(text, "expanded_success_text = <<EOF\na.example 3h\nEOF\n\nexpanded_verify_text = <<EOF\n") {
		t.Errorf("got %v\n%s", err, text)
	}
	for text, want := range map[string]string{
		"success_template = <<EOF\nSubject: s\n\n$nosuch\nEOF\n": "undefined $nosuch",
		"success_template = <<EOF\nSubject: s\n\n${\nEOF\n":      "truncated",
		"success_template = <<EOF\nSubject: s\n":                 "missing",
		"success = <<EOF\nSubject: s\n\nx\nEOF\n":                "unknown template",
	} {
		write(text)
		if _, err := show(file, true); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := show(file+".absent", true); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
