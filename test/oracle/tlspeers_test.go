package oracle

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// TestPeersThatGoRefuses has Postfix deliver with versions, ciphers and groups
// that crypto/tls does not take: the mail comes in plain text, and the log says
// what the client offers.
func TestPeersThatGoRefuses(t *testing.T) {
	harness.Root(t)
	server := harness.New(t, harness.Postern, harness.Config{
		Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\nsmtpd_tls_received_header = yes\n" +
			"smtpd_tls_loglevel = 1\n",
		Master: "tlsmgr unix - - n 1000? 1 tlsmgr\n", Files: map[string]string{"chain.pem": rsaChain(t, "mail.example.com")}})
	server.Start()
	client := harness.New(t, harness.Postfix, harness.Config{
		Main: fmt.Sprintf(`mydestination =
minimal_backoff_time = 1s
queue_run_delay = 1s
smtp_tls_security_level = may
next = [127.0.0.1]:%d
transport_maps = inline:{{alice@example.com=old:$next}, {bob@example.com=dhe:$next}, {carol@example.com=new:$next}}
`, server.Port),
		Master: `tlsmgr unix - - n 1000? 1 tlsmgr
old unix - - n - - smtp
  -o smtp_tls_protocols=<=TLSv1.1
  -o tls_medium_cipherlist=ALL:@SECLEVEL=0
dhe unix - - n - - smtp
  -o smtp_tls_protocols=<=TLSv1.2
  -o tls_medium_cipherlist=DHE-RSA-AES128-GCM-SHA256
new unix - - n - - smtp
`})
	client.Start()
	for _, user := range []string{"alice", "bob", "carol"} {
		if out, status := client.Run("Subject: x\n\nx\n", "sendmail", "-f", "a@client.example", user+"@example.com"); status != 0 {
			t.Fatal(out)
		}
		encrypted := false
		for _, line := range received(t, server, user) {
			encrypted = encrypted || strings.Contains(line, "(using TLS")
		}
		if encrypted != (user == "carol") {
			t.Errorf("the mail for %s came encrypted: %v", user, encrypted)
		}
	}
	for _, want := range []string{
		"SSL_accept error from localhost[127.0.0.1]: -1",
		"TLS library problem: tls: client offered only unsupported versions: [302 301]; the client offers TLSv1.1, TLSv1 with ",
		"TLS library problem: tls: no cipher suite supported by both client and server; client offered: [9e ff]; the client offers TLSv1.2, TLSv1.1, TLSv1 with DHE-RSA-AES128-GCM-SHA256",
	} {
		server.WaitLog(regexp.QuoteMeta(want))
	}
}

// TestTicketsOfTwoServices resumes at one smtpd a session with another one: the
// keys are tlsmgr's, also after a reload, which replaces the processes.
func TestTicketsOfTwoServices(t *testing.T) {
	harness.Root(t)
	chain := ecChain(t, "mail.example.com")
	for _, system := range []harness.System{harness.Postfix, harness.Postern} {
		other := harness.FreePort(t)
		i := harness.New(t, system, harness.Config{
			Main:   "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\n",
			Master: fmt.Sprintf("tlsmgr unix - - n 1000? 1 tlsmgr\n127.0.0.1:%d inet n - n - - smtpd\n", other),
			Files:  map[string]string{"chain.pem": chain}})
		i.Start()
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := &tls.Config{ServerName: "mail.example.com", InsecureSkipVerify: true, MaxVersion: version,
				ClientSessionCache: tls.NewLRUClientSessionCache(2)}
			for n, port := range []int{i.Port, other, i.Port} {
				cs, err := secureSession(fmt.Sprintf("127.0.0.1:%d", port), conf)
				if err != nil {
					t.Fatal(system.Name, err)
				}
				if cs.DidResume != (n > 0) {
					t.Errorf("%s, %s: session %d resumed: %v", system.Name, tls.VersionName(version), n, cs.DidResume)
				}
			}
		}
		i.Stop()
	}
}

// TestRenewalUnderLoad replaces the certificate while clients come and go:
// nobody loses a session, and the new certificate is shown without a reload.
func TestRenewalUnderLoad(t *testing.T) {
	harness.Root(t)
	i := harness.New(t, harness.Postern, harness.Config{
		Main:   "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\nsmtpd_client_connection_rate_limit = 0\n",
		Master: "tlsmgr unix - - n 1000? 1 tlsmgr\n", Files: map[string]string{"chain.pem": ecChain(t, "first.example.com")}})
	i.Start()
	old, err := openSecure(i.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var mu sync.Mutex
	shown, failures := map[string]int{}, []error{}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				cs, err := secureSession(i.Addr(), &tls.Config{InsecureSkipVerify: true})
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
				} else {
					shown[cs.PeerCertificates[0].Subject.CommonName]++
				}
				mu.Unlock()
			}
		})
	}
	seen := func(name string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return shown[name] > 0
		}
	}
	i.Until("first.example.com is shown", seen("first.example.com"))
	for _, name := range []string{"second.example.com", "third.example.com"} {
		i.WriteFile("etc/new.pem", ecChain(t, name))
		if err := os.Rename(i.Host("etc/new.pem"), i.Host("etc/chain.pem")); err != nil {
			t.Error(err)
		}
		i.Until(name+" is shown", seen(name))
	}
	close(stop)
	clients.Wait()
	if len(failures) > 0 {
		t.Errorf("%d sessions failed, the first one: %v", len(failures), failures[0])
	}
	if err := old.say("QUIT", "221"); err != nil {
		t.Errorf("the session from before: %v", err)
	}
	t.Logf("sessions by certificate: %v", shown)
}

// A secured is an SMTP session under TLS.
type secured struct {
	*tls.Conn
	r *bufio.Reader
}

// openSecure makes a session as far as EHLO under TLS.
func openSecure(addr string, conf *tls.Config) (*secured, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(harness.Wait))
	plain := bufio.NewReader(c)
	for _, command := range []string{"", "STARTTLS\r\n"} {
		fmt.Fprint(c, command)
		if line, err := plain.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
			c.Close()
			return nil, errors.Join(fmt.Errorf("after %q: %q", command, line), err)
		}
	}
	s := &secured{Conn: tls.Client(c, conf)}
	if err := s.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	s.r = bufio.NewReader(s)
	return s, s.say("EHLO client.example", "250")
}

// say sends a command and reads the reply, which must have the code.
func (s *secured) say(command, code string) error {
	fmt.Fprint(s, command+"\r\n")
	for {
		line, err := s.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			return errors.Join(fmt.Errorf("after %s: %q", command, line), err)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

// secureSession makes a whole session.
func secureSession(addr string, conf *tls.Config) (tls.ConnectionState, error) {
	s, err := openSecure(addr, conf)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer s.Close()
	return s.ConnectionState(), errors.Join(s.say("MAIL FROM:<a@client.example>", "250"), s.say("QUIT", "221"))
}
