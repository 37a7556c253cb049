package postfix

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// one returns the only file that matches, with the folder left out of text.
func one(t *testing.T, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %q, %v", pattern, list, err)
	}
	return list[0]
}

func TestEnableTLS(t *testing.T) {
	client := "-q -c DIR/etc -e smtp_tls_security_level = may smtp_tls_loglevel = 1"
	for _, tt := range []struct {
		setting, args string
		status        int
		calls, says   string
	}{
		{"", "", 1, "", "usage: postfix tls enable-client (or enable-server,"},
		{"", "frob", 1, "", "unknown tls command: 'frob'"},
		{"", "all-default-client", 0, "", ""},
		{"", "all-default-client x", 1, "", "usage: postfix tls all-default-client\n"},
		{"smtp_tls_cert_file = /x", "all-default-client", 1, "", ""},
		{"smtp_tls_loglevel = 2", "all-default-client", 0, "", ""},
		{"smtpd_tls_chain_files = /x", "all-default-server", 1, "", ""},
		{"smtpd_tls_security_level =", "all-default-server", 0, "", ""},
		{"", "enable-client", 0, client + "\n", "postfix reload"},
		{"", "enable-client -r dev:/dev/urandom", 0, client + " tls_random_source = dev:/dev/urandom\n", "enabled"},
		{"", "enable-client -x", 1, "", "usage: postfix tls enable-client [-r randsource]"},
		{"smtp_tls_security_level = dane", "enable-client", 0, "", "nothing was changed: smtp_tls_security_level is set already"},
		{"smtpd_use_tls = yes", "enable-server", 0, "", "nothing was changed: smtpd_use_tls is set already"},
		{"", "enable-server -a dsa", 1, "", `unsupported private key algorithm: "dsa"; need rsa or ecdsa`},
		{"", "enable-server -a ecdsa -b secp128r1", 1, "", `unsupported curve "secp128r1"`},
		{"", "new-server-key -b 17", 1, "", `bad size of an RSA key: "17"`},
		{"", "output-server-csr", 1, "", "no key file is named or configured"},
		{"", "output-server-tlsa", 1, "", "no key file is named or configured"},
		{"", "output-server-tlsa missing", 1, "", "etc/missing: no such file"},
		{"", "deploy-server-cert a", 1, "", "usage: postfix tls deploy-server-cert certfile keyfile"},
	} {
		dir := instance(t, "myhostname = mx.example\n"+tt.setting+"\n")
		calls := stub(t, dir, "postconf")
		status, says := run(t, dir, append([]string{"tls"}, strings.Fields(tt.args)...)...)
		if got := calls(); status != tt.status || got != tt.calls || !strings.Contains(says, tt.says) {
			t.Errorf("%q, %s: status %d, calls %q, says %q", tt.setting, tt.args, status, got, says)
		}
		if list, _ := filepath.Glob(dir + "/etc/*.pem"); len(list) > 0 {
			t.Errorf("%s: made %q", tt.args, list)
		}
	}
}

// A key and a certificate are made, put into use, and told of to others.
func TestServerCertificate(t *testing.T) {
	dir := instance(t, "myhostname = mx.example\n")
	calls := stub(t, dir, "postconf")
	if status, says := run(t, dir, "tls", "enable-server", "-a", "ecdsa", "mail.example", "www.example"); status != 0 {
		t.Fatal(says)
	}
	key, cert := one(t, dir+"/etc/eckey-*.pem"), one(t, dir+"/etc/eccert-*.pem")
	short := func(text string) string { return strings.ReplaceAll(text, dir, "DIR") }
	want := short("-q -c DIR/etc -e smtpd_tls_eckey_file = " + key + " smtpd_tls_eccert_file = " + cert +
		" smtpd_tls_security_level = may smtpd_tls_received_header = yes smtpd_tls_loglevel = 1\n")
	if got := calls(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, want := range map[string]os.FileMode{key: 0o600, cert: 0o644} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", name, st, err, want)
		}
	}
	c, err := readCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	for _, name := range []string{"mail.example", "www.example"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	if got := c.Subject.CommonName; got != "mail.example" {
		t.Errorf("subject %q", got)
	}

	// main.cf as postconf would have left it.
	f, err := os.OpenFile(dir+"/etc/main.cf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "smtpd_tls_eckey_file = %s\nsmtpd_tls_eccert_file = %s\n", key, cert)
	f.Close()
	digest, err := keyDigest(c.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-h", "mx2.example", "ecdsa"}, {"-h", "mx2.example"}, {"-h", "mx2.example", filepath.Base(key)}} {
		_, got := run(t, dir, append([]string{"tls", "output-server-tlsa"}, args...)...)
		if want := fmt.Sprintf("; %s\n_25._tcp.mx2.example. IN TLSA 3 1 1 %x\n", key, digest); got != want {
			t.Errorf("%q: got %s, want %s", args, got, want)
		}
	}
	_, text := run(t, dir, "tls", "output-server-csr", "new.example")
	if err := os.WriteFile(dir+"/csr", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := blocks(dir + "/csr")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	csr, err := x509.ParseCertificateRequest(list[0].Bytes)
	if err != nil || csr.CheckSignature() != nil || fmt.Sprint(csr.DNSNames) != "[new.example]" {
		t.Errorf("request %+v, %v", csr, err)
	}

	// A certificate of another key is not put into use, nor beside a chain file.
	if status, says := run(t, dir, "tls", "new-server-key", "-b", "1024"); status != 0 || calls() != "" {
		t.Fatal(status, says)
	}
	other := one(t, dir+"/etc/key-*.pem")
	_, says := run(t, dir, "tls", "deploy-server-cert", filepath.Base(cert), filepath.Base(other))
	if !strings.Contains(says, "does not match the key in "+other) || calls() != "" {
		t.Error(says)
	}
	if status, says := run(t, dir, "tls", "deploy-server-cert", one(t, dir+"/etc/cert-*.pem"), other); status != 0 ||
		!strings.Contains(calls(), "-e smtpd_tls_key_file = DIR/etc/key-") {
		t.Error(status, says)
	}
	chained := instance(t, "smtpd_tls_chain_files = /x\n")
	if _, says := run(t, chained, "tls", "deploy-server-cert", cert, key); !strings.Contains(says, "smtpd_tls_chain_files is set") {
		t.Error(says)
	}
}

// A new certificate has the old key.
func TestNewCertificate(t *testing.T) {
	dir := instance(t, "myhostname = mx.example\nsmtpd_tls_cert_file = both.pem\nsmtpd_tls_eckey_file = missing.pem\n")
	key, err := generateRSA("1024")
	if err != nil {
		t.Fatal(err)
	}
	text, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := create(dir+"/etc/both.pem", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, says := run(t, dir, "tls", "new-server-cert"); status != 0 {
		t.Fatal(says)
	}
	c, err := readCertificate(one(t, dir+"/etc/cert-*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	of, _ := keyDigest(c.PublicKey)
	is, _ := keyDigest(key.Public())
	if string(of) != string(is) || fmt.Sprint(c.DNSNames) != "[mx.example]" {
		t.Errorf("another key, or names %q", c.DNSNames)
	}
	if status, says := run(t, dir, "tls", "new-server-cert", "-a", "ecdsa"); status != 0 || !strings.Contains(says, "missing.pem not found: making a new key") {
		t.Error(status, says)
	}
}

func FuzzReadKey(f *testing.F) {
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := readKey(path); err == nil {
			keyDigest(key.Public())
		}
		readCertificate(path)
	})
}
