package smtpd

import (
	"strings"

	"postern/internal/base/netaddr"
)

// An xforward is the client as an upstream content filter knows it: for logs
// only (Postfix: XFORWARD_README).
type xforward struct {
	given                                bool
	name, addr, port, proto, helo, ident string
	domain                               string // LOCAL or REMOTE
}

func (s *session) xforwardAllowed() bool {
	ok, err := s.xforwardHosts.Match(s.ctx, s.peer.name, s.peer.addr)
	return err == nil && ok && !s.standAlone || s.trusted
}

// maxProto bounds the name of a protocol. Postfix: the same.
const maxProto = 64

// xforward is XFORWARD.
func (s *session) xforward(arg string) outcome {
	if s.tx != nil {
		return say(ok(503, "5.5.1", "Error: MAIL transaction in progress"))
	}
	if arg != "" && !s.xforwardAllowed() {
		return say(ok(550, "5.7.0", "Error: insufficient authorization"))
	}
	list, bad := xattrs(arg, "XFORWARD")
	if !bad.IsZero() {
		return say(bad)
	}
	x := s.xf
	if !x.given {
		x = xforward{given: true, name: unknown, addr: unknown, port: unknown}
	}
	for _, a := range list {
		value := a[1]
		switch a[0] {
		case "NAME":
			x.name = xvalue(value, unknown)
			if !netaddr.ValidHostname(x.name) {
				return say(ok(501, "5.5.4", "Bad NAME syntax: "+value))
			}
		case "ADDR":
			if x.addr = xvalue(value, unknown); x.addr != unknown {
				if _, x.addr = s.xaddr(value); x.addr == "" {
					return say(ok(501, "5.5.4", "Bad ADDR syntax: "+value))
				}
			}
		case "PORT":
			if x.port = xvalue(value, unknown); x.port != unknown && !validPort(x.port) {
				return say(ok(501, "5.5.4", "Bad PORT syntax: "+value))
			}
		case "HELO":
			x.helo = heloName(xvalue(value, ""))
		case "PROTO":
			if len(value) > maxProto {
				return say(ok(501, "5.5.4", "Bad PROTO syntax: "+value))
			}
			x.proto = strings.ToUpper(xvalue(value, ""))
		case "IDENT":
			x.ident = xvalue(value, "")
		case "SOURCE":
			if x.domain = strings.ToUpper(xvalue(value, "REMOTE")); x.domain != "LOCAL" && x.domain != "REMOTE" {
				return say(ok(501, "5.5.4", "Bad SOURCE syntax: "+value))
			}
		default:
			return say(ok(501, "5.5.4", "Bad XFORWARD attribute name: "+a[0]))
		}
	}
	s.xf = x
	return say(ok(250, "2.0.0", "Ok"))
}
