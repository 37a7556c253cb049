package smtpclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/internal/deliver/agent/agenttest"
	"postern/internal/ipc/delivery"
)

// certificate makes a self-signed certificate for names, and writes it to path.
func certificate(t *testing.T, path string, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func colons(sum [32]byte) string {
	var parts []string
	for _, b := range sum {
		parts = append(parts, fmt.Sprintf("%02X", b))
	}
	return strings.Join(parts, ":")
}

const startTLS = `
S: 220 test.example ESMTP
C: EHLO mx.example
S: 250-test.example
S: 250 STARTTLS
C: STARTTLS
S: 220 2.0.0 go
T:
C: EHLO mx.example
S: 250-test.example
S: 250 PIPELINING
`

var cipher = regexp.MustCompile(`: TLSv1.*`)

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert := certificate(t, filepath.Join(dir, "cert"), "mx.test.example", "*.wild.example")
	print := colons(sha256.Sum256(cert.Certificate[0]))
	const name = "127.0.0.1[127.0.0.1]"
	const relay = "ID: to=<b@b.example>, relay=" + name + ":PORT1, delay=N, "
	sent := func(level string) string { return relay + "tls=" + level + ", dsn=2.0.0, status=sent (250 2.0.0 Ok)" }
	bad := relay + "tls=%s, dsn=4.7.5, status=deferred (Server certificate not verified)"
	established := func(trust string) string {
		return trust + " TLS connection established to " + name + ":PORT1"
	}
	ca := "\nsmtp_tls_CAfile = " + filepath.Join(dir, "cert")
	tests := []struct {
		name, config, script string
		want                 []string
	}{
		{"may", "smtp_tls_security_level = may", startTLS + take, []string{established("Untrusted"), sent("may")}},
		{"encrypt, trusted", "smtp_tls_security_level = encrypt" + ca, startTLS + take, []string{established("Trusted"), sent("encrypt")}},
		{"fingerprint by policy", "smtp_tls_policy_maps = static:{fingerprint match=" + print + "}\nsmtp_tls_fingerprint_digest = sha256", startTLS + take,
			[]string{established("Verified"), sent("fingerprint")}},
		{"wrong fingerprint", "smtp_tls_policy_maps = static:{fingerprint match=AA:BB}\nsmtp_tls_fingerprint_digest = sha256", startTLS[:strings.Index(startTLS, "T:")+3] + "C: QUIT",
			[]string{"server certificate verification failed for " + name + ":PORT1: num=65:no matching DANE TLSA records", established("Untrusted"), fmt.Sprintf(bad, "!fingerprint")}},
		{"verify", "smtp_tls_policy_maps = static:{verify match=mx.test.example}" + ca, startTLS + take, []string{established("Verified"), sent("verify")}},
		{"verify below", "smtp_tls_policy_maps = static:{secure match=.test.example}" + ca, startTLS + take, []string{established("Verified"), sent("secure")}},
		{"verify wildcard", "smtp_tls_policy_maps = static:{secure match=a.wild.example}" + ca, startTLS + take, []string{established("Verified"), sent("secure")}},
		{"verify wrong name", "smtp_tls_policy_maps = static:{verify match=wild.example}" + ca, startTLS[:strings.Index(startTLS, "T:")+3] + "C: QUIT",
			[]string{"server certificate verification failed for " + name + ":PORT1: num=62:hostname mismatch", established("Untrusted"), fmt.Sprintf(bad, "!verify")}},
		{"verify untrusted", "smtp_tls_policy_maps = static:{verify match=mx.test.example}", startTLS[:strings.Index(startTLS, "T:")+3] + "C: QUIT",
			[]string{"certificate verification failed for " + name + ":PORT1: self-signed certificate", established("Untrusted"), fmt.Sprintf(bad, "!verify")}},
		{"refused under may", "smtp_tls_security_level = may",
			strings.Replace(startTLS[:strings.Index(startTLS, "T:")], "220 2.0.0 go", "454 4.7.0 no", 1) + `
C: MAIL FROM:<a@a.example>
S: 250 2.1.0 Ok
C: RCPT TO:<b@b.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 go ahead
D:
S: 250 2.0.0 Ok
C: QUIT`,
			[]string{sent("may:none")}},
		{"refused under encrypt", "smtp_tls_security_level = encrypt",
			strings.Replace(startTLS[:strings.Index(startTLS, "T:")], "220 2.0.0 go", "454 4.7.0 no", 1) + "C: QUIT",
			[]string{relay + "tls=!encrypt:none, dsn=4.7.0, status=deferred (TLS is required, but host " + name + " refused to start TLS: 454 4.7.0 no)"}},
		{"handshake fails", "smtp_tls_security_level = may", startTLS[:strings.Index(startTLS, "T:")] + "B:\nS: garbage\nX:",
			[]string{"SSL_connect error to " + name + ":PORT1: -1", "warning: TLS library problem: *", relay + "tls=may?, dsn=4.7.5, status=deferred (Cannot start TLS: handshake failure)"}},
		{"dane in a policy", "smtp_tls_policy_maps = static:dane", "-",
			[]string{"warning: smtp_tls_policy_maps, next-hop destination \"[127.0.0.1]:PORT1\": the \"dane\" security level is not supported",
				"warning: TLS policy lookup for [127.0.0.1]:PORT1/127.0.0.1: client TLS configuration problem",
				"ID: to=<b@b.example>, relay=none, delay=N, dsn=4.7.5, status=deferred (client TLS configuration problem)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := deliverTLS(t, cert, tt.config, nil, tt.script)
			for i := range got {
				if text, ok := strings.CutPrefix(got[i], "warning: TLS library problem: "); ok && text != "" {
					got[i] = "warning: TLS library problem: *"
				}
			}
			wantLines(t, got, tt.want...)
		})
	}
}

// deliverTLS makes one delivery to a server with a certificate.
func deliverTLS(t *testing.T, cert tls.Certificate, config string, change func(*delivery.Request), scripts ...string) []string {
	t.Helper()
	if scripts[0] == "-" {
		scripts = nil
	}
	s := serve(t, scripts...)
	s.tls = func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}) }
	var c *Client
	var in *agenttest.Instance
	c, in = start(t, SMTP, config+"\nsmtp_tls_loglevel = 1\n")
	req := in.Message(t, "a@a.example", message1, "b@b.example")
	req.Nexthop = "[127.0.0.1]:" + s.port
	if change != nil {
		change(req)
	}
	c.kit.Do(t.Context(), req, c.Deliver)
	got := lines(in, req, s.port)
	for i := range got {
		got[i] = cipher.ReplaceAllString(got[i], "")
	}
	return got
}

// TestPlainRetry sends mail that has waited for a while without TLS when the
// handshake fails.
func TestPlainRetry(t *testing.T) {
	got := deliverTLS(t, tls.Certificate{}, "smtp_tls_security_level = may", func(r *delivery.Request) {
		r.Times.Arrival = r.Times.ActiveArrival.Add(-time.Hour)
	}, startTLS[:strings.Index(startTLS, "T:")]+"B:\nS: garbage\nX:", offers()+take)
	if len(got) != 4 || !strings.Contains(got[2], "ID: Cannot start TLS: handshake failure") || !strings.Contains(got[3], "status=sent") {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
}

// TestCRAMMD5 is the example of RFC 2195.
func TestCRAMMD5(t *testing.T) {
	got, err := cramMD5("tim", "tanstaaftanstaaf", []byte("<1896.697170952@postoffice.reston.mci.net>"), 0)
	if want := "tim b913a602c7eda7a495b4e6e7334d3890"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestSASL(t *testing.T) {
	const hello = "S: 220 test ESMTP\nC: EHLO mx.example\nS: 250-test\nS: 250-PIPELINING\nS: 250 AUTH CRAM-MD5 LOGIN PLAIN\n"
	const maps = "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:user:pass\n"
	const name = "127.0.0.1[127.0.0.1]"
	tests := []struct {
		name, config, script, want string
	}{
		{"CRAM-MD5", maps, hello + "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: *\nS: 235 ok" + take, "status=sent (250 2.0.0 Ok)"},
		{"PLAIN", maps + "smtp_sasl_mechanism_filter = plain\nsmtp_sasl_security_options =", hello + "C: AUTH PLAIN AHVzZXIAcGFzcw==\nS: 235 ok" + take, "status=sent (250 2.0.0 Ok)"},
		{"LOGIN", maps + "smtp_sasl_mechanism_filter = !cram-md5, login\nsmtp_sasl_security_options = noanonymous",
			hello + "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: cGFzcw==\nS: 235 ok" + take, "status=sent (250 2.0.0 Ok)"},
		{"no mechanism", maps + "smtp_sasl_mechanism_filter = plain", hello + "C: QUIT",
			"dsn=4.7.0, status=deferred (SASL authentication failed: server " + name + " offered no compatible authentication mechanisms for this type of connection security)"},
		{"refused", maps, hello + "C: AUTH CRAM-MD5\nS: 334 PDE+\nC: *\nS: 535 5.7.8 no\nC: QUIT",
			"dsn=4.7.8, status=deferred (SASL authentication failed; server " + name + " said: 535 5.7.8 no)"},
		{"no password", "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = inline:{x=y}\n", hello + take, "status=sent (250 2.0.0 Ok)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, log := one(t, tt.config, tt.script, message1, nil)
			if len(log) == 0 || !strings.HasSuffix(log[len(log)-1], tt.want) {
				t.Errorf("got %q, want %s", log, tt.want)
			}
		})
	}
}

// TestTLSNotRequired sends a message that says so without TLS.
func TestTLSNotRequired(t *testing.T) {
	change := func(r *delivery.Request) { r.SendOpts = delivery.SendTLSNotReq }
	_, log := one(t, "smtp_tls_security_level = encrypt", offers()+take, message1, change)
	if len(log) != 1 || !strings.Contains(log[0], "tls=may:none, dsn=2.0.0, status=sent") {
		t.Errorf("got %q", log)
	}
	_, log = one(t, "smtp_tls_security_level = encrypt\ntls_required_enable = no", offers()+"C: QUIT", message1, change)
	if len(log) != 1 || !strings.Contains(log[0], "status=deferred (TLS is required") {
		t.Errorf("got %q", log)
	}
}

func TestKnownPorts(t *testing.T) {
	ports, err := knownPorts("a=b=1, c=2")
	if err != nil || ports["a"] != 1 || ports["b"] != 1 || ports["c"] != 2 {
		t.Errorf("got %v, %v", ports, err)
	}
	for _, bad := range []string{"a", "=", "a=0", "a=x"} {
		if _, err := knownPorts(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
