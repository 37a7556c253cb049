package cleanup

import (
	"strings"
	"testing"

	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/queue"
)

// REQUIRETLS comes as a flag or, from a content filter, as a header field; the
// queue file has it as an option and as a field.
func TestRequireTLS(t *testing.T) {
	const field = "Require-TLS-ESMTP: yes"
	for _, tt := range []struct {
		name, config string
		flag         bool
		header       string
		opts         int
		fields       int
	}{
		{"flag", "", true, "", optRequireTLS, 1},
		{"field", "", false, field + "\n", optRequireTLS, 1},
		{"field in other letters", "", false, "require-tls-esmtp:  YES \n", optRequireTLS, 1},
		{"flag and field", "", true, field + "\n", optRequireTLS, 1},
		{"neither", "", false, "", 0, 0},
		{"another value", "", false, "Require-TLS-ESMTP: no\n", 0, 1},
		{"no fields", "requiretls_esmtp_header = no\n", true, "", optRequireTLS, 0},
		{"no fields, one comes", "requiretls_esmtp_header = no\n", false, field + "\n", 0, 1},
		{"turned off", "requiretls_enable = no\n", false, field + "\n", 0, 1},
		{"field that is dropped", "message_drop_headers = require-tls-esmtp\n", false, field + "\n", optRequireTLS, 0},
		{"field that a check removes", "header_checks = re:{^Require-TLS IGNORE}\n", false, field + "\n", 0, 0},
		{"both wishes", "", true, "TLS-Required: No\n", optRequireTLS | optNoTLS, 1},
	} {
		in := newInstance(t, tt.config)
		m := mail{flags: smtpClient, content: "Subject: x\n" + tt.header + "\nRequire-TLS-ESMTP: yes\n"}
		if tt.flag {
			m.flags |= ipc.FlagRequireTLS
		}
		id, status, _ := in.send(m)
		if status != 0 {
			t.Fatalf("%s: status %v", tt.name, status)
		}
		if got := in.sizes(queue.Incoming, id).SendOpts; got != tt.opts {
			t.Errorf("%s: options %d, want %d", tt.name, got, tt.opts)
		}
		header, _, _ := strings.Cut(in.records(queue.Incoming, id), "N \n")
		if got := strings.Count(strings.ToLower(header), "n require-tls-esmtp:"); got != tt.fields {
			t.Errorf("%s: %d fields, want %d", tt.name, got, tt.fields)
		}
	}
}
