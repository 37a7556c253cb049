package smtpd

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/ipc/anvil"
	"postern/internal/protocol/sasl"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// withUsers is a server with the users joe and ann@org.example, whose
// passwords are "secret".
func withUsers(t *testing.T, settings string) *bench {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	var text strings.Builder
	for _, name := range []string{"joe", "ann@org.example"} {
		secret, err := sasl.NewSecret("SSHA", "secret")
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ":" + secret + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o640); err != nil {
		t.Fatal(err)
	}
	return newBench(t, "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern\nsmtpd_sasl_users = "+path+"\n"+settings)
}

const helloAuth = `
S: 220 mail.local.example ESMTP Postern
C: EHLO client.example
S: 250-mail.local.example|250-PIPELINING|250-SIZE 10240000|250-VRFY|250-ETRN|250-AUTH PLAIN LOGIN|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-DSN|250-SMTPUTF8|250 CHUNKING
`

func TestAuth(t *testing.T) {
	good, bad := b64("\x00joe\x00secret"), b64("\x00joe\x00wrong")
	for _, tt := range []struct{ name, settings, dialogue, log string }{
		{"plain", "smtpd_sasl_authenticated_header = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject", helloAuth + `
C: AUTH PLAIN ` + good + `
S: 235 2.7.0 Authentication successful
C: AUTH PLAIN ` + good + `
S: 503 5.5.1 Error: already authenticated
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok
C: RCPT TO:<x@elsewhere.example>
S: 250 2.1.5 Ok`, "client=unknown[127.0.0.1], sasl_method=PLAIN, sasl_username=joe"},
		{"plain, one step more", "", helloAuth + `
C: AUTH plain
S: 334*
C: ` + good + `
S: 235 2.7.0 Authentication successful`, ""},
		{"login", "smtpd_sasl_local_domain = org.example", helloAuth + `
C: AUTH LOGIN
S: 334 ` + b64("Username:") + `
C: ` + b64("ann") + `
S: 334 ` + b64("Password:") + `
C: ` + b64("secret") + `
S: 235 2.7.0 Authentication successful`, ""},
		{"wrong password", "", helloAuth + `
C: AUTH PLAIN ` + bad + `
S: 535 5.7.8 Error: authentication failed: authentication failure
C: AUTH PLAIN ` + good + `
S: 235 2.7.0 Authentication successful`,
			"warning: unknown[127.0.0.1]: SASL PLAIN authentication failed: authentication failure, sasl_username=joe"},
		{"aborted", "", helloAuth + `
C: AUTH LOGIN
S: 334 *
C: *
S: 501 5.7.0 Authentication aborted`, ""},
		{"malformed", "", helloAuth + `
C: AUTH PLAIN ####
S: 535 5.7.8 *
C: AUTH
S: 501 5.5.4 Syntax: AUTH mechanism
C: AUTH EXTERNAL =
S: 535 5.7.8 Error: authentication failed: Invalid authentication mechanism`, ""},
		{"too long", "smtpd_sasl_response_limit = 12288", helloAuth + `
C: AUTH PLAIN
S: 334*
C: ` + strings.Repeat("A", 13000) + `
S: 500 5.5.6 SASL response limit exceeded
C: NOOP
S: 250 2.0.0 Ok`, ""},
		{"no plain text passwords", "smtpd_sasl_security_options = noanonymous, noplaintext", strings.Replace(helloAuth, "250-AUTH PLAIN LOGIN|", "", 1) + `
C: AUTH PLAIN ` + good + `
S: 535 5.7.8 Error: authentication failed: Invalid authentication mechanism`,
			`warning: no SASL authentication mechanisms: smtpd_sasl_security_options and smtpd_sasl_mechanism_filter leave none of "PLAIN LOGIN"; AUTH is not offered`},
		{"the filter leaves nothing", "smtpd_sasl_mechanism_filter = gssapi", strings.Replace(helloAuth, "250-AUTH PLAIN LOGIN|", "", 1) + `
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok`, "warning: no SASL authentication mechanisms: "},
		{"a filter that cannot be asked", "smtpd_sasl_mechanism_filter = fail:filter", strings.Replace(helloAuth, "250-AUTH PLAIN LOGIN|", "", 1) + `
C: AUTH PLAIN ` + good + `
S: 454 4.7.0 Temporary authentication failure: authentication service is not available`, "warning: AUTH is not offered to unknown[127.0.0.1]: "},
		{"the service is not there", "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = nonexistent/socket", strings.Replace(helloAuth, "250-AUTH PLAIN LOGIN|", "", 1) + `
C: AUTH PLAIN ` + good + `
S: 454 4.7.0 Temporary authentication failure: authentication service is not available
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok`, "warning: AUTH is not offered to unknown[127.0.0.1]: connect to the SASL service: "},
		{"filtered", "smtpd_sasl_mechanism_filter = !login, static:rest", strings.Replace(helloAuth, " LOGIN|", "|", 1) + `
C: AUTH LOGIN
S: 535 5.7.8 Error: authentication failed: Invalid authentication mechanism`, ""},
		{"only under TLS", "smtpd_tls_auth_only = yes", hello + `
C: AUTH PLAIN ` + good + `
S: 503 5.5.1 Error: authentication not enabled`, ""},
		{"exempt networks", "smtpd_sasl_exceptions_networks = 127.0.0.0/8", hello + `
C: AUTH PLAIN ` + good + `
S: 235 2.7.0 Authentication successful`, ""},
		{"broken clients", "broken_sasl_auth_clients = yes", strings.Replace(helloAuth, "250-AUTH PLAIN LOGIN|", "250-AUTH PLAIN LOGIN|250-AUTH=PLAIN LOGIN|", 1), ""},
		{"in a transaction", "", helloAuth + `
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok
C: AUTH PLAIN ` + good + `
S: 503 5.5.1 Error: MAIL transaction in progress`, ""},
		{"login map", "smtpd_sender_login_maps = inline:{a@b.example=ann}\nsmtpd_sender_restrictions = reject_sender_login_mismatch", helloAuth + `
C: AUTH PLAIN ` + good + `
S: 235 2.7.0 Authentication successful
C: MAIL FROM:<a@b.example>
S: 250 2.1.0 Ok
C: RCPT TO:<u@local.example>
S: 553 5.7.1 <a@b.example>: Sender address rejected: not owned by user joe`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := withUsers(t, tt.settings)
			b.play(t, tt.dialogue)
			if tt.log != "" {
				b.logged(t, tt.log)
			}
		})
	}
}

// rates counts AUTH commands as anvil does.
type rates map[anvil.Event]int

func (r rates) Tell(_ context.Context, e anvil.Event, _, _ string) (anvil.Counts, error) {
	r[e]++
	return anvil.Counts{Rate: r[e], Count: 1}, nil
}

// A client may not try passwords as often as it likes.
func TestAuthRate(t *testing.T) {
	b := withUsers(t, "smtpd_client_auth_rate_limit = 2\nsmtpd_client_event_limit_exceptions =\n")
	b.counter = rates{}
	bad := b64("\x00joe\x00wrong")
	b.play(t, helloAuth+`
C: AUTH PLAIN `+bad+`
S: 535 5.7.8 Error: authentication failed: authentication failure
C: AUTH PLAIN `+bad+`
S: 535 5.7.8 Error: authentication failed: authentication failure
C: AUTH PLAIN `+b64("\x00joe\x00secret")+`
S: 450 4.7.1 Error: too many AUTH commands from 127.0.0.1
C: QUIT
S: 221 2.0.0 Bye`)
	b.logged(t, "AUTH command rate limit exceeded: 3 from unknown[127.0.0.1] for service smtp")
}
