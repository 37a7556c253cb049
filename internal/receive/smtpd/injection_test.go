package smtpd

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyFile writes a fresh key with its certificate.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mail.local.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	path := filepath.Join(t.TempDir(), "chain.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secure makes the caller's side of a TLS session.
func (c *caller) secure() error {
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.Conn, c.r = conn, bufio.NewReader(conn)
	return nil
}

// What is sent together with STARTTLS, in plain text, is never taken for said
// under TLS.
func TestSTARTTLSInjection(t *testing.T) {
	chain := keyFile(t)
	for _, injected := range []string{
		"NOOP\r\n", "EHLO evil.example\r\nMAIL FROM:<evil@evil.example>\r\n", "AUTH PLAIN " + b64("\x00joe\x00secret") + "\r\n", "\r\n", "N",
	} {
		for _, pipelining := range []string{"yes", "no"} { // smtpd_forbid_unauth_pipelining
			b := withUsers(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+chain+"\nsmtpd_forbid_unauth_pipelining = "+pipelining+"\n")
			c := b.dial(t)
			c.reply()
			io.WriteString(c, "EHLO client.example\r\n")
			c.reply()
			io.WriteString(c, "STARTTLS\r\n"+injected)
			c.reply()
			if err := c.secure(); err == nil {
				t.Errorf("%q: a session was made after it", injected)
			}
			c.Close()
			<-c.done
			log := strings.Join(b.log(), "\n")
			if strings.Contains(log, "evil") || strings.Contains(log, "Authentication") || len(b.queue.taken()) > 0 {
				t.Errorf("%q had an effect:\n%s", injected, log)
			}
		}
	}
}

// What was said before STARTTLS is forgotten after it: HELO, AUTH and a
// transaction.
func TestSTARTTLSForgets(t *testing.T) {
	b := withUsers(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+keyFile(t)+"\nsmtpd_helo_required = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject\n")
	c := b.dial(t)
	say := func(line, want string) {
		t.Helper()
		if line != "" {
			fmt.Fprint(c, line+"\r\n")
		}
		if got := c.reply(); !strings.HasPrefix(got, want) {
			t.Fatalf("%s: got %q, want %q", line, got, want)
		}
	}
	say("", "220")
	say("EHLO client.example", "250")
	say("AUTH PLAIN "+b64("\x00joe\x00secret"), "235")
	say("STARTTLS", "220")
	if err := c.secure(); err != nil {
		t.Fatal(err)
	}
	say("MAIL FROM:<a@b.example>", "503 5.5.1 Error: send HELO/EHLO first")
	say("STARTTLS", "554 5.5.1 Error: TLS already active")
	say("EHLO client.example", "250")
	say("MAIL FROM:<a@b.example>", "250")
	say("RCPT TO:<u@local.example>", "554 5.7.1")
	say("RSET", "250")
	say("AUTH PLAIN "+b64("\x00joe\x00secret"), "235")
	say("QUIT", "221")
}

// With smtpd_tls_auth_only no password is looked at before TLS, and the client
// is not invited to send one.
func TestAuthBeforeTLS(t *testing.T) {
	b := withUsers(t, "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = "+keyFile(t)+"\nsmtpd_tls_auth_only = yes\n")
	c := b.dial(t)
	c.reply()
	io.WriteString(c, "EHLO client.example\r\n")
	if got := c.reply(); strings.Contains(got, "AUTH") || !strings.Contains(got, "STARTTLS") {
		t.Errorf("EHLO in plain text: %s", got)
	}
	for _, line := range []string{"AUTH PLAIN " + b64("\x00joe\x00secret"), "AUTH LOGIN", "AUTH NTLM x"} {
		io.WriteString(c, line+"\r\n")
		if got := c.reply(); got != "503 5.5.1 Error: authentication not enabled" {
			t.Errorf("%s: %s", line, got)
		}
	}
	io.WriteString(c, "STARTTLS\r\n")
	c.reply()
	if err := c.secure(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "EHLO client.example\r\n")
	if got := c.reply(); !strings.Contains(got, "AUTH PLAIN LOGIN") || strings.Contains(got, "STARTTLS") {
		t.Errorf("EHLO under TLS: %s", got)
	}
	io.WriteString(c, "AUTH PLAIN "+b64("\x00joe\x00secret")+"\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "235") {
		t.Errorf("AUTH under TLS: %s", got)
	}
}

// A user name with control characters breaks neither a log line nor a record.
func TestAuthNames(t *testing.T) {
	b := withUsers(t, "")
	c := b.dial(t)
	c.reply()
	io.WriteString(c, "EHLO client.example\r\n")
	c.reply()
	io.WriteString(c, "AUTH PLAIN "+b64("\x00joe\r\npostfix/smtpd[1]: forged\x00secret")+"\r\n")
	if got := c.reply(); got != "535 5.7.8 Error: authentication failed: authentication failure" {
		t.Error(got)
	}
	c.Close()
	<-c.done
	for _, line := range b.log() {
		if strings.ContainsAny(line, "\r\n") || strings.HasPrefix(line, "postfix") {
			t.Errorf("log line %q", line)
		}
	}
	b.logged(t, "sasl_username=joe??postfix/smtpd[1]: forged")
}
