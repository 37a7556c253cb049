package sasl

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// What crypt(3), openssl passwd and Dovecot's doveadm make of passwords.
func TestVerify(t *testing.T) {
	for _, tt := range []struct{ secret, password string }{
		{"{SHA512-CRYPT}$6$saltsalt$sfZR6YSW/Dp0uCiyF9fDipa6ORr5LVLOwXNgtzRlXXhkC7xA3w4zy97VIC3vL14AUXGJp3yBjZVztkdiBzJnX1", "geheim"},
		{"{SHA512-CRYPT}$6$rounds=1400$anotherlongsalts$LwzDR.1k24.Yk5XqNRD.1VoHL22u5bMxPP.W9EgA6oj8ewnex0.Rekf7j6hzTM09BM1OaPNuzZuE.vO08s94l0", strings.Repeat("x", 70)},
		{"{SHA512-CRYPT}$6$ab$xnh5Qsr2NdbFw1PgdZie7nLON3gv.S.23iQDBqAzkdoXPtDnVSpludXkM5UWybQO3OI7hBj9wHg9Ow6sUWD60/", ""},
		{"{SHA512-CRYPT}$6$abcdefgh$4UPJf3qf71iDb8DDBG5r.Jxy3OKpyf7on.yGTrfW2z7BZBicRPXkes.VuTPq3aS6gF63ohT6G9SJv9LejkZLu/", "Hello world!"},
		// RFC 7677 3: user "user", password "pencil".
		{"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "pencil"},
		{"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$5NUL/iiUY9tkZ2RFcT4/oQ$pICeg6ZQKpoLoGZwBhfp5lfsmHKIna+GrjshBDS54z0", "secret"},
		{"{BLF-CRYPT}$2y$05$fYFahfBo0GKCYMEUPSzUwO0BcfskHIMbHl.CT3I0.N8NphG.EhlRC", "secret"},
		{"{SCRAM-SHA-256}4096,UN8PLeHNzwqwj0rgZXvyRg==,g7VzGETWWRccJlGWd1TXy/YgNE1T7Z5BtqkjzHBtwmA=,LTQe9AuaOdqeNZVJsabi3mUQZ4nmK/CETu5+Qntepdk=", "secret"},
		{"{SSHA}2yS+Iidof693s52BSNEzvuI4yV7egr51", "secret"},
		{"{SHA512-CRYPT}$6$VeRAcrqUuPy7xCEe$BbTxUGabTqRJnDUvKSUGSCV5VIk9p/e6a12XcSLBrgxo59.E0ZwYmATf90pUu.5qogzQgG3ntk.Z98ylyv1gj1", "secret"},
	} {
		s, err := ParseSecret(tt.secret)
		if err != nil {
			t.Errorf("%s: %v", tt.secret, err)
			continue
		}
		if !s.Verify(tt.password) {
			t.Errorf("%s: %q is not taken", tt.secret, tt.password)
		}
		if s.Verify(tt.password + "x") {
			t.Errorf("%s: a wrong password is taken", tt.secret)
		}
	}
}

func TestNewSecret(t *testing.T) {
	for _, scheme := range Schemes() {
		for _, password := range []string{"secret", "pass\u00e9 \u2168", strings.Repeat("long", 17)} {
			text, err := NewSecret(scheme, password)
			if err != nil {
				t.Errorf("%s: %v", scheme, err)
				continue
			}
			if !strings.HasPrefix(text, "{"+scheme+"}") || strings.ContainsAny(text, ": \t\n") {
				t.Errorf("%s: %q", scheme, text)
			}
			s, err := ParseSecret(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if !s.Verify(prepared(password)) || s.Verify("Secret") {
				t.Errorf("%s: does not tell %q from another password", scheme, password)
			}
			if again, _ := NewSecret(scheme, password); again == text {
				t.Errorf("%s: the salt is always the same", scheme)
			}
		}
		for _, password := range []string{"", strings.Repeat("x", maxPassword+1)} {
			if _, err := NewSecret(scheme, password); err == nil {
				t.Errorf("%s: a password of %d octets is taken", scheme, len(password))
			}
		}
	}
}

func TestParseSecretRefuses(t *testing.T) {
	salt := base64.StdEncoding.EncodeToString([]byte("saltsalt"))
	for _, tt := range []struct{ text, want string }{
		{"secret", "no {SCHEME}"},
		{"{PLAIN}secret", "{PLAIN} is not supported"},
		{"{SSHA}####", "malformed"},
		{"{SSHA}" + salt, "malformed"},
		{"{BLF-CRYPT}$2y$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "above"},
		{"{ARGON2ID}$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA", "out of bounds"},
		{"{ARGON2ID}$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA", "malformed"},
		{"{SHA512-CRYPT}$5$x$y", "malformed"},
		{"{SHA512-CRYPT}$6$rounds=999999999$x$y", "out of bounds"},
		{"{SCRAM-SHA-256}4096," + salt, "malformed"},
		{"{SCRAM-SHA-256}4096," + salt + "," + salt + "," + salt, "wrong length"},
		{fmt.Sprintf("{SCRAM-SHA-256}%d,%s,%s,%s", maxIterations+1, salt, salt, salt), "out of bounds"},
	} {
		if _, err := ParseSecret(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, scheme := range []string{schemeSSHA, schemeSCRAM1} {
		text, _ := NewSecret(scheme, "secret")
		f.Add(text)
	}
	f.Add("{SHA512-CRYPT}$6$rounds=1000$ab$x")
	f.Add("{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSecret(text); err == nil && s == nil {
			t.Fatal("no secret and no error")
		}
	})
}
