package postlogd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/service"
)

func TestPacket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := New().(*Server)
	c := &param.Common{MaillogFile: path, MaillogFilePrefixes: "/var, /tmp, " + filepath.Dir(path), MaillogFilePermissions: "0640", SyslogFacility: "mail"}
	log, _ := maillog.Record()
	if err := s.Open(&service.Env{Common: c, Log: log}); err != nil {
		t.Fatal(err)
	}
	s.Packet(context.Background(), []byte("one line"))
	s.Packet(context.Background(), []byte("another\nline\x00\n"))
	b, err := os.ReadFile(path)
	if want := "one line\nanother\nline?\n"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
}

func TestCheckPath(t *testing.T) {
	const prefixes = "/var, /dev/stdout"
	for _, path := range []string{"/var/log/mail.log", "/dev/stdout"} {
		if err := CheckPath(path, prefixes); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/etc/passwd", "/various", "/dev/stdout2", "relative"} {
		if err := CheckPath(path, prefixes); err == nil {
			t.Errorf("%s is allowed", path)
		}
	}
}
