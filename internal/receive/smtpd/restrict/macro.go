package restrict

import (
	"fmt"
	"strings"

	"postern/internal/mail/address"
)

// Macro is the value of an attribute of the session in the replies of DNS lists
// and in footers (postconf(5), smtpd_reject_footer). A name that does not exist
// is logged.
func (e *Engine) Macro(s *Subject, name string) (string, bool) {
	switch name {
	case "localtime":
		return e.env.Now().Format("Jan 02 15:04:05"), true
	case "server_name":
		return e.env.Common.MyHostname, true
	}
	v, ok := s.macro(name)
	if !ok {
		e.env.Log.Warningf("unknown macro name %.100q in expansion request", name)
	}
	return v, ok
}

// macro is the value of an attribute of the client or the message.
func (s *Subject) macro(name string) (string, bool) {
	senderLocal, senderDomain := address.Split(s.Sender)
	rcptLocal, rcptDomain := address.Split(s.Recipient)
	values := map[string]string{
		"client": s.ClientName + "[" + s.ClientAddr + "]", "client_address": s.ClientAddr, "client_name": s.ClientName,
		"client_port": s.ClientPort, "reverse_client_name": s.ReverseName, "server_address": s.ServerAddr,
		"server_port": s.ServerPort, "helo_name": s.Helo, "sender": s.Sender, "sender_name": senderLocal,
		"sender_domain": senderDomain, "recipient": s.Recipient, "recipient_name": rcptLocal, "recipient_domain": rcptDomain,
		"sasl_username": s.SASLUsername, "sasl_method": s.SASLMethod, "sasl_sender": s.SASLSender,
	}
	val, ok := values[name]
	if name == "sender" && s.HasSender && s.Sender == "" {
		val = "<>"
	}
	return val, ok
}

// Unescape reads the backslash sequences of a C string.
func Unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("backslash at the end of %q", s)
		}
		switch c := s[i]; c {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n, j := 0, i
			for j < len(s) && j < i+3 && s[j] >= '0' && s[j] <= '7' {
				n = n*8 + int(s[j]-'0')
				j++
			}
			b.WriteByte(byte(n))
			i = j - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
