package starttls

import (
	"fmt"
	"slices"
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
