package neighbours

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postern/internal/protocol/milter/miltertest"
	"postern/test/harness"
)

// submit sends a message from an address of this host and returns what the
// server says to it: nil when it is taken.
func submit(i *harness.Instance, from, sender string, rcpts []string, message string) error {
	i.Sessions++
	return reply(talk(i, from, sender, rcpts, message))
}

// reply undoes the quoting of a reply.
func reply(err error) error {
	if e, ok := err.(*textproto.Error); ok {
		return fmt.Errorf("%d %s", e.Code, e.Msg)
	}
	return err
}

func talk(i *harness.Instance, from, sender string, rcpts []string, message string) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", i.Addr())
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		return err
	}
	defer c.Close()
	defer c.Quit()
	if err := c.Hello("client.example"); err != nil {
		return err
	}
	if err := c.Mail(sender); err != nil {
		return err
	}
	for _, r := range rcpts {
		if err := c.Rcpt(r); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, strings.ReplaceAll(message, "\n", "\r\n"))
	return w.Close()
}

// delivered returns the messages in a user's Maildir.
func delivered(t *testing.T, i *harness.Instance, user string) []string {
	t.Helper()
	i.WaitSettled()
	files, _ := filepath.Glob(i.Host("mail/" + user + "/new/*"))
	var texts []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

// one returns the only message of a user.
func one(t *testing.T, i *harness.Instance, user string) string {
	t.Helper()
	texts := delivered(t, i, user)
	if len(texts) != 1 {
		t.Fatalf("%d messages for %s", len(texts), user)
	}
	return texts[0]
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in\n%.3000s", p, text)
		}
	}
}

const letter = `From: Alice <alice@example.com>
To: bob@example.com
Subject: a letter
 of two lines
Message-Id: <letter@example.com>
Date: Tue, 24 Nov 2026 08:00:00 +0000

Dear Bob,

.a dot
From Alice
`

// TestOpenDKIM has opendkim sign mail of our own and verify what comes back.
func TestOpenDKIM(t *testing.T) {
	s := newServer(t, "opendkim", "opendkim")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), 0o600)
	s.write(t, "dns", "sel._domainkey.example.com v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(public)+"\n", 0o644)
	s.write(t, "internal", "127.0.0.1\n", 0o644)
	s.write(t, "conf", file("Socket", "inet:"+strconv.Itoa(s.port)+"@127.0.0.1", "Mode", "sv", "Domain", "example.com", "Selector", "sel",
		"KeyFile", s.dir+"/key", "Canonicalization", "simple/simple", "InternalHosts", s.dir+"/internal", "AuthservID", "mail.example.com",
		"TestDNSData", s.dir+"/dns", "RequireSafeKeys", "no", "OversignHeaders", "From", "AlwaysAddARHeader", "yes", "On-Default", "accept"), 0o644)
	s.write(t, "conf", strings.ReplaceAll(s.read(t, "conf"), " = ", " "), 0o644)
	s.args = []string{"opendkim", "-f", "-x", s.dir + "/conf"}
	s.start()
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nnon_smtpd_milters = $smtpd_milters\nsmtpd_peername_lookup = no\n", s.port)})
	i.Start()
	if err := submit(i, "127.0.0.1", "alice@example.com", []string{"bob@example.com"}, letter); err != nil {
		t.Fatal(err)
	}
	signed := one(t, i, "bob")
	mustContain(t, signed, "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.com; s=sel;")
	if out, status := i.Run(letter, "sendmail", "-f", "alice@example.com", "carol@example.com"); status != 0 {
		t.Fatal(out)
	}
	mustContain(t, one(t, i, "carol"), "DKIM-Signature: v=1;")

	// What was delivered, without what the delivery put on top, is as it left us.
	_, sent, _ := strings.Cut(signed, "Delivered-To: bob@example.com\n")
	if err := submit(i, "127.0.0.9", "alice@example.com", []string{"alice@example.com"}, sent); err != nil {
		t.Fatal(err)
	}
	mustContain(t, one(t, i, "alice"), "Authentication-Results: mail.example.com", "dkim=pass")
	if err := submit(i, "127.0.0.9", "alice@example.com", []string{"alice@example.com"}, strings.Replace(sent, "Dear Bob", "Dear Rob", 1)); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(delivered(t, i, "alice"), ""); !strings.Contains(all, "dkim=fail") {
		t.Errorf("the forged letter passed:\n%s", all)
	}
}

// TestOpenDMARC has opendmarc look at a message after opendkim's result.
func TestOpenDMARC(t *testing.T) {
	s := newServer(t, "opendmarc", "opendmarc")
	s.write(t, "conf", strings.ReplaceAll(file("Socket", "inet:"+strconv.Itoa(s.port)+"@127.0.0.1", "AuthservID", "mail.example.com",
		"IgnoreHosts", s.dir+"/ignore", "RejectFailures", "false", "SoftwareHeader", "true", "RequiredHeaders", "true"), " = ", " "), 0o644)
	s.write(t, "ignore", "192.0.2.1\n", 0o644)
	s.args = []string{"opendmarc", "-f", "-c", s.dir + "/conf", "-p", "inet:" + strconv.Itoa(s.port) + "@127.0.0.1"}
	s.start()
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nsmtpd_peername_lookup = no\n", s.port)})
	i.Start()
	if err := submit(i, "127.0.0.9", "alice@example.com", []string{"bob@example.com"}, letter); err != nil {
		t.Fatal(err)
	}
	mustContain(t, one(t, i, "bob"), "DMARC-Filter: OpenDMARC Filter v1.4.2 mail.example.com ")
	// A message without From: is refused (RequiredHeaders).
	err := submit(i, "127.0.0.9", "alice@example.com", []string{"bob@example.com"}, "Subject: none\n\ntext\n")
	if err == nil || !strings.HasPrefix(err.Error(), "550 5.7.1") {
		t.Errorf("without From: %v", err)
	}
}

// TestPythonMilter has a milter made with python3-milter ask for every change.
func TestPythonMilter(t *testing.T) {
	s := newServer(t, "python-milter", "python3")
	if s.command("python3", "-c", "import Milter").Run() != nil {
		harness.Skip(t, "python3-milter is not installed")
	}
	script, err := filepath.Abs("testdata/every_change.py")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "every_change.py", string(text), 0o644)
	s.args = []string{"python3", s.dir + "/every_change.py", strconv.Itoa(s.port)}
	s.start()
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nlocal_recipient_maps =\nluser_relay = carol\n", s.port)})
	i.Start()
	err = submit(i, "127.0.0.1", "a@client.example", []string{"refused@example.com"}, letter)
	if err == nil || err.Error() != "550 5.7.1 100% refused\n5.7.1 in two lines" {
		t.Errorf("refused recipient: %v", err)
	}
	message := strings.Replace(letter, "To:", "X-Gone: soon\nTo:", 1)
	if err := submit(i, "127.0.0.1", "a@client.example", []string{"alice@example.com", "bob@example.com"}, message); err != nil {
		t.Fatal(err)
	}
	got := one(t, i, "alice")
	mustContain(t, got, "Return-Path: <milter@example.com>\n", "\nX-Said: connect localhost 127.0.0.1, helo client.example, from <a@client.example>",
		"\nX-Seen: 6 fields, 33 octets\n", "\nSubject: changed\nMessage-Id:", "\n\na new body\nof many lines\n", "\nX-First: first\nFrom: Alice")
	if strings.Contains(got, "X-Gone") || strings.Contains(got, "Dear Bob") || strings.Count(got, "of many lines\n") != 9000 {
		t.Errorf("what was to go is there, or what was to come is not whole:\n%.2000s", got)
	}
	if n := len(delivered(t, i, "bob")); n != 0 {
		t.Errorf("%d messages for bob", n)
	}
	if n := len(delivered(t, i, "carol")); n == 0 {
		t.Error("nothing for carol")
	}
	if err := submit(i, "127.0.0.1", "a@client.example", []string{"alice@example.com"}, "X-Hold: yes\n"+letter); err != nil {
		t.Fatal(err)
	}
	if n := i.Count("hold"); n != 1 {
		t.Errorf("%d messages on hold", n)
	}
	i.Until("the message is on hold in the log", func() bool {
		return strings.Contains(i.Log(), "milter-hold: END-OF-MESSAGE from localhost[127.0.0.1]: milter triggers HOLD action; from=<milter@example.com>")
	})
}

// gtube is what every spam filter takes for spam.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"

// spamd starts SpamAssassin's daemon with the rules that Debian packages.
func spamd(t *testing.T) *server {
	t.Helper()
	s := newServer(t, "spamd", "spamd", "spamc")
	s.args = []string{"spamd", "-L", "-x", "--listen", s.addr(), "--max-children", "1", "-s", "stderr", "--pidfile", s.dir + "/pid"}
	s.start()
	return s
}

// TestSpamassMilter refuses spam in the session.
func TestSpamassMilter(t *testing.T) {
	d := spamd(t)
	s := newServer(t, "spamass-milter", "spamass-milter")
	s.args = []string{"spamass-milter", "-p", "inet:" + strconv.Itoa(s.port) + "@127.0.0.1", "-r", "15", "-u", "nobody",
		"--", "-d", "127.0.0.1", "-p", strconv.Itoa(d.port)}
	s.start()
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nmilter_connect_macros = j {daemon_name} v _\nmilter_mail_macros = i {mail_addr} {client_addr}\n", s.port)})
	i.Start()
	if err := submit(i, "127.0.0.1", "alice@example.com", []string{"bob@example.com"}, letter); err != nil {
		t.Fatal(err)
	}
	mustContain(t, one(t, i, "bob"), "X-Spam-Checker-Version: SpamAssassin", "X-Spam-Status: No")
	err := submit(i, "127.0.0.1", "alice@example.com", []string{"bob@example.com"}, letter+gtube)
	if err == nil || !strings.Contains(err.Error(), "550 5.7.1 Blocked by SpamAssassin") {
		t.Errorf("spam: %v", err)
	}
	i.Until("the refusal is in the log", func() bool {
		return strings.Contains(i.Log(), "milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 5.7.1 Blocked by SpamAssassin;")
	})
}

// TestSpamAssassinFilter is the recipe with which most sites call SpamAssassin:
// a content filter that gives the message to spamc, which gives it back by
// sendmail.
func TestSpamAssassinFilter(t *testing.T) {
	d := spamd(t)
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "virtual_alias_maps = inline:{both@example.com=alice@example.com}\n",
		Master: `127.0.0.1:@PORT@ inet n - n - - smtpd
  -o content_filter=spamassassin
  -o receive_override_options=no_address_mappings
spamassassin unix -     n       n       -       -       pipe
  user=vmail argv=/usr/bin/spamc -f -e @SBIN@/sendmail -oi -f ${sender} ${recipient}
`})
	intoRoot(t, i, "/usr/bin/spamc")
	conf := filepath.Join(i.Root, "etc/spamassassin/spamc.conf")
	if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("-d 127.0.0.1\n-p "+strconv.Itoa(d.port)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(conf) })
	i.Start()
	for _, m := range []string{letter, letter + gtube} {
		if err := submit(i, "127.0.0.1", "alice@example.com", []string{"bob@example.com", "both@example.com"}, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"bob", "alice"} {
		i.Until("two messages for "+user, func() bool { return len(delivered(t, i, user)) == 2 })
		all := strings.Join(delivered(t, i, user), "")
		mustContain(t, all, "X-Spam-Status: No", "X-Spam-Flag: YES", "\n.a dot\n")
		if strings.Count(all, "X-Spam-Checker-Version") != 2 {
			t.Errorf("%s: the filter was called more than once for a message", user)
		}
	}
	mustContain(t, i.Log(), "relay=spamassassin", "status=sent (delivered via spamassassin service)")
}

// intoRoot copies a program and its libraries into the private root.
func intoRoot(t *testing.T, i *harness.Instance, program string) {
	t.Helper()
	copyFile := func(path string) {
		to := filepath.Join(i.Root, path)
		if _, err := os.Stat(to); err == nil {
			return
		}
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyFile(program)
	s := &server{t: t, dir: "/"}
	for _, word := range strings.Fields(s.run("", "ldd", program)) {
		if strings.HasPrefix(word, "/") {
			copyFile(word)
		}
	}
}

// write makes a file in the server's folder that only its user may change.
func (s *server) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *server) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCleanupDiesBesideMilter kills cleanup while a milter thinks about a
// message. The client is told to come again; the milter, which nobody knows the
// state of, costs its default action for the rest of the session, and a new session
// is as any other.
func TestCleanupDiesBesideMilter(t *testing.T) {
	m := miltertest.New(t, "eom:slow@ hang")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nmilter_default_action = tempfail\nservice_throttle_time = 1s\n", m.Port)})
	i.Start()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	say := func(command, want string) {
		t.Helper()
		if reply, err := s.Say(command); err != nil || !strings.HasPrefix(reply, want) {
			t.Fatalf("%s: %q, %v; want %s", command, reply, err, want)
		}
	}
	say("MAIL FROM:<slow@b.example>", "250")
	say("RCPT TO:<alice@example.com>", "250")
	say("DATA", "354")
	fmt.Fprint(s, strings.ReplaceAll(letter, "\n", "\r\n")+".\r\n")
	m.Await(t, "eom")
	killed := 0
	for _, pid := range i.Processes() {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && string(comm) == "cleanup\n" && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	if reply, err := s.Reply(); killed == 0 || err != nil || !strings.HasPrefix(reply, "451 4.3.0") {
		t.Fatalf("%d processes killed: %q, %v", killed, reply, err)
	}
	say("MAIL FROM:<next@b.example>", "451 4.7.1 Service unavailable - try again later")
	say("QUIT", "221")
	if err := submit(i, "127.0.0.1", "quick@b.example", []string{"bob@example.com"}, letter); err != nil {
		t.Fatal(err)
	}
	count := func(user string) int {
		files, _ := filepath.Glob(i.Host("mail/" + user + "/new/*"))
		return len(files)
	}
	i.Until("bob has the second message", func() bool { return count("bob") == 1 })
	if n := count("alice"); n != 0 {
		t.Errorf("alice has %d messages, none was accepted for her", n)
	}
}
