package netaddr

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Limits of RFC 1035 2.3.4, as Postfix checks them.
const (
	maxName  = 255
	maxLabel = 63
)

// ValidHostname says whether s is a host name: labels of letters, digits, '-'
// and '_', none empty or with '-' at an end, and not all digits.
func ValidHostname(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	numeric := true
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			switch {
			case '0' <= c && c <= '9':
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '-':
				numeric = false
			default:
				return false
			}
		}
	}
	return !numeric
}

// ValidUTF8Hostname is ValidHostname for a name that may have labels beyond
// ASCII: its ASCII form (RFC 5891) must be a host name.
func ValidUTF8Hostname(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			ascii, err := idna.Lookup.ToASCII(s)
			return err == nil && ValidHostname(ascii)
		}
	}
	return ValidHostname(s)
}

// ValidAddress says whether s is a bare IPv4 or IPv6 address.
func ValidAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// Literal returns the address in a domain literal, "[1.2.3.4]" or "[IPv6:::1]"
// (RFC 5321 4.1.3).
func Literal(s string) (netip.Addr, bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	s = s[1 : len(s)-1]
	six := len(s) > 5 && strings.EqualFold(s[:5], "ipv6:")
	if six {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4() == six {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
