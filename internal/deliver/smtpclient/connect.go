package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"postern/internal/base/errno"
	"postern/internal/mail/dsn"
)

// connect opens a connection to a place.
func (c *Client) connect(ctx context.Context, p place) (*session, dsn.Result) {
	d := net.Dialer{Timeout: c.config.ConnectTimeout, KeepAlive: -1}
	network, target := "unix", p.path
	if p.path == "" {
		network, target = "tcp", netip.AddrPortFrom(p.addr, uint16(p.port)).String()
		local, err := c.bindAddress(p.addr)
		if err != nil {
			return nil, dsn.Make("4.3.5", err.Error())
		}
		if local.IsValid() {
			d.LocalAddr = &net.TCPAddr{IP: local.AsSlice(), Zone: local.Zone()}
		}
	}
	conn, err := d.DialContext(ctx, network, target)
	if err != nil && d.LocalAddr != nil && isBindError(err) {
		c.env.Log.Warningf("%s: bind %s: %s", "smtp_connect_addr", d.LocalAddr, errorText(err))
		if c.config.BindEnforce {
			return nil, dsn.Make("4.4.0", "server configuration error")
		}
		d.LocalAddr = nil
		conn, err = d.DialContext(ctx, network, target)
	}
	if err != nil {
		where := fmt.Sprintf("%s[%s]", p.host, p.printable())
		if p.path == "" {
			where += fmt.Sprintf(":%d", p.port)
		}
		return nil, dsn.Make("4.4.1", "connect to "+where+": "+errorText(err))
	}
	return c.newSession(conn, p), dsn.Result{}
}

func isBindError(err error) bool {
	var s *os.SyscallError
	return errors.As(err, &s) && s.Syscall == "bind"
}

// errorText is the system's word for an error, as the C library says it.
func errorText(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return errno.Text(number)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return "Connection timed out"
	}
	return err.Error()
}

// bindAddress is the address to connect from, or none. Without smtp_bind_address
// it is that of inet_interfaces when there is exactly one of the family, so
// that mail comes from the address that mail is sent to.
func (c *Client) bindAddress(to netip.Addr) (netip.Addr, error) {
	name, text := "bind_address", c.config.BindAddress
	if !to.Is4() {
		name, text = "bind_address6", c.config.BindAddress6
	}
	if text != "" {
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil || a.Is4() != to.Is4() {
			return netip.Addr{}, fmt.Errorf("bad %s_%s parameter: %q", strings.ToLower(c.proto.String()), name, text)
		}
		return a, nil
	}
	if c.allInterfaces {
		return netip.Addr{}, nil
	}
	var only netip.Addr
	for _, a := range c.interfaces {
		if a.Is4() != to.Is4() {
			continue
		}
		if only.IsValid() {
			return netip.Addr{}, nil
		}
		only = a
	}
	if only.IsLoopback() {
		return netip.Addr{}, nil
	}
	return only, nil
}
