package oracle

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/test/harness"
)

// TestServersThatGoRefuses delivers to servers of OpenSSL whose versions, ciphers
// or groups crypto/tls does not take: where TLS is optional the mail comes in
// plain text, where it is demanded it waits, and the log says why.
func TestServersThatGoRefuses(t *testing.T) {
	harness.Root(t)
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	tool, err := exec.LookPath("openssl")
	if err != nil {
		harness.Skip(t, "openssl is not installed")
	}
	shorter := exec.Command(tool, "req", "-x509", "-newkey", "rsa:768", "-sha1", "-nodes", "-subj", "/CN=mail.example.com", "-keyout", "-")
	weak, err := shorter.Output()
	if err != nil {
		t.Fatal(err)
	}
	servers := []struct {
		name, options string
		encrypted     bool
		why           string // in the log of the client
	}{
		{"new", "", true, ""},
		{"old", "-o smtpd_tls_protocols=<=TLSv1.1 -o tls_medium_cipherlist=ALL:@SECLEVEL=0", false, "protocol version not supported"},
		{"dhe", "-o smtpd_tls_protocols=<=TLSv1.2 -o tls_medium_cipherlist=DHE-RSA-AES128-GCM-SHA256", false, "handshake failure"},
		{"camellia", "-o smtpd_tls_protocols=<=TLSv1.2 -o tls_medium_cipherlist=CAMELLIA256-SHA", false, "handshake failure"},
		{"cbc", "-o smtpd_tls_protocols=<=TLSv1.2 -o tls_medium_cipherlist=ECDHE-RSA-AES256-SHA384", false, "handshake failure"},
		{"group", "-o smtpd_tls_protocols=<=TLSv1.2 -o tls_eecdh_auto_curves=X448 -o tls_medium_cipherlist=ECDHE-RSA-AES128-GCM-SHA256", false, "handshake failure"},
		{"short", "-o smtpd_tls_chain_files=@DIR@/etc/short.pem -o tls_medium_cipherlist=ALL:@SECLEVEL=0", true, ""},
		{"shorter", "-o smtpd_tls_chain_files=@DIR@/etc/shorter.pem -o tls_medium_cipherlist=ALL:@SECLEVEL=0", false, "768-bit keys are insecure"},
	}
	ports := map[string]int{}
	master, transports, maps := "tlsmgr unix - - n 1000? 1 tlsmgr\n", "tlsmgr unix - - n 1000? 1 tlsmgr\n", ""
	for _, s := range servers {
		ports[s.name] = harness.FreePort(t)
		master += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd %s\n", ports[s.name], s.options)
		for _, level := range []string{"may", "encrypt"} {
			transports += fmt.Sprintf("%s-%s unix - - n - - smtp -o smtp_tls_security_level=%s\n", s.name, level, level)
			maps += fmt.Sprintf("{%s@%s.example=%s-%s:[127.0.0.1]:%d}, ", s.name, level, s.name, level, ports[s.name])
		}
	}
	server := harness.New(t, harness.Postfix, harness.Config{
		Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\nmydestination = may.example, encrypt.example\n" +
			"local_recipient_maps =\nlocal_transport = discard\n",
		Master: master, Files: map[string]string{"chain.pem": rsaChain(t, "mail.example.com"),
			"short.pem": selfSigned(t, "mail.example.com", &key.PublicKey, key), "shorter.pem": string(weak)}})
	server.Start()
	client := harness.New(t, harness.Postern, harness.Config{
		Main: "mydestination =\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\nsmtp_tls_loglevel = 1\ntransport_maps = inline:{" +
			strings.TrimSuffix(maps, ", ") + "}\n",
		Master: transports})
	client.Start()
	for _, s := range servers {
		for _, level := range []string{"may", "encrypt"} {
			if out, status := client.Run("Subject: x\n\nx\n", "sendmail", "-f", "a@client.example", s.name+"@"+level+".example"); status != 0 {
				t.Fatal(out)
			}
		}
	}
	for _, s := range servers {
		sent := deliveryLine(client, s.name+"@may.example", "sent")
		if encrypted := !strings.Contains(sent, "tls=none") && strings.Contains(sent, "tls="); encrypted != s.encrypted {
			t.Errorf("%s: sent encrypted %v: %s", s.name, encrypted, sent)
		}
		status := "deferred"
		if s.encrypted {
			status = "sent"
		}
		line := deliveryLine(client, s.name+"@encrypt.example", status)
		if !strings.Contains(line, "(Cannot start TLS: handshake failure)") && !s.encrypted {
			t.Errorf("%s: %s", s.name, line)
		}
		why := regexp.MustCompile(fmt.Sprintf(`SSL_connect error to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: .*\n.*TLS library problem: .*%s`, ports[s.name], s.why))
		if said := why.MatchString(client.Log()); said == s.encrypted {
			t.Errorf("%s: the log has %s: %v", s.name, why, said)
		}
	}
}

// deliveryLine waits for the line of a recipient with a status.
func deliveryLine(i *harness.Instance, recipient, status string) string {
	pattern := regexp.MustCompile(`(?m)to=<` + regexp.QuoteMeta(recipient) + `>.*status=` + status + `.*$`)
	line := ""
	i.Until(recipient+" is "+status, func() bool {
		line = pattern.FindString(i.Log())
		return line != ""
	})
	return line
}

// TestClientsThatGoRefuses has openssl s_client offer what crypto/tls does not
// take: the log says what the client offers, and the client may go on in plain
// text where TLS is optional.
func TestClientsThatGoRefuses(t *testing.T) {
	harness.Root(t)
	t.Parallel()
	tool, err := exec.LookPath("openssl")
	if err != nil {
		harness.Skip(t, "openssl is not installed")
	}
	strict := harness.FreePort(t)
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/chain.pem\nsmtpd_tls_ask_ccert = yes\n",
		Master: fmt.Sprintf("tlsmgr unix - - n 1000? 1 tlsmgr\n127.0.0.1:%d inet n - n - - smtpd\n"+
			"  -o smtpd_tls_security_level=encrypt -o { smtpd_tls_mandatory_protocols = >=TLSv1.2 }\n", strict),
		Files: map[string]string{"chain.pem": rsaChain(t, "mail.example.com")}})
	i.Start()
	weak := filepath.Join(t.TempDir(), "weak.pem")
	if out, err := exec.Command(tool, "req", "-x509", "-newkey", "rsa:768", "-sha1", "-nodes", "-subj", "/CN=client.example",
		"-keyout", weak, "-out", weak+".cert").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct{ options, want string }{
		{"-tls1_2", ""},
		{"-tls1_3", ""},
		{"-tls1 -cipher ALL:@SECLEVEL=0", "unsupported versions: [301]; the client offers TLSv1 with "},
		{"-tls1_1 -cipher ALL:@SECLEVEL=0", "unsupported versions: [302 301]; the client offers TLSv1.1, TLSv1 with "},
		{"-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", " with DHE-RSA-AES128-GCM-SHA256"},
		{"-tls1_2 -cipher CAMELLIA256-SHA", " with CAMELLIA256-SHA"},
		{"-tls1_2 -cipher ECDHE-RSA-AES256-SHA384", " with ECDHE-RSA-AES256-SHA384"},
		{"-tls1_2 -cipher ADH-AES128-SHA256:@SECLEVEL=0", " with 0x006C"},
		{"-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -groups X448", " with ECDHE-RSA-AES128-GCM-SHA256 and groups X448"},
		{"-tls1_3 -groups X448", "the client offers TLSv1.3 with TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256 and groups X448"},
		{"-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", "the client offers TLSv1.3 with 0x1304"},
		{"-tls1_2 -sigalgs RSA+SHA1 -cipher ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", "any of the certificate's signature algorithms"},
		{"-tls1_2 -cipher ALL:@SECLEVEL=0 -cert " + weak + ".cert -key " + weak, "768-bit keys are insecure"},
	} {
		for _, port := range []int{i.Port, strict} {
			before := len(i.Log())
			args := append([]string{"s_client", "-starttls", "smtp", "-connect", fmt.Sprintf("127.0.0.1:%d", port)}, strings.Fields(tt.options)...)
			cmd := exec.Command(tool, args...)
			cmd.Stdin = strings.NewReader("QUIT\r\n")
			out, _ := cmd.CombinedOutput()
			i.Until("the session has ended in the log", func() bool { return strings.Contains(i.Log()[before:], ": disconnect from") })
			log := i.Log()[before:]
			failed := strings.Contains(log, "SSL_accept error from localhost[127.0.0.1]: -1")
			if failed != (tt.want != "") || tt.want != "" && !strings.Contains(log, tt.want) {
				t.Errorf("%s: refused %v\n%s\n%s", tt.options, failed, log, out)
			}
		}
	}
	for port, want := range map[int]string{i.Port: "250 2.1.0 Ok", strict: "530 5.7.0 Must issue a STARTTLS command first"} {
		s, err := harness.Open(fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Say("MAIL FROM:<a@client.example>"); err != nil || strings.TrimSpace(got) != want {
			t.Errorf("in plain text: got %q, %v, want %q", got, err, want)
		}
		s.Close()
	}
}
