package neighbours

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// exim unpacks Exim from Debian's package, which cannot be installed beside
// another mail system, and returns the path of the program.
func exim(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		harness.Skip(t, "Exim needs root")
	}
	top, err := harness.Top()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "build", "exim")
	path := filepath.Join(dir, "usr/sbin/exim4")
	if executable(path) {
		return path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fetch := exec.Command("sh", "-c", "apt-get download exim4-daemon-light && dpkg-deb -x exim4-daemon-light_*.deb . && rm exim4-daemon-light_*.deb")
	fetch.Dir = dir
	if out, err := fetch.CombinedOutput(); err != nil {
		harness.Skip(t, "exim4-daemon-light cannot be fetched: %v\n%s", err, out)
	}
	if out, err := exec.Command("ldd", path).Output(); err != nil || strings.Contains(string(out), "not found") {
		harness.Skip(t, "libraries of exim4-daemon-light are not installed (libgnutls-dane0, libidn12, libnsl2):\n%s", out)
	}
	return path
}

// TestEximSends has Exim relay messages to Postern, under TLS and in pieces
// (BDAT), as it does by itself.
func TestEximSends(t *testing.T) {
	harness.MountSpaces(t)
	path := exim(t)
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main:  "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\nsmtpd_tls_loglevel = 1\nsmtpd_tls_received_header = yes\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour)},
	})
	i.Start()
	dir, err := os.MkdirTemp("", "exim") // which another user can look into
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	for _, d := range []string{"spool", "log"} {
		os.Mkdir(filepath.Join(dir, d), 0o755)
		os.Chown(filepath.Join(dir, d), nobody, nobody)
	}
	// The program knows the name of its user only, which this host need not
	// have: it gets a user database of its own.
	for name, line := range map[string]string{"passwd": "Debian-exim:x:65534:65534::/nonexistent:/bin/false\n", "group": "Debian-exim:x:65534:\n"} {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, name), append(text, line...), 0o644)
	}
	os.WriteFile(filepath.Join(dir, "conf"), []byte(fmt.Sprintf(`exim_path = %[1]s
primary_hostname = exim.example
spool_directory = %[2]s/spool
log_file_path = %[2]s/log/%%slog
exim_user = nobody
exim_group = nogroup
tls_advertise_hosts =
keep_environment =
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = %[3]d
begin retry
*  *  F,1h,1m
`, path, dir, i.Port)), 0o644)
	for n, body := range []string{"short\n", strings.Repeat("a line of a long message\n", 20_000)} {
		cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && `+
			`exec "$2" -C "$1/conf" -f a@client.example -odf alice@example.com bob@example.com`, "sh", dir, path)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("From: <a@client.example>\nSubject: number %d\n\n%s", n, body))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		log, _ := filepath.Glob(filepath.Join(dir, "log/*"))
		i.Until("the message has arrived", func() bool {
			files, _ := filepath.Glob(i.Host("mail/bob/new/*"))
			if len(files) <= n && len(log) > 0 {
				if text, _ := os.ReadFile(log[0]); strings.Contains(string(text), "==") {
					t.Fatalf("%s", text)
				}
			}
			return len(files) > n
		})
	}
	files, _ := filepath.Glob(i.Host("mail/bob/new/*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(text), "with ESMTPS id") || !strings.Contains(string(text), "(using TLSv1.3 with cipher") {
			t.Errorf("%v\n%.1000s", err, text)
		}
	}
	i.WaitLog(`disconnect from .* bdat=`)
}

// TestOpenSSLClient makes a session with s_client, which verifies the
// certificate.
func TestOpenSSLClient(t *testing.T) {
	path := program(t, "openssl")
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main:  "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour), "ca.pem": a.PEM},
	})
	i.Start()
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		cmd := exec.Command(path, "s_client", "-starttls", "smtp", "-connect", i.Addr(), "-CAfile", i.Host("etc/ca.pem"),
			"-verify_hostname", "mail.example.com", "-verify_return_error", "-crlf", version)
		cmd.Stdin = strings.NewReader("QUIT\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Verify return code: 0 (ok)") {
			t.Errorf("%s: %v\n%s", version, err, out)
		}
	}
}
