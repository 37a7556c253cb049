package smtpd

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestStates sends all pairs and triples of commands and checks that replies
// follow from the state alone: no command leaves something behind.
func TestStates(t *testing.T) {
	b := newBench(t, "smtpd_hard_error_limit = 1000000\nsmtpd_soft_error_limit = 1000000\nsmtpd_junk_command_limit = 1000000\n")
	steps := []struct {
		name, send string
		// what the command does to the state, in which state
		want func(st *state) string
	}{
		{"EHLO", "EHLO x\r\n", func(st *state) string { *st = state{}; return "250" }},
		{"MAIL", "MAIL FROM:<a@b>\r\n", func(st *state) string {
			if st.mail || st.bad {
				return "503"
			}
			*st = state{mail: true}
			return "250"
		}},
		{"RCPT", "RCPT TO:<u@local.example>\r\n", func(st *state) string {
			if !st.mail || st.bad || st.bdat {
				return "503"
			}
			st.rcpt = true
			return "250"
		}},
		{"bad RCPT", "RCPT TO:<u@other.example>\r\n", func(st *state) string {
			if !st.mail || st.bad || st.bdat {
				return "503"
			}
			return "454"
		}},
		{"DATA", "DATA\r\n", func(st *state) string {
			switch {
			case st.bad || st.bdat, !st.mail:
				return "503"
			case !st.rcpt:
				return "554"
			}
			*st = state{}
			return "354"
		}},
		{"BDAT", "BDAT 2\r\nx\n", func(st *state) string {
			switch {
			case st.bad:
				return "551"
			case !st.mail:
				st.bad = true
				return "503"
			case !st.rcpt:
				st.bad = true
				return "554"
			}
			st.bdat = true
			return "250"
		}},
		{"BDAT LAST", "BDAT 0 LAST\r\n", func(st *state) string {
			was := *st
			*st = state{}
			switch {
			case was.bad:
				return "551"
			case !was.mail:
				return "503"
			case !was.rcpt:
				return "554"
			}
			return "250"
		}},
		{"RSET", "RSET\r\n", func(st *state) string { *st = state{}; return "250" }},
		{"NOOP", "NOOP\r\n", func(*state) string { return "250" }},
		{"VRFY", "VRFY u@local.example\r\n", func(*state) string { return "252" }},
		{"unknown", "FOO\r\n", func(*state) string { return "500" }},
		{"STARTTLS", "STARTTLS\r\n", func(*state) string { return "502" }},
	}
	c := b.dial(t)
	c.reply()
	for i := range steps {
		for j := range steps {
			for k := range steps {
				var st state
				io.WriteString(c, "EHLO x\r\n")
				c.reply()
				for _, n := range [...]int{i, j, k} {
					io.WriteString(c, steps[n].send)
					got, want := c.reply(), steps[n].want(&st)
					if !strings.HasPrefix(got, want) {
						t.Fatalf("%s, %s, %s: reply to %s is %q, want %s", steps[i].name, steps[j].name, steps[k].name, steps[n].name, got, want)
					}
					if want == "354" {
						io.WriteString(c, "x\r\n.\r\n")
						if got := c.reply(); !strings.HasPrefix(got, "250") {
							t.Fatalf("end of data: %q", got)
						}
					}
				}
				c.SetDeadline(time.Now().Add(time.Minute))
			}
		}
	}
}

type state struct{ mail, rcpt, bdat, bad bool }
