package smtpd

import (
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/protocol/smtp"
	"postern/internal/receive/smtpd/restrict"
)

// Values of XCLIENT and XFORWARD attributes that say that there is none.
const (
	unavailable = "[UNAVAILABLE]"
	tempUnavail = "[TEMPUNAVAIL]"
)

// maxXattr bounds one attribute (Postfix: 255).
const maxXattr = 255

func xclientNames(sasl bool) string {
	return "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"
}

func (s *session) xclientAllowed() bool {
	ok, err := s.xclientHosts.Match(s.ctx, s.peer.name, s.peer.addr)
	return err == nil && ok && !s.standAlone
}

// xattrs reads "NAME=value …", the values in xtext.
func xattrs(arg, verb string) (list [][2]string, bad smtp.Reply) {
	for word := range strings.FieldsSeq(arg) {
		name, value, has := strings.Cut(word, "=")
		if !has || value == "" {
			return nil, ok(501, "5.5.4", "Error: attribute=value expected")
		}
		if len(value) > maxXattr {
			return nil, ok(501, "5.5.4", "Error: attribute value too long")
		}
		decoded, err := smtp.DecodeXtext(value)
		if err != nil || !printableUTF8(decoded) {
			return nil, ok(501, "5.5.4", "Bad "+strings.ToUpper(name)+" syntax: "+value)
		}
		list = append(list, [2]string{strings.ToUpper(name), decoded})
	}
	if len(list) == 0 {
		return nil, ok(501, "5.5.4", "Syntax: "+verb+" attribute=value...")
	}
	return list, smtp.Reply{}
}

func printableUTF8(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// xclient is XCLIENT: a trusted client speaks for another one, and the dialogue
// begins again (Postfix: XCLIENT_README).
func (s *session) xclient(arg string) outcome {
	if s.tx != nil {
		return say(ok(503, "5.5.1", "Error: MAIL transaction in progress"))
	}
	if arg != "" && !s.xclientAllowed() {
		return say(ok(550, "5.7.0", "Error: insufficient authorization"))
	}
	list, bad := xattrs(arg, "XCLIENT")
	if !bad.IsZero() {
		return say(bad)
	}
	p, helo, proto, login := s.peer, "", "", ""
	hasLogin := false
	for _, a := range list {
		value := a[1]
		none := value == unavailable || value == tempUnavail
		switch a[0] {
		case "NAME":
			p.name, p.status = xname(value)
			if p.name == "" {
				return say(ok(501, "5.5.4", "Bad NAME syntax: "+value))
			}
		case "REVERSE_NAME":
			p.reverse, p.reverseStatus = xname(value)
			if p.reverse == "" {
				return say(ok(501, "5.5.4", "Bad REVERSE_NAME syntax: "+value))
			}
		case "ADDR":
			if none {
				p.addr, p.ip = unknown, netip.Addr{}
			} else if !setAddr(&p, value) {
				return say(ok(501, "5.5.4", "Bad ADDR syntax: "+value))
			}
		case "PORT":
			if p.port = xvalue(value, "0"); !validPort(p.port) {
				return say(ok(501, "5.5.4", "Bad PORT syntax: "+value))
			}
		case "DESTADDR":
			p.serverAddr = xvalue(strings.TrimPrefix(value, "IPV6:"), "0.0.0.0")
		case "DESTPORT":
			if p.serverPort = xvalue(value, "0"); !validPort(p.serverPort) {
				return say(ok(501, "5.5.4", "Bad DESTPORT syntax: "+value))
			}
		case "HELO":
			helo = xvalue(value, "")
		case "PROTO":
			if proto = strings.ToUpper(value); proto != "SMTP" && proto != "ESMTP" {
				return say(ok(501, "5.5.4", "Bad PROTO syntax: "+value))
			}
		case "LOGIN":
			login, hasLogin = xvalue(value, ""), true
		default:
			return say(ok(501, "5.5.4", "Bad XCLIENT attribute name: "+a[0]))
		}
	}
	return s.become(p, helo, proto, login, hasLogin)
}

// become changes the client and greets it.
func (s *session) become(p peer, helo, proto, login string, hasLogin bool) outcome {
	s.uncount()
	s.reset()
	s.milters.Disconnect()
	s.milters = nil
	s.xf = xforward{}
	s.subject.NewSession()
	s.setPeer(p)
	if helo != "" {
		s.subject.Helo, s.subject.HasHelo = heloName(helo), true
	}
	if proto != "" {
		s.subject.Protocol = proto
	}
	if hasLogin {
		s.auth = nil
		s.subject.SASLMethod, s.subject.SASLUsername = "", ""
		if login != "" {
			s.auth = &authState{method: "XCLIENT", user: login}
			s.subject.SASLMethod, s.subject.SASLUsername = "XCLIENT", printableName(login)
		}
	}
	s.subject.PipeliningOK = false
	s.chooseDiscards()
	return outcome{Reply: s.greeting(), uncounted: true}
}

// validPort says whether s is a number. Postfix: a large one is taken, too.
func validPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// xvalue is a value, or what stands for none.
func xvalue(value, none string) string {
	if value == unavailable || value == tempUnavail {
		return none
	}
	return value
}

// xname is a host name with its lookup status; "" when it is none.
func xname(value string) (string, int) {
	switch {
	case value == unavailable:
		return unknown, restrict.NamePerm
	case value == tempUnavail:
		return unknown, restrict.NameRetry
	case !netaddr.ValidHostname(value):
		return "", 0
	}
	return value, restrict.NameOK
}

// setAddr reads an address; IPv6 ones may have the prefix "IPV6:".
func setAddr(p *peer, value string) bool {
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return false
	}
	p.ip = a.Unmap()
	p.addr = p.ip.String()
	return true
}
