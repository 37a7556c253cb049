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
// "[address/bits]". Bits of the host part must be zero.
func ParsePattern(s string) (netip.Prefix, error) {
	addr, bits, hasBits, err := cutPattern(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a, err := parseNet(addr)
	if err != nil {
		if hasBits {
			return netip.Prefix{}, fmt.Errorf("bad network value in %q", s)
		}
		return netip.Prefix{}, fmt.Errorf("bad address pattern: %q", s)
	}
	n := a.BitLen()
	if hasBits {
		if n, err = strconv.Atoi(bits); err != nil || strings.Trim(bits, "0123456789") != "" {
			return netip.Prefix{}, fmt.Errorf("bad mask value in %q", s)
		}
		if n > a.BitLen() {
			return netip.Prefix{}, fmt.Errorf("bad mask length in %q", s)
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
			return "", "", false, fmt.Errorf("garbage after %q", s[:end+1])
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
	return netip.ParseAddr(s)
}
