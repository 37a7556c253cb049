package starttls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
)

func TestParseProtocols(t *testing.T) {
	tests := []struct {
		in       string
		min, max uint16
		ok       bool
	}{
		{">=TLSv1", tls.VersionTLS12, 0, true},
		{"", tls.VersionTLS12, 0, true},
		{">=TLSv1.0", tls.VersionTLS10, 0, true},
		{"!SSLv2, !SSLv3", tls.VersionTLS12, 0, true},
		{"!SSLv2,!SSLv3,!TLSv1,!TLSv1.1", tls.VersionTLS12, 0, true},
		{">=TLSv1.3", tls.VersionTLS13, 0, true},
		{">=TLSv1.2, <=TLSv1.2", tls.VersionTLS12, tls.VersionTLS12, true},
		{"TLSv1.2 TLSv1.3", tls.VersionTLS12, tls.VersionTLS13, true},
		{"TLSv1", tls.VersionTLS10, tls.VersionTLS10, true},
		{"!TLSv1.3", tls.VersionTLS12, tls.VersionTLS12, true},
		{"!TLSv1.2 !TLSv1.3", 0, 0, false},
		{"SSLv3", 0, 0, false},
		{"TLSv9", 0, 0, false},
		{"=TLSv1.2", 0, 0, false},
		{">= TLSv1.3", tls.VersionTLS13, 0, true},
		{"TLSv1.2, TLSv1.3, >=TLSv1.3", tls.VersionTLS13, tls.VersionTLS13, true},
		{"TLSv1.2, TLSv1.3, <=TLSv1.2", tls.VersionTLS12, tls.VersionTLS12, true},
		{"TLSv1.2 >=TLSv1.3", 0, 0, false},
	}
	for _, tt := range tests {
		v, err := ParseProtocols(tt.in)
		if (err == nil) != tt.ok || tt.ok && (v.Min != tt.min || v.Max != tt.max) {
			t.Errorf("ParseProtocols(%q) = %x, %v", tt.in, v, err)
		}
	}
}

func TestCiphers(t *testing.T) {
	all, err := Ciphers("medium")
	if err != nil {
		t.Fatal(err)
	}
	some, err := Ciphers("high", "aECDSA, kRSA", "AES256+SHA1")
	if err != nil || len(some) == 0 || len(some) >= len(all) {
		t.Fatalf("got %d of %d ciphers, %v", len(some), len(all), err)
	}
	for _, id := range some {
		if name, bits := CipherName(id); bits == 0 || !strings.HasPrefix(name, "ECDHE-RSA") || name == "ECDHE-RSA-AES256-SHA" {
			t.Errorf("cipher %s is left", name)
		}
	}
	for _, grade := range []string{"null", "nonsense"} {
		if _, err := Ciphers(grade); err == nil {
			t.Errorf("no error for grade %s", grade)
		}
	}
	if _, err := Ciphers("high", "ALL"); err == nil {
		t.Error("no error without ciphers")
	}
}

// Lists mean what they mean to OpenSSL, as far as the suites go that both have.
func TestCipherListAsOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("required: openssl")
		}
		t.Skip("no openssl")
	}
	for _, list := range []string{defaultHigh, defaultMedium, "ALL", "DEFAULT", "HIGH:!aNULL", "HIGH:!aNULL:!MD5", "ECDHE+AESGCM:ECDHE+CHACHA20",
		"kRSA", "RSA", "aRSA", "ECDSA", "AES128", "AES256:-SHA1", "HIGH:!SHA1", "HIGH:!SHA256:!SHA384", "EECDH+AES128:RSA+AES128", "TLSv1.2", "TLSv1", "TLSv1.0", "SSLv3",
		"ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", "ALL:!kRSA:!CHACHA20", "HIGH:-AES256:+AES128", "CHACHA20:@STRENGTH", "SHA256", "HIGH:!SHA256", "ECDHE-RSA-AES128-SHA256:AES128-SHA256", "CBC", "SUITEB128", "SUITEB192", "SUITEB128ONLY", "COMPLEMENTOFDEFAULT", "aECDSA+AESGCM,AES256-SHA", "nonsense:AESGCM",
		"EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH", "HIGH:@SECLEVEL=1:!kEECDH", "DEFAULT@SECLEVEL=0"} {
		out, err := exec.Command("openssl", "ciphers", list).Output()
		if err != nil {
			t.Errorf("%s: openssl: %v", list, err)
			continue
		}
		theirs := map[string]bool{}
		for name := range strings.SplitSeq(strings.TrimSpace(string(out)), ":") {
			theirs[name] = true
		}
		ours := map[string]bool{}
		for _, id := range cipherList(list) {
			name, _ := CipherName(id)
			ours[name] = true
		}
		for i := range suites {
			s := &suites[i]
			if s.keywords != "" && !s.deprecate && ours[s.name] != theirs[s.name] {
				t.Errorf("%s: %s: ours %v, OpenSSL %v", list, s.name, ours[s.name], theirs[s.name])
			}
		}
	}
}

// Suites that must be named are in no class, and go with each of theirs.
func TestDeprecatedSuites(t *testing.T) {
	for _, tt := range []struct {
		list string
		want int
	}{
		{"HIGH+SHA256", 0}, {"ALL+3DES", 0}, {"ECDHE-RSA-AES128-SHA256", 1}, {"SHA256", 3}, {"SHA256:!AES128", 0}, {"AES128-SHA256:-kRSA", 0},
		{"DES-CBC3-SHA:!SHA1", 0}, {"3DES", 2}, {"3DES:-ALL", 0},
	} {
		if got := cipherList(tt.list); len(got) != tt.want {
			t.Errorf("%s: got %x, want %d", tt.list, got, tt.want)
		}
	}
}

// The names of suites that only others have are OpenSSL's.
func TestForeignNames(t *testing.T) {
	for id, want := range map[uint16]string{0x009e: "DHE-RSA-AES128-GCM-SHA256", 0x0039: "DHE-RSA-AES256-SHA", 0x0004: "RC4-MD5", 0xfffe: "0xFFFE"} {
		if got, bits := CipherName(id); got != want || bits != 0 {
			t.Errorf("%04x: got %s, %d bits, want %s", id, got, bits, want)
		}
	}
}

// writeCert puts a chain file with a fresh key into dir.
func writeCert(t *testing.T, path, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := x509.MarshalPKCS8PrivateKey(key)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shake makes a session and returns the name in the server's certificate.
func shake(t *testing.T, s *Server) (name string, sess *Session) {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	done := make(chan *Session, 1)
	go func() {
		sess, err := s.Handshake(context.Background(), here, "unknown[192.0.2.1]", time.Minute)
		if err != nil {
			t.Error(err)
		}
		done <- sess
	}()
	c := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	go c.Read(make([]byte, 1)) // tickets
	sess = <-done
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, sess
}

func TestServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain.pem")
	writeCert(t, path, "one.example")
	log, lines := maillog.Record()
	p := ServerParams{chainFiles: path, SecurityLevel: "may", Ciphers: "medium", FingerprintDigest: "sha256", LogLevel: "1"}
	s, err := p.Open(Around{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.certs.every = 0
	defer s.Close()
	name, sess := shake(t, s)
	if name != "one.example" || sess == nil || sess.Protocol != "TLSv1.3" {
		t.Errorf("got certificate %s, session %+v", name, sess)
	}
	want := "Anonymous TLS connection established from unknown[192.0.2.1]: TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits) key-exchange X25519MLKEM768 server-signature ECDSA (prime256v1) server-digest SHA256"
	if got := strings.Join(lines(), "\n"); !strings.Contains(got, want) {
		t.Errorf("log %q\nwant %q", got, want)
	}

	writeCert(t, path, "two.example")
	future := time.Now().Add(10 * time.Second)
	os.Chtimes(path, future, future)
	if name, _ := shake(t, s); name != "two.example" {
		t.Errorf("after the change: certificate %s", name)
	}

	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, _ := shake(t, s); name != "two.example" {
		t.Errorf("with a broken file: certificate %s", name)
	}
	if got := strings.Join(lines(), "\n"); !strings.Contains(got, "going on with those read before") {
		t.Errorf("log %q says nothing of the broken file", got)
	}
}

func TestServerRefusals(t *testing.T) {
	log, _ := maillog.Record()
	tests := []struct {
		name string
		p    ServerParams
	}{
		{"no certificate", ServerParams{SecurityLevel: "encrypt"}},
		{"raw keys", ServerParams{SecurityLevel: "may", EnableRPK: true}},
		{"level", ServerParams{SecurityLevel: "sometimes", chainFiles: "/x"}},
	}
	for _, tt := range tests {
		if _, err := tt.p.Open(Around{Log: log}); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
	p := ServerParams{SecurityLevel: "may"}
	if s, err := p.Open(Around{Log: log}); s != nil || err != nil {
		t.Errorf("may without a certificate: %v, %v", s, err)
	}
}

func FuzzParseProtocols(f *testing.F) {
	f.Add(">=TLSv1.2, !SSLv3")
	f.Add("0304 <=0x303")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := ParseProtocols(s); err == nil && (v.Min < tls.VersionTLS10 || v.Max != 0 && v.Max < v.Min) {
			t.Errorf("%q gives %x", s, v)
		}
	})
}
