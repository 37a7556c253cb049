package restrict

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"

	"postern/internal/protocol/starttls"
)

func TestCcertAccess(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"check_ccert_access inline:{{AA=OK},{BB=REJECT no}}", ""},
		{"check_ccert_access {inline:{{AA=OK},{BB=REJECT no}}, { search_order = pubkey_fingerprint, cert_fingerprint }}", "554 5.7.1 <client>: Client certificate rejected: no"},
		{"check_ccert_access {inline:{{BB=REJECT no}}, { search_order = cert_fingerprint }}", "554 5.7.1 <client>: Client certificate rejected: last"},
		{"check_ccert_access {inline:{{CC=OK}}, { search_order = issuer }}", "error: unknown key \"issuer\""},
		{"check_ccert_access {inline:{{CC=OK}}, { order = x }}", "error: unknown option"},
	} {
		e, _, err := newEngine("smtpd_client_restrictions = " + tt.list + ", check_ccert_access inline:{{AA=REJECT last}}\nsmtpd_relay_restrictions = reject_unauth_destination\n")
		if want, bad := strings.CutPrefix(tt.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", tt.list, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s := &Subject{Stage: "RCPT", ClientName: "c.example", ClientAddr: "198.51.100.1", HasSender: true, Sender: "a@b.example", HasRecipient: true, Recipient: "u@local.example",
			TLS: &starttls.Session{Peer: &x509.Certificate{}, PeerCN: "client", CertFingerprint: "AA", KeyFingerprint: "BB"}}
		if got := e.To(context.Background(), s); got.String() != tt.want && !(tt.want == "" && got.IsZero()) {
			t.Errorf("%s: got %s, want %s", tt.list, got.String(), tt.want)
		}
	}
}
