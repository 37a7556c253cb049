package neighbours

import (
	"crypto/tls"
	"net/smtp"
	"os"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// shown returns the name in the certificate that the server shows now.
func shown(t *testing.T, i *harness.Instance) string {
	t.Helper()
	c, err := smtp.Dial(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		return err.Error()
	}
	cs, _ := c.TLSConnectionState()
	c.Quit()
	return cs.PeerCertificates[0].Subject.CommonName
}

// TestRenewedCertificate replaces a key that only root may read, as certbot
// does: a symbolic link in a folder that is closed to others is changed. The
// server, which runs as another user, shows the new certificate without a
// reload, a session that is open goes on, and a file that is broken meanwhile
// stops no mail.
func TestRenewedCertificate(t *testing.T) {
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/keys/live\n",
	})
	put := func(name, text string) {
		t.Helper()
		i.WriteFile("keys/"+name, text)
		os.Chmod(i.Host("keys/"+name), 0o600)
		os.Remove(i.Host("keys/new"))
		if err := os.Symlink(name, i.Host("keys/new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(i.Host("keys/new"), i.Host("keys/live")); err != nil {
			t.Fatal(err)
		}
	}
	put("one", a.Issue(t, "one.example", time.Hour))
	if err := os.Chmod(i.Host("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	i.Start()
	open, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if got := shown(t, i); got != "one.example" {
		t.Fatalf("certificate %s", got)
	}
	until := func(want string) {
		t.Helper()
		i.Until("the server shows "+want, func() bool { return strings.Contains(shown(t, i), want) })
	}
	put("two", a.Issue(t, "two.example", time.Hour))
	until("two.example")
	put("broken", "nothing")
	until("TLS not available")
	put("three", a.Issue(t, "three.example", time.Hour))
	until("three.example")
	if reply, err := open.Say("NOOP"); err != nil || !strings.HasPrefix(reply, "250") {
		t.Errorf("the open session: %q, %v", reply, err)
	}
}
