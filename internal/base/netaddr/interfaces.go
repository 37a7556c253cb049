package netaddr

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Families are the protocols of inet_protocols.
type Families struct {
	IPv4, IPv6 bool
}

// Allow says whether the family of a is in use.
func (f Families) Allow(a netip.Addr) bool {
	if a.Unmap().Is4() {
		return f.IPv4
	}
	return f.IPv6
}

// ParseFamilies parses inet_protocols: "all", "ipv4", "ipv6" or both. "all"
// without IPv6 on the machine means ipv4.
func ParseFamilies(value string) (Families, error) {
	var f Families
	for _, w := range fields(value) {
		switch strings.ToLower(w) {
		case "all":
			f.IPv4, f.IPv6 = true, haveIPv6()
		case "ipv4":
			f.IPv4 = true
		case "ipv6":
			f.IPv6 = true
		default:
			return Families{}, fmt.Errorf("inet_protocols: unknown protocol %q; expected all, ipv4, ipv6", w)
		}
	}
	if f == (Families{}) {
		return Families{}, fmt.Errorf("inet_protocols: specify one of all, ipv4, ipv6")
	}
	return f, nil
}

func haveIPv6() bool {
	l, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// A LookupHost returns the addresses of a host name.
type LookupHost func(ctx context.Context, host string) ([]string, error)

// Interfaces are the machine's own addresses as inet_interfaces names them.
type Interfaces struct {
	All   bool         // inet_interfaces = all: listen on the wildcard address
	Addrs []netip.Addr // the addresses themselves
}

// ParseInterfaces parses inet_interfaces: "all", "loopback-only", host names
// and addresses. A nil lookup asks the system.
func ParseInterfaces(ctx context.Context, value string, f Families, lookup LookupHost) (Interfaces, error) {
	var in Interfaces
	words := fields(value)
	switch {
	case len(words) == 0:
		return in, nil
	case len(words) == 1 && strings.EqualFold(words[0], "all"):
		in.All = true
		nets, err := Local(f)
		if err != nil {
			return in, err
		}
		for _, p := range nets {
			in.Addrs = append(in.Addrs, p.Addr())
		}
		return in, nil
	case len(words) == 1 && strings.EqualFold(words[0], "loopback-only"):
		nets, err := Local(f)
		if err != nil {
			return in, err
		}
		for _, p := range nets {
			if p.Addr().IsLoopback() {
				in.Addrs = append(in.Addrs, p.Addr())
			}
		}
		return in, nil
	}
	addrs, err := ParseHosts(ctx, "inet_interfaces", value, f, lookup)
	in.Addrs = addrs
	return in, err
}

// ParseHosts parses a list of host names and addresses, as in
// proxy_interfaces; param is the parameter's name, for errors.
func ParseHosts(ctx context.Context, param, value string, f Families, lookup LookupHost) ([]netip.Addr, error) {
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	var out []netip.Addr
	for _, w := range fields(value) {
		if a, err := ParseAddr(w); err == nil {
			if f.Allow(a) {
				out = append(out, a)
			}
			continue
		}
		list, err := lookup(ctx, w)
		if err != nil {
			return out, fmt.Errorf("%s: host not found: %s", param, w)
		}
		for _, s := range list {
			if a, err := ParseAddr(s); err == nil && f.Allow(a) {
				out = append(out, a)
			}
		}
	}
	return dedup(out), nil
}

// Local returns the addresses of the machine's interfaces with their networks.
func Local(f Families) ([]netip.Prefix, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list interface addresses: %w", err)
	}
	var out []netip.Prefix
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok || !f.Allow(ip) {
			continue
		}
		ones, _ := n.Mask.Size()
		out = append(out, netip.PrefixFrom(ip.Unmap(), ones))
	}
	return out, nil
}

func dedup(in []netip.Addr) []netip.Addr {
	seen := map[netip.Addr]bool{}
	out := in[:0]
	for _, a := range in {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}

func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}
