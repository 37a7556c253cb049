package starttls

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/base/maillog"
)

// connect makes a session of a client with a server and returns the client's
// view of it.
func connect(t *testing.T, s *Server, conf *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		sess, err := s.Handshake(context.Background(), c, "unknown[192.0.2.1]", 10*time.Second)
		if err == nil {
			io.WriteString(sess, "x")
			io.Copy(io.Discard, sess)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conf.InsecureSkipVerify = true
	tc := tls.Client(c, conf)
	tc.SetDeadline(time.Now().Add(time.Minute))
	if err = tc.Handshake(); err == nil {
		_, err = io.ReadFull(tc, make([]byte, 1)) // what arrives before it are tickets
	}
	tc.Close()
	<-done
	return tc.ConnectionState(), err
}

func open(t *testing.T, p ServerParams, a Around) (*Server, func() []string) {
	t.Helper()
	log, lines := maillog.Record()
	a.Log = log
	p.SecurityLevel, p.Ciphers, p.FingerprintDigest, p.LogLevel = "may", "medium", "sha256", "2"
	s, err := p.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.certs.every = 0
	return s, lines
}

// A table has certificates by name; other names get the usual one.
func TestSNI(t *testing.T) {
	dir := t.TempDir()
	writeCert(t, filepath.Join(dir, "main"), "mail.example")
	writeCert(t, filepath.Join(dir, "other"), "other.example")
	text, _ := os.ReadFile(filepath.Join(dir, "other"))
	maps := map[string]string{"other.example": base64.StdEncoding.EncodeToString(text), ".sub.example": base64.StdEncoding.EncodeToString(text),
		"raw.example": "/etc/chain.pem", "bad.example": base64.StdEncoding.EncodeToString([]byte("x"))}
	s, lines := open(t, ServerParams{chainFiles: filepath.Join(dir, "main")}, Around{SNI: func(_ context.Context, name string) (string, bool, error) {
		if name == "down.example" {
			return "", false, errors.New("no answer")
		}
		v, ok := maps[name]
		return v, ok, nil
	}})
	for _, tt := range []struct{ ask, want string }{
		{"", "mail.example"}, {"OTHER.example", "other.example"}, {"a.b.sub.example", "other.example"}, {"sub.example", "mail.example"},
		{"unknown.example", "mail.example"}, {"raw.example", ""}, {"bad.example", ""}, {"down.example", ""},
	} {
		cs, err := connect(t, s, &tls.Config{ServerName: tt.ask})
		got := ""
		if err == nil {
			got = cs.PeerCertificates[0].Subject.CommonName
		}
		if got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.ask, got, err, tt.want)
		}
	}
	all := strings.Join(lines(), "\n")
	for _, want := range []string{"not base64: build the table with \"postmap -F\"", "entry \"bad.example\": no private key", "lookup of \"down.example\": no answer",
		"established from unknown[192.0.2.1] to OTHER.example: ", "TLS SNI unknown.example from unknown[192.0.2.1] not matched"} {
		if !strings.Contains(all, want) {
			t.Errorf("the log has no %q:\n%s", want, all)
		}
	}
	for _, name := range []string{"a..b", "a/b", strings.Repeat("x", 300), "a b", ""} {
		if validHost(name) {
			t.Errorf("%q may be asked for", name)
		}
	}
	s, _ = open(t, ServerParams{Keys: KeyFiles{Cert: "none"}}, Around{SNI: func(context.Context, string) (string, bool, error) { return maps["other.example"], true, nil }})
	if cs, err := connect(t, s, &tls.Config{ServerName: "x.example"}); err != nil || cs.PeerCertificates[0].Subject.CommonName != "other.example" {
		t.Errorf("without a usual certificate: %v", err)
	}
}

// One file may hold keys of several kinds; a client gets one that it knows.
func TestSeveralKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain")
	writeCert(t, path, "ecdsa.example")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rsa.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	f, _ := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	pem.Encode(f, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	f.Close()
	s, _ := open(t, ServerParams{chainFiles: path}, Around{})
	for suite, want := range map[uint16]string{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "rsa.example", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ecdsa.example"} {
		cs, err := connect(t, s, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		if err != nil || cs.PeerCertificates[0].Subject.CommonName != want {
			t.Errorf("want %s: %v", want, err)
		}
	}
	// A client that can use both gets the kind that it names first.
	for want, c := range map[string]*tls.ClientHelloInfo{
		"rsa.example": {SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
			SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256}, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256}},
		"ecdsa.example": {SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
			SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}},
	} {
		if chosen, err := s.certificate(c); err != nil || chosen.Leaf.Subject.CommonName != want {
			t.Errorf("TLS 1.3: want %s: %v", want, err)
		}
	}
	for want, list := range map[string][]uint16{
		"rsa.example":   {tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		"ecdsa.example": {tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	} {
		c := &tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS12}, CipherSuites: list, SupportedPoints: []uint8{0},
			SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}}
		if chosen, err := s.certificate(c); err != nil || chosen.Leaf.Subject.CommonName != want {
			t.Errorf("TLS 1.2: want %s: %v", want, err)
		}
	}
}

// A ticket of one process is good in another one that has the same keys.
func TestTickets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain")
	writeCert(t, path, "mail.example")
	keys := [][32]byte{{1}}
	asked := 0
	around := Around{Tickets: func(context.Context) ([][32]byte, time.Duration, error) {
		asked++
		return keys, time.Hour, nil
	}}
	params := ServerParams{chainFiles: path, CacheTimeout: time.Hour}
	var servers [2]*Server
	for i := range servers {
		servers[i], _ = open(t, params, around)
	}
	cache := tls.NewLRUClientSessionCache(1)
	for n, tt := range []struct {
		server int
		resume bool
	}{{0, false}, {1, true}, {0, true}} {
		cs, err := connect(t, servers[tt.server], &tls.Config{ClientSessionCache: cache, ServerName: "x"})
		if err != nil || cs.DidResume != tt.resume {
			t.Errorf("session %d: resumed %v, %v", n, cs.DidResume, err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times for keys", asked)
	}
	s, lines := open(t, params, Around{Tickets: func(context.Context) ([][32]byte, time.Duration, error) { return nil, 0, errors.New("no service") }})
	for range 2 {
		if _, err := connect(t, s, &tls.Config{}); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(strings.Join(lines(), "\n"), "resumed within one process only: no service"); n != 1 {
		t.Errorf("said %d times that there are no keys", n)
	}
	params.Options = "NO_COMPRESSION, no_ticket"
	s, _ = open(t, params, around)
	for range 2 {
		if cs, err := connect(t, s, &tls.Config{ClientSessionCache: cache, ServerName: "y"}); err != nil || cs.DidResume {
			t.Errorf("resumed without tickets: %v", err)
		}
	}
}

// Files that may not be read any more are told of; ones that cannot be used at
// start leave a server that has no certificate until they change.
func TestLostFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	os.Mkdir(dir, 0o700)
	path := filepath.Join(dir, "chain")
	os.WriteFile(path, []byte("nothing"), 0o600)
	var lost []string
	s, lines := open(t, ServerParams{chainFiles: path}, Around{Lost: func(p string) { lost = append(lost, p) }})
	if s.Available() {
		t.Error("available without a certificate")
	}
	if got := strings.Join(lines(), "\n"); !strings.Contains(got, path+": no private key; TLS is not available") {
		t.Errorf("log: %s", got)
	}
	future := time.Now().Add(time.Hour)
	writeCert(t, path, "mail.example")
	os.Chtimes(path, future, future)
	if !s.Available() {
		t.Error("not available after the file was put right")
	}
	os.Rename(dir, dir+".old") // as it looks from another root
	writeCert(t, filepath.Join(dir+".old", "chain"), "new.example")
	for deadline := time.Now().Add(time.Minute); len(lost) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s.Available()
	}
	if len(lost) == 0 || lost[0] != path || !s.Available() {
		t.Errorf("told of %q, available %v", lost, s.Available())
	}
}

// What the client offers is said where nothing is in common.
func TestFailureText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain")
	writeCert(t, path, "mail.example")
	s, lines := open(t, ServerParams{chainFiles: path}, Around{})
	if _, err := connect(t, s, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("no error")
	}
	want := "TLS library problem: tls: client offered only unsupported versions: [302 301]; the client offers TLSv1.1, TLSv1 with "
	if got := strings.Join(lines(), "\n"); !strings.Contains(got, want) || !strings.Contains(got, "SSL_accept error from unknown[192.0.2.1]: -1") {
		t.Errorf("log: %s", got)
	}
}

func FuzzParseChains(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if certs, err := parseChains(text); err == nil && len(certs) == 0 {
			t.Fatal("no certificate and no error")
		}
	})
}

func FuzzCipherList(f *testing.F) {
	f.Add("HIGH:!aNULL:-AES+SHA1:+3DES:@STRENGTH")
	f.Fuzz(func(t *testing.T, list string) {
		for _, id := range cipherList(list) {
			if _, bits := CipherName(id); bits == 0 {
				t.Fatalf("%q: suite %x", list, id)
			}
		}
	})
}
