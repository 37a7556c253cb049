package param

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// mynetworks is the default of mynetworks.
func mynetworks(value Value) (string, error) {
	var v [3]string
	for i, name := range [...]string{"mynetworks_style", "inet_interfaces", "inet_protocols"} {
		var err error
		if v[i], err = value(name); err != nil {
			return "", err
		}
	}
	return networks(v[0], v[1], v[2])
}

// networks computes mynetworks from mynetworks_style, for the addresses that
// inet_interfaces and inet_protocols select.
func networks(style, interfaces, protocols string) (string, error) {
	switch style {
	case "subnet", "host", "class":
	default:
		return "", fmt.Errorf("unknown mynetworks_style value %.100q; need: class, subnet or host", style)
	}
	local, err := interfacePrefixes()
	if err != nil {
		return "", err
	}
	var list []string
	seen := make(map[string]bool)
	for _, p := range local {
		if !selected(p.Addr(), interfaces, protocols) {
			continue
		}
		text := network(style, p)
		if !seen[text] {
			seen[text] = true
			list = append(list, text+" ") // Postfix: a blank follows the last one, too
		}
	}
	return strings.Join(list, ""), nil
}

func interfacePrefixes() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("find the addresses of this host: %w", err)
	}
	var list []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			continue
		}
		ones, _ := n.Mask.Size()
		list = append(list, netip.PrefixFrom(ip.Unmap(), ones))
	}
	return list, nil
}

func selected(a netip.Addr, interfaces, protocols string) bool {
	if protocols := strings.ToLower(protocols); !strings.Contains(protocols, "all") {
		if a.Is4() && !strings.Contains(protocols, "ipv4") || a.Is6() && !strings.Contains(protocols, "ipv6") {
			return false
		}
	}
	items := Split(interfaces)
	for _, item := range items {
		switch item = strings.Trim(item, "[]"); item {
		case "all":
			return true
		case "loopback-only", "localhost":
			if a.IsLoopback() {
				return true
			}
		default:
			if b, err := netip.ParseAddr(item); err == nil && b == a {
				return true
			}
		}
	}
	return len(items) == 0
}

func network(style string, p netip.Prefix) string {
	a, bits := p.Addr(), p.Bits()
	switch {
	case style == "host":
		bits = a.BitLen()
	case style == "class" && a.Is4():
		bits = classBits(a)
	}
	p = netip.PrefixFrom(a, bits).Masked()
	if a.Is6() {
		return fmt.Sprintf("[%s]/%d", p.Addr().WithZone(""), bits)
	}
	return p.String()
}

func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}
