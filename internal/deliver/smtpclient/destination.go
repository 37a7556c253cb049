package smtpclient

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"postern/internal/config/param"
	"postern/internal/protocol/dns"
)

// A destination is one item of a next hop: a domain, or a host in brackets.
type destination struct {
	host string // domain, host name or address, without brackets
	port int
	mx   bool // look for mail exchangers
}

// A place is one address to connect to.
type place struct {
	host string // name, for texts
	addr netip.Addr
	port int
	path string // of a Unix-domain socket, instead of an address
	pref uint32 // of the mail exchanger
}

// printable is the address, or the path.
func (p *place) printable() string {
	if p.path != "" {
		return p.path
	}
	return p.addr.String()
}

// parseDestination reads "domain", "domain:service", "[host]" or
// "[host]:service".
func (c *Client) parseDestination(text string) (destination, error) {
	d := destination{mx: c.proto == SMTP && !c.config.dnsOff() && !strings.HasPrefix(text, "[")}
	bad := func(why string) (destination, error) {
		return d, fmt.Errorf("%s in server description: %.100s", why, text)
	}
	service := ""
	if strings.HasPrefix(text, "[") {
		i := strings.IndexByte(text, ']')
		if i < 0 {
			return bad("missing \"]\"")
		}
		d.host = text[1:i]
		if rest := text[i+1:]; rest != "" {
			if rest[0] != ':' {
				return bad("garbage after \"]\"")
			}
			service = rest[1:]
		}
		if v6, ok := cutPrefixFold(d.host, "ipv6:"); ok {
			d.host = v6
		}
	} else {
		d.host, service, _ = strings.Cut(text, ":")
		if strings.Contains(service, ":") {
			return bad("too many colons")
		}
	}
	if d.host == "" {
		return bad("missing host")
	}
	if _, err := netip.ParseAddr(d.host); err != nil && dns.CheckName(ascii(d.host)) != nil {
		return bad("valid hostname or network address required")
	}
	d.port = c.port
	if service != "" {
		port, err := c.lookupPort(service)
		if err != nil {
			return d, err
		}
		d.port = port
	}
	return d, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// lookupPort reads a port number or the name of a service.
func (c *Client) lookupPort(service string) (int, error) {
	if strings.Trim(service, "0123456789") == "" {
		n, err := strconv.Atoi(service)
		if err != nil || n <= 0 || n > 65535 {
			return 0, fmt.Errorf("bad network port: %.100s", service)
		}
		return n, nil
	}
	if n, ok := c.ports[strings.ToLower(service)]; ok {
		return n, nil
	}
	// The library takes "+" and "+25" for numbers.
	n, err := net.LookupPort("tcp", service)
	if err != nil || strings.ContainsAny(service[:1], "+-") {
		return 0, fmt.Errorf("unknown service: %.100s/tcp", service)
	}
	return n, nil
}

// knownPorts reads known_tcp_ports, "name=…=number, …".
func knownPorts(list string) (map[string]int, error) {
	ports := map[string]int{}
	for _, item := range param.Split(list) {
		names := strings.Split(item, "=")
		n, err := strconv.Atoi(names[len(names)-1])
		if err != nil || len(names) < 2 || n <= 0 || n > 65535 {
			return nil, fmt.Errorf("known_tcp_ports: %q is not name=number", item)
		}
		for _, name := range names[:len(names)-1] {
			ports[strings.ToLower(name)] = n
		}
	}
	return ports, nil
}

// defaultPort is the port of destinations without one. Postfix: lmtp_tcp_port
// counts only where the service lmtp is not known.
func (c *Client) defaultPort() (int, error) {
	if c.proto == LMTP {
		if n, err := c.lookupPort("lmtp"); err == nil {
			return n, nil
		}
	}
	return c.lookupPort(c.config.TCPPort)
}

// splitNexthop takes a list of destinations apart.
func splitNexthop(list string) []string { return param.Split(list) }

func (c *Config) dnsOff() bool { return c.DisableDNS || c.DNSSupportLevel == "disabled" }
