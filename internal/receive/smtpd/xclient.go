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

// xclientNames are the attributes that EHLO announces, in Postfix's order.
const xclientNames = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"

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
		// Postfix: what is not in xtext is taken as it stands.
		if decoded, err := smtp.DecodeXtext(value); err == nil {
			value = decoded
		}
		list = append(list, [2]string{strings.ToUpper(name), printableName(value)})
	}
	if len(list) == 0 {
		return nil, ok(501, "5.5.4", "Syntax: "+verb+" attribute=value...")
	}
	return list, smtp.Reply{}
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
	for _, a := range list {
		value := a[1]
		none := value == unavailable
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
			} else if p.ip, p.addr = s.xaddr(value); p.addr == "" {
				return say(ok(501, "5.5.4", "Bad ADDR syntax: "+value))
			}
		case "PORT":
			if p.port = xvalue(value, "0"); !validPort(p.port) {
				return say(ok(501, "5.5.4", "Bad PORT syntax: "+value))
			}
		case "DESTADDR":
			if p.serverAddr = "0.0.0.0"; !none {
				if _, p.serverAddr = s.xaddr(value); p.serverAddr == "" {
					return say(ok(501, "5.5.4", "Bad DESTADDR syntax: "+value))
				}
			}
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
			login = xvalue(value, "")
		default:
			return say(ok(501, "5.5.4", "Bad XCLIENT attribute name: "+a[0]))
		}
	}
	return s.become(p, helo, proto, login)
}

// become changes the client and greets it.
func (s *session) become(p peer, helo, proto, login string) outcome {
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
	s.auth = nil // Postfix: also where LOGIN is not given
	s.subject.SASLMethod, s.subject.SASLUsername = "", ""
	if login != "" {
		s.auth = &authState{method: "XCLIENT", user: login}
		s.subject.SASLMethod, s.subject.SASLUsername = "XCLIENT", printableName(login)
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
	if value == unavailable {
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

// xaddr reads an address of a family that inet_protocols has; IPv6 ones may
// have the prefix "IPV6:". The text is "" for what is none.
func (s *session) xaddr(value string) (netip.Addr, string) {
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	a, err := netip.ParseAddr(value)
	a = a.Unmap()
	if err != nil || a.Zone() != "" || a.Is4() && !s.families.IPv4 || a.Is6() && !s.families.IPv6 {
		return netip.Addr{}, ""
	}
	return a, a.String()
}
