package smtpd

import (
	"io"
	"strings"
	"testing"
)

// TestStressParameters: a session that begins under stress has the values of
// every parameter, the server's own and those of all programs, as they are with
// stress=yes; one that has begun before goes on as it was.
func TestStressParameters(t *testing.T) {
	for _, tt := range []struct{ name, settings, calm, stressed string }{
		{"banner", "smtpd_banner = $myhostname ESMTP${stress?{ busy}}",
			"S: 220 mail.local.example ESMTP", "S: 220 mail.local.example ESMTP busy"},
		{"own parameter", "cost = ${stress?{1}:{2}}\nsmtpd_hard_error_limit = $cost",
			"S: 220 *\nC: X\nS: 500 *\nC: X\nS: 500 *\nC: NOOP\nS: 421 *", "S: 220 *\nC: X\nS: 500 *\nC: NOOP\nS: 421 *"},
		{"default", "", "S: 220 *\nC: X\nS: 500 *\nC: NOOP\nS: 250 *", "S: 220 *\nC: X\nS: 500 *\nC: NOOP\nS: 421 *"},
		{"list", "smtpd_noop_commands = ${stress?{XIDLE}}",
			"S: 220 *\nC: XIDLE\nS: 500 *", "S: 220 *\nC: XIDLE\nS: 250 *"},
		{"table that is not used then", "smtpd_command_filter = ${stress?{}:{pcre:{{/^XA/ NOOP}}}}",
			"S: 220 *\nC: XA\nS: 250 *", "S: 220 *\nC: XA\nS: 500 *"},
		{"restriction", "smtpd_helo_restrictions = ${stress?{reject}:{permit}}\nsmtpd_delay_reject = no",
			"S: 220 *\nC: HELO x\nS: 250 *", "S: 220 *\nC: HELO x\nS: 554 *"},
		{"parameter of all programs", "message_size_limit = ${stress?{4000}:{9000}}\nsmtpd_discard_ehlo_keywords = pipelining,vrfy,etrn,enhancedstatuscodes,8bitmime,dsn,smtputf8,chunking",
			"S: 220 *\nC: EHLO x\nS: 250-mail.local.example|250 SIZE 9000", "S: 220 *\nC: EHLO x\nS: 250-mail.local.example|250 SIZE 4000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.settings+"\n")
			early := b.dial(t)
			greeting := early.reply()
			b.strain.Store(true)
			b.play(t, tt.stressed)
			io.WriteString(early, "X\r\nX\r\n") // one error too many for a session under stress
			if first := early.reply() + " " + early.reply(); !strings.HasPrefix(greeting, "220") || strings.Contains(first, "421") {
				t.Errorf("an early session: %s, %s", greeting, first)
			}
			b.strain.Store(false)
			b.play(t, tt.calm)
		})
	}
}
