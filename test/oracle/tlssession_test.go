package oracle

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// A tlsClient is a client with its own ideas of TLS.
type tlsClient struct {
	name string
	conf *tls.Config
}

// TestTLSSessions has clients with and without certificates talk to both
// systems and compares replies, certificates, trace fields and log lines.
func TestTLSSessions(t *testing.T) {
	harness.Root(t)
	known, other := harness.NewAuthority(t, "Known Issuer"), harness.NewAuthority(t, "Other Issuer")
	server, sni := known.Issue(t, "mail.example.com", time.Hour), known.Issue(t, "sni.example.com", time.Hour)
	listed := other.Issue(t, "listed.example", time.Hour)
	refused := known.Issue(t, "refused.example", time.Hour)
	files := map[string]string{
		"chain.pem": server, "ca.pem": known.PEM, "sni.pem": sni,
		"sni":    "sni.example.com @DIR@/etc/sni.pem\n.sub.example.com @DIR@/etc/sni.pem\n",
		"certs":  keyPrint(t, listed) + " listed\n",
		"ccerts": certPrint(t, refused) + " 554 not this one\n",
	}
	resumed := tls.NewLRUClientSessionCache(4)
	with := func(text string) *tls.Config {
		return &tls.Config{GetClientCertificate: harness.ClientCertificate(t, text)}
	}
	old := with(known.Issue(t, "client.example", time.Hour))
	old.MaxVersion = tls.VersionTLS12
	clients := []tlsClient{
		{"no certificate", &tls.Config{}},
		{"trusted", with(known.Issue(t, "client.example", time.Hour))},
		{"trusted, TLS 1.2", old},
		{"unknown issuer", with(other.Issue(t, "rogue.example", time.Hour))},
		{"expired", with(known.Issue(t, "late.example", -time.Hour))},
		{"listed by its key", with(listed)},
		{"refused by its fingerprint", with(refused)},
		{"asks for a name", &tls.Config{ServerName: "SNI.example.com"}},
		{"asks for a name below a domain", &tls.Config{ServerName: "a.b.sub.example.com"}},
		{"asks for another name", &tls.Config{ServerName: "else.example.com"}},
		{"first session", &tls.Config{ClientSessionCache: resumed, ServerName: "else.example.com"}},
		{"session again", &tls.Config{ClientSessionCache: resumed, ServerName: "else.example.com"}},
		{"too old", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
		{"no common cipher", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}},
		{"is not content", &tls.Config{VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return errors.New("no") }}},
	}
	got := map[string][]string{}
	for _, system := range []harness.System{harness.Postfix, harness.Postern} {
		i := harness.New(t, system, harness.Config{
			Main: `smtpd_tls_security_level = may
smtpd_tls_chain_files = @DIR@/etc/chain.pem
smtpd_tls_CAfile = @DIR@/etc/ca.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 2
smtpd_tls_protocols = >=TLSv1.2
smtpd_tls_fingerprint_digest = sha256
tls_server_sni_maps = hash:@DIR@/etc/sni
mynetworks = 192.0.2.1
relay_clientcerts = hash:@DIR@/etc/certs
smtpd_client_restrictions = check_ccert_access hash:@DIR@/etc/ccerts
smtpd_relay_restrictions = permit_tls_clientcerts, permit_tls_all_clientcerts, reject_unauth_destination
default_transport = discard
`,
			Master: "tlsmgr unix - - n 1000? 1 tlsmgr\n",
			Files:  files,
		})
		for _, table := range []string{"certs", "ccerts"} {
			if out, status := i.Run("", "postmap", "hash:"+i.Dir+"/etc/"+table); status != 0 {
				t.Fatal(out)
			}
		}
		if out, status := i.Run("", "postmap", "-F", "hash:"+i.Dir+"/etc/sni"); status != 0 {
			t.Fatal(out)
		}
		i.Start()
		for _, c := range clients {
			conf := c.conf.Clone()
			conf.InsecureSkipVerify, conf.CurvePreferences = true, []tls.CurveID{tls.X25519, tls.CurveP256}
			got[system.Name] = append(got[system.Name], tlsDialogue(t, i, c.name, conf)...)
		}
	}
	for n, want := range got["postfix"] {
		if n >= len(got["postern"]) || got["postern"][n] != want {
			t.Fatalf("Postfix:\n%s\nPostern:\n%s", strings.Join(got["postfix"], "\n"), strings.Join(got["postern"], "\n"))
		}
	}
}

// tlsDialogue plays one session and returns what could be seen of it.
func tlsDialogue(t *testing.T, i *harness.Instance, name string, conf *tls.Config) []string {
	t.Helper()
	before := len(i.Log())
	seen := []string{"# " + name}
	c, err := net.Dial("tcp", i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(harness.Wait))
	r := bufio.NewReader(c)
	say := func(w net.Conn, command string, note bool) {
		if command != "" {
			fmt.Fprint(w, command+"\r\n")
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if len(line) > 3 && line[3] != '-' {
				if note {
					seen = append(seen, command+": "+strings.TrimSpace(line))
				}
				return
			}
		}
	}
	say(c, "", false)
	say(c, "EHLO client.example", false)
	say(c, "STARTTLS", false)
	s := tls.Client(c, conf)
	if err := s.Handshake(); err == nil {
		seen = append(seen, "certificate: "+s.ConnectionState().PeerCertificates[0].Subject.CommonName, fmt.Sprint("resumed: ", s.ConnectionState().DidResume))
		r = bufio.NewReader(s)
		say(s, "EHLO client.example", false)
		say(s, "MAIL FROM:<a@client.example>", false)
		say(s, "RCPT TO:<b@elsewhere.example>", true)
		say(s, "RSET", false)
		say(s, "MAIL FROM:<a@client.example>", false)
		say(s, "RCPT TO:<alice@example.com>", true)
		if !strings.Contains(seen[len(seen)-1], ": 554") {
			say(s, "DATA", false)
			say(s, "Subject: x\r\n\r\nx\r\n.", false)
			seen = append(seen, received(t, i, "alice")...)
		}
		say(s, "QUIT", false)
	}
	c.Close()
	i.Until("the session has ended in the log", func() bool {
		return strings.Contains(i.Log()[before:], ": disconnect from")
	})
	return append(seen, tlsLines(i.Log()[before:])...)
}

// received waits for the message in a user's mailbox and returns its trace
// field.
func received(t *testing.T, i *harness.Instance, user string) []string {
	t.Helper()
	var files []string
	i.Until(user+" has mail", func() bool {
		files, _ = filepath.Glob(i.Host("mail/" + user + "/new/*"))
		return len(files) > 0
	})
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(files[0])
	text, _, _ := strings.Cut(string(b), "\nSubject: x")
	_, text, _ = strings.Cut(text, "Received: ")
	text, _, _ = strings.Cut(text, "\tby ")
	return strings.Split(strings.TrimSpace(text), "\n")
}

var (
	tlsLine    = regexp.MustCompile(`postfix/smtpd\[\d+\]: (.*(?:TLS connection established|subject_CN=|Reusing old|SSL_accept error|lost connection|starttls=).*)`)
	libraryErr = regexp.MustCompile(`TLS library problem: .*`)
)

func tlsLines(log string) []string {
	var lines []string
	for _, m := range tlsLine.FindAllStringSubmatch(log, -1) {
		if !strings.Contains(m[1], "SSL_accept:") {
			lines = append(lines, m[1])
		}
	}
	if libraryErr.MatchString(log) {
		lines = append(lines, "TLS library problem")
	}
	return slices.Compact(lines)
}

func parseCert(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	_, rest, _ := strings.Cut(text, "-----END PRIVATE KEY-----\n")
	b, _ := pem.Decode([]byte(rest))
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certPrint(t *testing.T, text string) string {
	return colons(sha256.Sum256(parseCert(t, text).Raw))
}

func keyPrint(t *testing.T, text string) string {
	return colons(sha256.Sum256(parseCert(t, text).RawSubjectPublicKeyInfo))
}

func colons(sum [32]byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}
