package dns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"postern/internal/config/param"
)

// Files of the host that say whom to ask.
const (
	ResolvConf = "/etc/resolv.conf"
	HostsFile  = "/etc/hosts"
)

// Params are the parameters of a program that looks up names.
type Params struct {
	// Servers to ask instead of those of /etc/resolv.conf: "127.0.0.1:5353,
	// [::1]:53". A Postern extension; tests and private resolvers use it.
	Addresses string
	// Hosts file to use instead of /etc/hosts. A Postern extension.
	Hosts string
}

// Params names the parameters.
func (p *Params) Params(s *param.Set) {
	s.Str(&p.Addresses, "dns_resolver_addresses", "")
	s.Str(&p.Hosts, "native_hosts_file", HostsFile)
}

// Open returns the resolver that the parameters describe.
func (p *Params) Open() (*Client, error) {
	if p.Addresses == "" {
		c, err := ReadConfig(ResolvConf)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", ResolvConf, err)
		}
		return NewClient(c), nil
	}
	c := defaults()
	local := true
	for _, s := range param.Split(p.Addresses) {
		addr, err := serverAddress(s)
		if err != nil {
			return nil, fmt.Errorf("parameter dns_resolver_addresses: %w", err)
		}
		local = local && addr.Addr().IsLoopback()
		c.Servers = append(c.Servers, addr.String())
	}
	// As with resolv.conf a validated answer is believed only from a resolver
	// that nobody can stand in front of.
	c.TrustAD = local
	return NewClient(c), nil
}

// OpenNative returns the lookups through the hosts file and r.
func (p *Params) OpenNative(r Resolver) *Native { return &Native{Hosts: p.Hosts, DNS: r} }

func serverAddress(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address or address:port", s)
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address or address:port", s)
	}
	return a, nil
}
