package smtpd

import "postern/internal/protocol/smtp"

// An outcome is what a handler has the loop do: send the reply and, where the
// command goes on (the content after DATA, the handshake of STARTTLS), call
// next.
type outcome struct {
	smtp.Reply
	next      func() outcome
	failed    bool // counts as an error of the client; a reply that is not positive does anyway
	uncounted bool // neither success nor error (Postfix: XCLIENT begins the dialogue again)
	silent    bool // there is no reply: the session is over
}

func say(r smtp.Reply) outcome { return outcome{Reply: r} }

// Flags of a command.
type flags uint8

const (
	junk   flags = 1 << iota // counts towards smtpd_junk_command_limit
	preTLS                   // may be given before a mandatory STARTTLS
	last                     // must be the last of a pipelined group (RFC 2920 3.1)
)

// A command is a verb and what it does.
type command struct {
	verb  string
	run   func(s *session, arg string) outcome
	flags flags
}

// numbers of the commands in the table, for counting.
const (
	cmdHELO = iota
	cmdEHLO
	cmdXCLIENT
	cmdXFORWARD
	cmdSTARTTLS
	cmdAUTH
	cmdMAIL
	cmdRCPT
	cmdDATA
	cmdBDAT
	cmdRSET
	cmdNOOP
	cmdVRFY
	cmdETRN
	cmdQUIT
	cmdHELP
	cmdUnknown
)

// commands is the table of verbs, in the order of the counts at the end of a
// session.
var commands = [...]command{
	cmdHELO:     {"HELO", (*session).helo, junk | preTLS | last},
	cmdEHLO:     {"EHLO", (*session).ehlo, junk | preTLS | last},
	cmdXCLIENT:  {"XCLIENT", (*session).xclient, preTLS | last},
	cmdXFORWARD: {"XFORWARD", (*session).xforward, 0},
	cmdSTARTTLS: {"STARTTLS", (*session).starttls, preTLS | last},
	cmdAUTH:     {"AUTH", (*session).authenticate, last},
	cmdMAIL:     {"MAIL", (*session).mail, 0},
	cmdRCPT:     {"RCPT", (*session).rcpt, 0},
	cmdDATA:     {"DATA", (*session).data, last},
	cmdBDAT:     {"BDAT", (*session).bdat, 0},
	cmdRSET:     {"RSET", (*session).rset, junk},
	cmdNOOP:     {"NOOP", (*session).noop, junk | preTLS | last},
	cmdVRFY:     {"VRFY", (*session).vrfy, junk | last},
	cmdETRN:     {"ETRN", (*session).etrn, junk},
	cmdQUIT:     {"QUIT", (*session).quit, preTLS},
	cmdHELP:     {"HELP", (*session).help, junk | preTLS},
}

// lookup finds a verb in any case; cmdUnknown when there is none.
func lookup(verb string) int {
	for i := range commands {
		if len(verb) == len(commands[i].verb) && equalFold(verb, commands[i].verb) {
			return i
		}
	}
	return cmdUnknown
}

// equalFold compares ASCII text without regard to case; upper is in capitals.
func equalFold(s, upper string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
