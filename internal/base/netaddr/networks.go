package netaddr

import (
	"fmt"
	"net/netip"
	"strings"
)

// Networks returns the default of mynetworks for mynetworks_style: "host" the
// addresses alone, "subnet" their networks, "class" the networks by IPv4
// address class (IPv6: as subnet).
func Networks(style string, local []netip.Prefix) (string, error) {
	var out []string
	seen := map[netip.Prefix]bool{}
	for _, p := range local {
		q, err := network(style, p)
		if err != nil {
			return "", err
		}
		if seen[q] {
			continue
		}
		seen[q] = true
		out = append(out, format(q))
	}
	return strings.Join(out, " "), nil
}

func network(style string, p netip.Prefix) (netip.Prefix, error) {
	switch style {
	case "host":
		return netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), nil
	case "subnet":
		return p.Masked(), nil
	case "class":
		if !p.Addr().Is4() {
			return p.Masked(), nil
		}
		bits := 24
		switch first := p.Addr().As4()[0]; {
		case first < 128:
			bits = 8
		case first < 192:
			bits = 16
		}
		return netip.PrefixFrom(p.Addr(), bits).Masked(), nil
	}
	return netip.Prefix{}, fmt.Errorf("mynetworks_style: unknown value %q; expected class, subnet, host", style)
}

func format(p netip.Prefix) string {
	if p.Addr().Is4() {
		return p.String()
	}
	return fmt.Sprintf("[%s]/%d", p.Addr(), p.Bits())
}
