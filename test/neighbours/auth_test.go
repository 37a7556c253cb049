package neighbours

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// client runs a mail client of another project with a message on standard
// input and returns what it printed.
func client(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8"}
	cmd.Stdin = strings.NewReader("From: <alice@example.com>\nSubject: by " + name + "\n\nHello.\n")
	timer := time.AfterFunc(harness.Wait, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// swaks, msmtp and curl send a message to bob as alice.
func swaks(t *testing.T, i *harness.Instance, mech, password string, more ...string) (string, error) {
	return client(t, "swaks", append([]string{"--server", i.Addr(), "--auth", mech, "--auth-user", "alice", "--auth-password", password,
		"--from", "alice@example.com", "--to", "bob@elsewhere.example", "--helo", "client.example", "--timeout", "20"}, more...)...)
}

func msmtp(t *testing.T, i *harness.Instance, mech, password string) (string, error) {
	return client(t, "msmtp", "-C", "/dev/null", "--host=127.0.0.1", "--port="+strconv.Itoa(i.Port), "--auth="+strings.ToLower(mech), "--user=alice",
		"--passwordeval=echo "+password, "--from=alice@example.com", "--tls=on", "--tls-certcheck=off", "--timeout=20", "bob@elsewhere.example")
}

func curl(t *testing.T, i *harness.Instance, mech, password string) (string, error) {
	return client(t, "curl", "-sS", "--url", "smtp://"+i.Addr()+"/client.example", "--user", "alice:"+password, "--login-options", "AUTH="+mech,
		"--mail-from", "alice@example.com", "--mail-rcpt", "bob@elsewhere.example", "--upload-file", "-", "--ssl-reqd", "--insecure", "--max-time", "20")
}

// authMain is a server that relays for who has authenticated.
const authMain = `smtpd_sasl_auth_enable = yes
smtpd_tls_security_level = may
smtpd_tls_chain_files = @DIR@/etc/chain.pem
mynetworks = 192.0.2.1
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_authenticated_header = yes
default_transport = discard
`

// logins logs in with every client and mechanism, with the right password and
// a wrong one.
func logins(t *testing.T, i *harness.Instance, mechanisms ...string) {
	t.Helper()
	for _, mech := range mechanisms {
		for name, send := range map[string]func(*testing.T, *harness.Instance, string, string) (string, error){
			"swaks": func(t *testing.T, i *harness.Instance, mech, password string) (string, error) {
				return swaks(t, i, mech, password)
			},
			"msmtp": msmtp, "curl": curl,
		} {
			if strings.HasPrefix(mech, "SCRAM") && name != "msmtp" { // the others do not know it
				continue
			}
			before := len(i.Log())
			if out, err := send(t, i, mech, "secret"); err != nil {
				t.Errorf("%s, %s: %v\n%s", name, mech, err, out)
			}
			i.Until("the log says who it was, "+name+", "+mech, func() bool {
				return t.Failed() || strings.Contains(i.Log()[before:], "sasl_method="+mech+", sasl_username=alice")
			})
			if out, err := send(t, i, mech, "wrong"); err == nil {
				t.Errorf("%s, %s: a wrong password is taken\n%s", name, mech, out)
			}
		}
	}
	failures := regexp.MustCompile(`SASL \S+ authentication failed`)
	i.Until("the failures are logged", func() bool { return len(failures.FindAllString(i.Log(), -1)) >= len(mechanisms) })
}

// TestDovecot has Dovecot check passwords, over a unix and an inet socket, and
// take mail by LMTP.
func TestDovecot(t *testing.T) {
	s := newServer(t, "dovecot", "dovecot", "swaks", "msmtp", "curl")
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		harness.Skip(t, "dovecot-lmtpd is not installed")
	}
	lmtp := harness.FreePort(t)
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: authMain + "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = " + "@DIR@/run/auth\nmailbox_transport = lmtp:inet:127.0.0.1:" + strconv.Itoa(lmtp) + "\n",
		Master: "127.0.0.1:" + strconv.Itoa(harness.FreePort(t)) + " inet n - n - - smtpd -o smtpd_sasl_path=inet:" + s.addr() + "\n" +
			"tlsmgr unix - - n 1000? 1 tlsmgr\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour)},
	})
	if err := os.Mkdir(i.Host("run"), 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(i.Host("run"), 0o777)
	os.WriteFile(s.dir+"/users", []byte("alice:{PLAIN}secret\n"), 0o644)
	os.WriteFile(s.dir+"/conf", []byte(fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
log_path = /dev/stderr
protocols = lmtp
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_username_format = %%Ln
first_valid_uid = 1
mail_location = maildir:%[1]s/mail/%%n
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%[1]s/mail/%%n allow_all_users=yes
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
service auth {
  user =
  inet_listener {
    address = 127.0.0.1
    port = %[2]d
  }
  unix_listener %[3]s {
    mode = 0666
  }
}
service lmtp {
  chroot =
  user =
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[4]d
  }
}
`, s.dir, s.port, i.Host("run/auth"), lmtp)), 0o644)
	s.args = []string{"dovecot", "-F", "-c", s.dir + "/conf"}
	s.start()
	i.Until("Dovecot has opened its socket", func() bool {
		_, err := os.Stat(i.Host("run/auth"))
		return err == nil
	})
	i.Start()
	logins(t, i, "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")

	// LMTP: a message for a local user arrives in Dovecot's Maildir.
	if out, err := swaks(t, i, "PLAIN", "secret", "--to", "alice@example.com"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i.Until("Dovecot has the message", func() bool {
		files, _ := filepath.Glob(s.dir + "/mail/alice/new/*")
		return len(files) == 1
	})
	files, _ := filepath.Glob(s.dir + "/mail/alice/new/*")
	text, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(text), "(Authenticated sender: alice)") {
		t.Errorf("%v\n%s", err, text)
	}

	// The other service asks over TCP; a Dovecot that is gone costs a 454, and
	// is found again.
	i.Port = otherPort(t, i)
	if out, err := swaks(t, i, "PLAIN", "secret"); err != nil {
		t.Errorf("over TCP: %v\n%s", err, out)
	}
	s.kill()
	if out, err := swaks(t, i, "PLAIN", "secret"); err == nil || !strings.Contains(out, "454 4.7.0 Temporary authentication failure") {
		t.Errorf("without Dovecot: %v\n%s", err, out)
	}
	s.start()
	if out, err := swaks(t, i, "PLAIN", "secret"); err != nil {
		t.Errorf("after its return: %v\n%s", err, out)
	}
}

// otherPort is the port of the service that the test has added.
func otherPort(t *testing.T, i *harness.Instance) int {
	t.Helper()
	text, err := os.ReadFile(i.Host("etc/master.cf"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`127\.0\.0\.1:(\d+) inet n - n - - smtpd -o`).FindStringSubmatch(string(text))
	port, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestOwnUsers has the clients log in with users that "postern user" has made;
// a change needs no reload.
func TestOwnUsers(t *testing.T) {
	program(t, "swaks")
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main:  authMain + "smtpd_sasl_type = postern\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour)},
	})
	user := func(stdin string, args ...string) {
		t.Helper()
		args = append([]string{"user", args[0], "--config", i.Dir + "/etc"}, args[1:]...)
		if out, status := i.Run(stdin, "postern", args...); status != 0 {
			t.Fatalf("postern %q: %d\n%s", args, status, out)
		}
	}
	user("secret\n", "add", "alice")
	i.Start()
	logins(t, i, "PLAIN", "LOGIN", "SCRAM-SHA-256")
	user("new\n", "passwd", "--scheme", "ARGON2ID", "alice")
	i.Until("the new password is taken", func() bool {
		_, err := swaks(t, i, "PLAIN", "new")
		return err == nil
	})
	if out, err := swaks(t, i, "PLAIN", "secret"); err == nil {
		t.Errorf("the old password is taken\n%s", out)
	}
}

// TestSasldb reads the users of a database that saslpasswd2 has made.
func TestSasldb(t *testing.T) {
	tool := program(t, "saslpasswd2")
	program(t, "msmtp")
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: authMain + "smtpd_sasl_type = cyrus\nsmtpd_sasl_local_domain = example.com\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour),
			"sasl/smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: @DIR@/etc/sasldb2\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n"},
	})
	cmd := exec.Command(tool, "-p", "-c", "-u", "example.com", "-f", i.Host("etc/sasldb2"), "alice")
	cmd.Stdin = strings.NewReader("secret\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	os.Chown(i.Host("etc/sasldb2"), 0, 2100)
	os.Chmod(i.Host("etc/sasldb2"), 0o640)
	i.Start()
	logins(t, i, "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
}

// TestSaslauthd has saslauthd check passwords, for which it logs in to an IMAP
// server of the test's.
func TestSaslauthd(t *testing.T) {
	path := program(t, "saslauthd")
	program(t, "swaks")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go imap(l)
	a := harness.NewAuthority(t, "Issuer")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: authMain + "smtpd_sasl_type = cyrus\n",
		Files: map[string]string{"chain.pem": a.Issue(t, "mail.example.com", time.Hour),
			"sasl/smtpd.conf": "pwcheck_method: saslauthd\nsaslauthd_path: @DIR@/run/mux\nmech_list: PLAIN LOGIN\n"},
	})
	if err := os.Mkdir(i.Host("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := exec.Command(path, "-d", "-a", "rimap", "-O", "127.0.0.1/"+port, "-m", i.Host("run"), "-n", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	i.Until("saslauthd listens", func() bool {
		st, err := os.Stat(i.Host("run/mux"))
		return err == nil && st.Mode()&os.ModeSocket != 0
	})
	os.Chmod(i.Host("run/mux"), 0o777)
	i.Start()
	logins(t, i, "PLAIN", "LOGIN")
}

// imap is an IMAP server that knows alice.
func imap(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprint(c, "* OK ready\r\n")
			sc := bufio.NewScanner(c)
			for sc.Scan() {
				tag, rest, _ := strings.Cut(sc.Text(), " ")
				switch {
				case strings.Contains(rest, "alice") && strings.Contains(rest, "secret"):
					fmt.Fprintf(c, "%s OK done\r\n", tag)
				default:
					fmt.Fprintf(c, "%s NO no\r\n", tag)
				}
			}
		}()
	}
}
