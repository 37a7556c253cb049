package oracle

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"postern/test/harness"
)

// Secrets of the password "secret" that other programs have made: Dovecot's
// doveadm and openssl passwd.
var foreignSecrets = map[string]string{
	"ssha":   "{SSHA}2yS+Iidof693s52BSNEzvuI4yV7egr51",
	"sha512": "{SHA512-CRYPT}$6$VeRAcrqUuPy7xCEe$BbTxUGabTqRJnDUvKSUGSCV5VIk9p/e6a12XcSLBrgxo59.E0ZwYmATf90pUu.5qogzQgG3ntk.Z98ylyv1gj1",
	"bcrypt": "{BLF-CRYPT}$2y$05$fYFahfBo0GKCYMEUPSzUwO0BcfskHIMbHl.CT3I0.N8NphG.EhlRC",
	"argon":  "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$5NUL/iiUY9tkZ2RFcT4/oQ$pICeg6ZQKpoLoGZwBhfp5lfsmHKIna+GrjshBDS54z0",
	"scram":  "{SCRAM-SHA-256}4096,UN8PLeHNzwqwj0rgZXvyRg==,g7VzGETWWRccJlGWd1TXy/YgNE1T7Z5BtqkjzHBtwmA=,LTQe9AuaOdqeNZVJsabi3mUQZ4nmK/CETu5+Qntepdk=",
	// What cannot be used, or is not supported.
	"damaged": "{SSHA}2yS+Iidof693s52BSNEz",
	"naked":   "secret",
	"plain":   "{PLAIN}secret",
	"sha256":  "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
}

// The schemes of "postern user add" and the users that have them.
var ownSchemes = map[string]string{"SSHA": "ssha", "SHA512-CRYPT": "sha512", "bcrypt": "bcrypt", "ARGON2ID": "argon",
	"SCRAM-SHA-256": "scram", "SCRAM-SHA-1": "scram1"}

// TestLogins logs in to smtpd with every scheme of secrets and every mechanism,
// over TLS, with users that "postern user" has made and with tables that
// somebody has written.
func TestLogins(t *testing.T) {
	harness.Root(t)
	t.Parallel()
	ports := map[string]int{"file": 0, "table": 0, "hand": 0, "missing": 0, "gone": 0}
	values := map[string]string{"file": "@DIR@/etc/sasl_users", "table": "texthash:@DIR@/etc/table", "hand": "@DIR@/etc/hand",
		"missing": "hash:@DIR@/etc/missing", "gone": "@DIR@/etc/gone"}
	master := "tlsmgr unix - - n 1000? 1 tlsmgr\n"
	for name := range ports {
		ports[name] = harness.FreePort(t)
		master += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_sasl_users=%s\n", ports[name], values[name])
	}
	var table, hand strings.Builder
	for user, secret := range foreignSecrets {
		fmt.Fprintf(&table, "%s %s\n", user, secret)
		fmt.Fprintf(&hand, "%s:%s:1000:1000::/home/x\n", user, secret)
	}
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern\nsmtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\n" +
			"smtpd_tls_chain_files = @DIR@/etc/chain.pem\nmynetworks = 192.0.2.1\nsmtpd_error_sleep_time = 0\n" +
			"smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n",
		Master: master,
		Files:  map[string]string{"chain.pem": ecChain(t, "mail.example.com"), "table": table.String(), "hand": hand.String()}})
	user := func(stdin string, args ...string) {
		t.Helper()
		args = append([]string{"user", args[0], "--config", i.Dir + "/etc"}, args[1:]...)
		if out, status := i.Run(stdin, "postern", args...); status != 0 {
			t.Fatalf("postern %q: %d\n%s", args, status, out)
		}
	}
	for scheme, name := range ownSchemes {
		user("secret\n", "add", "--scheme", scheme, name)
	}
	i.Start()

	const right, wrong, trouble = "235 2.7.0", "535 5.7.8", "454 4.7.0"
	check := func(service, mech, user, password, want string) {
		t.Helper()
		got, err := login(fmt.Sprintf("127.0.0.1:%d", ports[service]), mech, user, password)
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s as %s with %q: got %q, %v, want %s", service, mech, user, password, got, err, want)
		}
	}
	for _, service := range []string{"file", "table", "hand"} {
		for _, name := range []string{"ssha", "sha512", "bcrypt", "argon", "scram"} {
			mechanisms := []string{"PLAIN", "LOGIN"}
			if name == "scram" {
				mechanisms = append(mechanisms, "SCRAM-SHA-256")
			}
			for _, mech := range mechanisms {
				check(service, mech, name, "secret", right)
				check(service, mech, name, "Secret", wrong)
			}
		}
		for _, mech := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"} {
			check(service, mech, "nobody", "secret", wrong)
		}
		check(service, "SCRAM-SHA-256", "ssha", "secret", wrong) // a secret of another kind
	}
	check("file", "SCRAM-SHA-1", "scram1", "secret", right)
	check("file", "PLAIN", "scram1", "secret", right)
	check("file", "SCRAM-SHA-256-PLUS", "scram", "secret", wrong) // not offered
	for _, service := range []string{"table", "hand"} {
		for _, name := range []string{"damaged", "naked", "plain", "sha256"} {
			check(service, "PLAIN", name, "secret", trouble)
			check(service, "SCRAM-SHA-256", name, "secret", trouble)
		}
	}
	for _, service := range []string{"missing", "gone"} {
		check(service, "PLAIN", "ssha", "secret", trouble)
		check(service, "LOGIN", "nobody", "secret", trouble)
	}

	user("changed\n", "passwd", "--scheme", "SSHA", "scram")
	user("", "del", "bcrypt")
	i.Until("the change is seen without a reload", func() bool {
		got, _ := login(fmt.Sprintf("127.0.0.1:%d", ports["file"]), "PLAIN", "scram", "changed")
		return strings.HasPrefix(got, right)
	})
	check("file", "PLAIN", "scram", "secret", wrong)
	check("file", "LOGIN", "bcrypt", "secret", wrong)
	for _, want := range []string{"hand, line ", "user damaged: {SSHA}: malformed", "{SHA256-CRYPT} is not supported"} {
		if !strings.Contains(i.Log(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if strings.Contains(i.Log(), foreignSecrets["damaged"]) {
		t.Error("the log has a secret")
	}
}

// login makes a session with TLS and returns the last reply to AUTH.
func login(addr, mech, user, password string) (string, error) {
	s, err := openSecure(addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer s.Close()
	steps := []string{"\x00" + user + "\x00" + password}
	var conversation *scram.ClientConversation
	switch mech {
	case "LOGIN":
		steps = []string{user, password}
	case "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS":
		hash := scram.SHA256
		if mech == "SCRAM-SHA-1" {
			hash = scram.SHA1
		}
		client, err := hash.NewClient(user, password, "")
		if err != nil {
			return "", err
		}
		conversation = client.NewConversation()
		steps = nil
	}
	for reply, err := s.ask("AUTH " + mech); ; {
		if err != nil || !strings.HasPrefix(reply, "334") {
			if conversation != nil && strings.HasPrefix(reply, "235") && !conversation.Valid() {
				return reply, fmt.Errorf("the server has not proved itself")
			}
			return reply, err
		}
		step := ""
		if conversation != nil {
			challenge, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(reply[3:]))
			if step, err = conversation.Step(string(challenge)); err != nil {
				return reply, err
			}
		} else if len(steps) > 0 {
			step, steps = steps[0], steps[1:]
		}
		reply, err = s.ask(base64.StdEncoding.EncodeToString([]byte(step)))
	}
}

// ask sends a command and returns its reply of one line.
func (s *secured) ask(command string) (string, error) {
	fmt.Fprint(s, command+"\r\n")
	line, err := s.r.ReadString('\n')
	return strings.TrimSpace(line), err
}
