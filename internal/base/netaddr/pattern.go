// Package netaddr is network addresses as main.cf and tables write them:
// addresses and networks in patterns, the machine's own addresses, and the
// lists inet_interfaces and inet_protocols.
package netaddr

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseAddr parses an address, with or without [ ], and takes an IPv4 address
// out of its IPv6 form.
func ParseAddr(s string) (netip.Addr, error) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bad address: %q", s)
	}
	return a.Unmap(), nil
}

// ParsePattern parses "address", "address/bits", "[address]/bits" or
// "[address/bits]". Bits of the host part must be zero. As in C, an IPv4
// octet that begins with 0 is octal.
func ParsePattern(s string) (netip.Prefix, error) {
	addr, bits, hasBits, err := cutPattern(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a, err := parseNet(addr)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("bad net/mask pattern: %q", s)
	}
	n := a.BitLen()
	if hasBits {
		n, err = strconv.Atoi(bits)
		if err != nil || n < 0 || n > a.BitLen() || bits[0] == '+' {
			return netip.Prefix{}, fmt.Errorf("bad net/mask pattern: %q", s)
		}
	}
	p := netip.PrefixFrom(a, n)
	if p.Masked() != p {
		return netip.Prefix{}, fmt.Errorf("non-null host address bits in %q, perhaps you should use %q instead", s, p.Masked().String())
	}
	return p, nil
}

func cutPattern(s string) (addr, bits string, hasBits bool, err error) {
	rest := s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false, fmt.Errorf("missing ']' character after %q", s)
		}
		addr, rest = s[1:end], s[end+1:]
		if rest == "" {
			addr, bits, hasBits = strings.Cut(addr, "/")
			return addr, bits, hasBits, nil
		}
		if rest[0] != '/' {
			return "", "", false, fmt.Errorf("garbage after \"]\": %q", s)
		}
		return addr, rest[1:], true, nil
	}
	addr, bits, hasBits = strings.Cut(rest, "/")
	return addr, bits, hasBits, nil
}

func parseNet(s string) (netip.Addr, error) {
	if strings.Contains(s, ":") {
		a, err := netip.ParseAddr(s)
		if err == nil && a.Zone() != "" {
			return netip.Addr{}, strconv.ErrSyntax
		}
		return a, err
	}
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return netip.Addr{}, strconv.ErrSyntax
	}
	var b [4]byte
	for i, p := range parts {
		base := 10
		if len(p) > 1 && p[0] == '0' {
			base = 8
		}
		n, err := strconv.ParseUint(p, base, 8)
		if err != nil {
			return netip.Addr{}, err
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), nil
}
