package oracle

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// A tlsSetting is a set of parameters of one smtpd, and the clients that try it.
type tlsSetting struct {
	options []string
	clients string // names of tlsOffers
	ours    string // what Postern does otherwise on purpose; "" for the same
}

// tlsOffers are clients that know one version, or one cipher suite.
var tlsOffers = map[string]*tls.Config{
	"1.0":    {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
	"1.1":    {MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11},
	"1.2":    {MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12},
	"1.3":    {MinVersion: tls.VersionTLS13},
	"ecgcm":  suiteOnly(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
	"rsagcm": suiteOnly(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
	"rsacbc": suiteOnly(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA),
	"chacha": suiteOnly(tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
	"krsa":   suiteOnly(tls.TLS_RSA_WITH_AES_256_GCM_SHA384),
	"rc4":    suiteOnly(tls.TLS_RSA_WITH_RC4_128_SHA),
}

func suiteOnly(id uint16) *tls.Config {
	return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{id}}
}

// tlsSettings are the notations of the parameters. Postfix: the default lets in
// TLS 1.0 and 1.1, where OpenSSL has them.
var tlsSettings = []tlsSetting{
	{nil, "1.2 1.3 ecgcm rsagcm krsa rc4", ""},
	{[]string{"smtpd_tls_protocols = >=TLSv1.1"}, "1.0 1.1 1.2", ""},
	{[]string{"smtpd_tls_protocols = >=TLSv1.2"}, "1.1 1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = >=TLSv1.3"}, "1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = >= tlsv1.2, <=TLSV1.2"}, "1.1 1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = !SSLv2:!SSLv3:!TLSv1:!TLSv1.1"}, "1.0 1.1 1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = !TLSv1.3"}, "1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = TLSv1.2 TLSv1.3"}, "1.1 1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = TLSv1.1"}, "1.0 1.1 1.2", ""},
	{[]string{"smtpd_tls_protocols = >=0304"}, "1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = TLSv1.2 TLSv1.3 >=TLSv1.3"}, "1.2 1.3", ""},
	{[]string{"smtpd_tls_protocols = TLSv9"}, "1.3", ""},
	{[]string{"smtpd_tls_protocols = !TLSv9"}, "1.3", ""},
	{[]string{"smtpd_tls_protocols = TLSv9", "smtpd_tls_security_level = encrypt"}, "1.3", ""},
	{[]string{"smtpd_tls_mandatory_protocols = TLSv9", "smtpd_tls_security_level = encrypt"}, "1.3", ""},
	{[]string{"smtpd_tls_mandatory_protocols = >=TLSv1.3", "smtpd_tls_security_level = encrypt"}, "1.2 1.3", ""},
	{[]string{"smtpd_tls_ciphers = high"}, "1.3 rsagcm krsa", ""},
	{[]string{"smtpd_tls_ciphers = export"}, "rsagcm", ""},
	{[]string{"smtpd_tls_ciphers = nonsense"}, "1.3", "1.3: 454 4.7.0 TLS not available due to local problem"},
	{[]string{"smtpd_tls_exclude_ciphers = aRSA"}, "ecgcm rsagcm krsa", ""},
	{[]string{"smtpd_tls_exclude_ciphers = aECDSA, kRSA"}, "ecgcm rsagcm krsa", ""},
	{[]string{"smtpd_tls_exclude_ciphers = AES256+AESGCM:CHACHA20"}, "ecgcm rsagcm rsacbc chacha", ""},
	{[]string{"smtpd_tls_exclude_ciphers = nonsense"}, "rsagcm", ""},
	{[]string{"smtpd_tls_mandatory_exclude_ciphers = kRSA"}, "krsa", ""},
	{[]string{"smtpd_tls_mandatory_exclude_ciphers = kRSA", "smtpd_tls_exclude_ciphers = CHACHA20",
		"smtpd_tls_security_level = encrypt"}, "krsa chacha rsagcm", ""},
	{[]string{"tls_medium_cipherlist = ECDHE+AESGCM"}, "rsagcm rsacbc krsa", ""},
	{[]string{"tls_high_cipherlist = kRSA", "smtpd_tls_ciphers = high"}, "krsa rsagcm", ""},
	{[]string{"tls_medium_cipherlist = DEFAULT@SECLEVEL=0"}, "rsagcm", ""},
	{[]string{"smtpd_tls_fingerprint_digest = nonsense"}, "1.3", ""},
	{[]string{"smtpd_tls_CApath = /nonexistent"}, "1.3", ""},
	{[]string{"smtpd_tls_chain_files =", "smtpd_tls_cert_file = @DIR@/etc/rsa.pem"}, "rsagcm ecgcm 1.3", ""},
	{[]string{"smtpd_tls_chain_files =", "smtpd_tls_cert_file = @DIR@/etc/rsa.pem", "smtpd_tls_eccert_file = @DIR@/etc/ec.pem"}, "rsagcm ecgcm 1.2 1.3", ""},
	{[]string{"smtpd_tls_chain_files =", "smtpd_tls_dcert_file = @DIR@/etc/ec.pem", "smtpd_tls_cert_file = @DIR@/etc/rsa.pem"}, "ecgcm rsagcm",
		"ecgcm: 454 4.7.0 TLS not available due to local problem\nrsagcm: 454 4.7.0 TLS not available due to local problem"},
	{[]string{"smtpd_tls_chain_files = @DIR@/etc/ec.pem, @DIR@/etc/rsa.pem"}, "rsagcm ecgcm 1.2 1.3", ""},
}

// TestTLSSettings compares which clients get a session, of which version, with
// which cipher and certificate, or what they are told instead.
func TestTLSSettings(t *testing.T) {
	harness.Root(t)
	ec, rsaKey := ecChain(t, "ec.example.com"), rsaChain(t, "rsa.example.com")
	files := map[string]string{"ec.pem": ec, "rsa.pem": rsaKey, "chain.pem": rsaKey + ec}
	want := playSettings(t, harness.Postfix, files)
	got := playSettings(t, harness.Postern, files)
	for n, s := range tlsSettings {
		if s.ours != "" {
			want[n] = s.ours
		}
		if got[n] != want[n] {
			t.Errorf("%s\nPostfix:\n%s\nPostern:\n%s", strings.Join(s.options, ", "), want[n], got[n])
		}
	}
}

// playSettings starts one smtpd for each setting and returns what each client
// could do.
func playSettings(t *testing.T, system harness.System, files map[string]string) []string {
	t.Helper()
	ports := make([]int, len(tlsSettings))
	var master strings.Builder
	master.WriteString("tlsmgr unix - - n 1000? 1 tlsmgr\n")
	for n, s := range tlsSettings {
		ports[n] = harness.FreePort(t)
		fmt.Fprintf(&master, "127.0.0.1:%d inet n - n - - smtpd\n", ports[n])
		for _, o := range s.options {
			fmt.Fprintf(&master, "  -o { %s }\n", o)
		}
	}
	i := harness.New(t, system, harness.Config{
		Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\n", Master: master.String(), Files: files})
	i.Start()
	seen := make([]string, len(tlsSettings))
	var playing sync.WaitGroup
	free := make(chan bool, 4)
	for n, s := range tlsSettings {
		playing.Go(func() {
			free <- true
			defer func() { <-free }()
			var lines []string
			for _, name := range strings.Fields(s.clients) {
				lines = append(lines, name+": "+tryTLS(ports[n], tlsOffers[name]))
			}
			seen[n] = strings.Join(lines, "\n")
		})
	}
	playing.Wait()
	i.Stop()
	return seen
}

// tryTLS says how far a client comes.
func tryTLS(port int, offer *tls.Config) string {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(harness.Wait))
	r := bufio.NewReader(c)
	if greeting, err := r.ReadString('\n'); err != nil {
		return "no greeting"
	} else if !strings.HasPrefix(greeting, "220 ") {
		return strings.TrimSpace(greeting)
	}
	fmt.Fprint(c, "STARTTLS\r\n")
	if reply, err := r.ReadString('\n'); err != nil {
		return "no reply to STARTTLS"
	} else if !strings.HasPrefix(reply, "220 ") {
		return strings.TrimSpace(reply)
	}
	conf := offer.Clone()
	conf.InsecureSkipVerify, conf.CurvePreferences = true, []tls.CurveID{tls.X25519, tls.CurveP256}
	s := tls.Client(c, conf)
	if err := s.Handshake(); err != nil {
		return "no session"
	}
	fmt.Fprint(s, "QUIT\r\n")
	cs := s.ConnectionState()
	text := tls.VersionName(cs.Version) + " " + cs.PeerCertificates[0].Subject.CommonName
	if len(offer.CipherSuites) > 0 {
		text += " " + tls.CipherSuiteName(cs.CipherSuite)
	}
	return text
}

func rsaChain(t *testing.T, name string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, name, &key.PublicKey, key)
}

func ecChain(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, name, &key.PublicKey, key)
}

// selfSigned makes a chain file of one key.
func selfSigned(t *testing.T, name string, public, private any) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
