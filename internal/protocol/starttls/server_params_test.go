package starttls

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

type lines []string

func (l *lines) Infof(format string, args ...any)    { *l = append(*l, fmt.Sprintf(format, args...)) }
func (l *lines) Warningf(format string, args ...any) { l.Infof(format, args...) }

// What is set and has no effect is said at start.
func TestSettingsWithoutEffect(t *testing.T) {
	const noDH = " has no effect: finite-field Diffie-Hellman is not used"
	for _, tt := range []struct {
		name, value, want string
	}{
		{"smtpd_tls_dh1024_param_file", "/etc/postfix/dh.pem", "smtpd_tls_dh1024_param_file" + noDH},
		{"smtpd_tls_dh1024_param_file", "auto", ""},
		{"smtpd_tls_dh512_param_file", "/x", "smtpd_tls_dh512_param_file" + noDH},
		{"tls_ffdhe_auto_groups", "ffdhe2048", "tls_ffdhe_auto_groups" + noDH},
		{"smtpd_tls_always_issue_session_ids", "no", "smtpd_tls_always_issue_session_ids = no has no effect: sessions are resumed by tickets only"},
		{"smtpd_tls_always_issue_session_ids", "yes", ""},
		{"tls_preempt_cipherlist", "yes", ""}, // it is always so
	} {
		var p ServerParams
		set := param.NewSet()
		p.Params(set)
		if err := set.Load(maincf.Empty("main.cf").Override("compatibility_level", "3.11", "test").Override(tt.name, tt.value, "test")); err != nil {
			t.Fatal(err)
		}
		var log lines
		if err := p.refuse(&log); err != nil {
			t.Fatal(err)
		}
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		if !slices.Equal(log, want) {
			t.Errorf("%s = %s: got %q, want %q", tt.name, tt.value, []string(log), want)
		}
	}
}

// What cannot be used in the parameters costs TLS and nothing else.
func TestSettingsThatCannotBeUsed(t *testing.T) {
	chain := filepath.Join(t.TempDir(), "chain")
	writeCert(t, chain, "mail.example")
	for _, tt := range []struct{ name, value, want string }{
		{"smtpd_tls_protocols", "TLSv9", `invalid TLS protocol "TLSv9" in "TLSv9"`},
		{"smtpd_tls_protocols", "!TLSv1.2, !TLSv1.3", `no TLS protocol is left in "!TLSv1.2, !TLSv1.3"`},
		{"smtpd_tls_ciphers", "nonsense", `invalid TLS cipher grade "nonsense"`},
		{"smtpd_tls_ciphers", "null", `TLS cipher grade "null": ciphers without encryption are not supported`},
		{"smtpd_tls_exclude_ciphers", "ALL", `TLS cipher grade "medium": no cipher is left of `},
		{"smtpd_tls_fingerprint_digest", "crc32", `smtpd_tls_fingerprint_digest: `},
		{"smtpd_tls_CAfile", "/nonexistent", `smtpd_tls_CAfile, smtpd_tls_CApath: open /nonexistent: `},
	} {
		var p ServerParams
		set := param.NewSet()
		p.Params(set)
		conf := maincf.Empty("main.cf").Override("compatibility_level", "3.11", "test").Override("smtpd_tls_security_level", "may", "test").
			Override("smtpd_tls_chain_files", chain, "test").Override(tt.name, tt.value, "test")
		if err := set.Load(conf); err != nil {
			t.Fatal(err)
		}
		var log lines
		s, err := p.Open(Around{Log: &log})
		if err != nil || s == nil || s.Available() || s.Level() != May {
			t.Errorf("%s = %s: %+v, %v", tt.name, tt.value, s, err)
		}
		s.Close()
		if len(log) != 1 || !strings.HasPrefix(log[0], tt.want) || !strings.HasSuffix(log[0], ": disabling TLS support") {
			t.Errorf("%s = %s: got %q, want %q", tt.name, tt.value, []string(log), tt.want)
		}
	}
}
