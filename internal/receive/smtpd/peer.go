package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"postern/internal/protocol/dns"
	"postern/internal/protocol/haproxy"
	"postern/internal/receive/smtpd/restrict"
)

// A peer is the client at the other end of a connection.
type peer struct {
	ip            netip.Addr
	addr, port    string
	name          string // verified, or "unknown"
	reverse       string // what its PTR record says, or "unknown"
	status        int    // restrict.NameOK and relatives
	reverseStatus int
	serverAddr    string
	serverPort    string
}

// family is the client_address_type of the queue file.
func (p *peer) family() string {
	if p.ip.Is6() {
		return "10"
	}
	return "2"
}

// literal is the address as it stands in a Received: field (RFC 5321 4.1.3).
func (p *peer) literal() string {
	if p.ip.Is6() {
		return "IPv6:" + p.addr
	}
	return p.addr
}

// newPeer takes the addresses off a connection. A local socket, and standard
// input, stand for this host.
func newPeer(c net.Conn) peer {
	p := peer{name: "localhost", reverse: "localhost", addr: "127.0.0.1", ip: netip.MustParseAddr("127.0.0.1"), port: "0",
		status: restrict.NameOK, reverseStatus: restrict.NameOK, serverAddr: "127.0.0.1", serverPort: "0"}
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p.ip = t.AddrPort().Addr().Unmap().WithZone("")
		p.addr, p.port = p.ip.String(), strconv.Itoa(t.Port)
		p.name, p.reverse = unknown, unknown
	}
	if t, ok := c.LocalAddr().(*net.TCPAddr); ok {
		p.serverAddr, p.serverPort = t.AddrPort().Addr().Unmap().WithZone("").String(), strconv.Itoa(t.Port)
	}
	return p
}

const unknown = "unknown"

// readProxyHeader replaces the addresses of p, the proxy, by those that it
// tells of. What the proxy says for itself (a health check) has none.
func (s *Server) readProxyHeader(c net.Conn, p *peer) error {
	if !s.proxied {
		return nil
	}
	c.SetReadDeadline(time.Now().Add(s.conf.UpstreamTimeout))
	h, err := haproxy.Read(c)
	if err != nil || h.Local {
		return err
	}
	p.ip = h.Client.Addr()
	p.addr, p.port = p.ip.String(), strconv.Itoa(int(h.Client.Port()))
	p.serverAddr, p.serverPort = h.Server.Addr().String(), strconv.Itoa(int(h.Server.Port()))
	p.name, p.reverse = unknown, unknown
	return nil
}

// lookupPeer finds the client's name: the PTR record of its address, if the
// name leads back to the address.
func (s *Server) lookupPeer(ctx context.Context, p *peer) {
	if p.name != unknown {
		return
	}
	p.status, p.reverseStatus = restrict.NamePerm, restrict.NamePerm
	if !s.conf.PeernameLookup {
		return
	}
	a := s.names.Addr(ctx, p.ip)
	if a.Class != dns.OK || len(a.Records) == 0 {
		if a.Class == dns.Retry {
			p.status, p.reverseStatus = restrict.NameRetry, restrict.NameRetry
		}
		return
	}
	name := a.Records[0].Host
	if dns.CheckName(name) != nil {
		s.log.Warningf("address not listed for hostname %s: invalid name", name)
		return
	}
	p.reverse, p.reverseStatus = name, restrict.NameOK
	t := dns.A
	if p.ip.Is6() {
		t = dns.AAAA
	}
	fwd := s.names.Host(ctx, name, t)
	switch {
	case fwd.Class == dns.Retry:
		s.log.Warningf("hostname %s does not resolve to address %s: %s", name, p.addr, dns.LookupText(&fwd))
		p.status = restrict.NameRetry
		return
	case fwd.Class != dns.OK:
		s.log.Warningf("hostname %s does not resolve to address %s: %s", name, p.addr, dns.LookupText(&fwd))
		return
	}
	for _, addr := range fwd.Addrs() {
		if addr.Unmap() == p.ip {
			p.name, p.status = name, restrict.NameOK
			return
		}
	}
	s.log.Warningf("hostname %s does not resolve to address %s", name, p.addr)
}

// logProxyHeader says why the word of the proxy was not taken.
func (s *session) logProxyHeader(err error) {
	var bad *haproxy.Error
	if errors.As(err, &bad) {
		s.log.Warningf("haproxy read: %v: %s", err, escape(bad.Header, len(bad.Header)))
		return
	}
	s.log.Warningf("haproxy read: %v", err)
}
