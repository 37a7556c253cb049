// Package smtpclient is the programs smtp and lmtp: one delivery agent that
// speaks SMTP (RFC 5321) or LMTP (RFC 2033) to the hosts that are responsible
// for a destination.
//
// A delivery is a walk over places to try: the destinations of the next hop
// and the fallback relays, of each its mail exchangers in the order of
// preference, of each its addresses. At every place a session is opened, or an
// idle one taken from the pool, and one transaction is made for the recipients
// that are left. A recipient is finished when a server accepts it or refuses it
// for good; a temporary refusal leaves it for the next place, and the last
// place decides. The texts that senders and log readers see are Postfix's.
package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/config/param"
	"postern/internal/deliver/agent"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/check"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/starttls"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A Protocol is what the client speaks.
type Protocol int

// The protocols, each a program and a set of parameters of its own.
const (
	SMTP Protocol = iota
	LMTP
)

// String is the protocol's name, "SMTP".
func (p Protocol) String() string {
	if p == LMTP {
		return "LMTP"
	}
	return "SMTP"
}

// A Client is the service smtp or lmtp.
type Client struct {
	kit    agent.Kit
	proto  Protocol
	config Config
	env    *service.Env

	ports         map[string]int // known_tcp_ports
	port          int            // of destinations that name none
	families      netaddr.Families
	own           []netip.Addr // addresses at which mail comes back to this host
	interfaces    []netip.Addr // inet_interfaces
	allInterfaces bool
	resolver      dns.Resolver
	native        *dns.Native
	lookupDNS     bool
	lookupNative  bool
	flags         flags
	final         bool // flags=X: this is the last hop
	probeRcpt     bool // address probes end after RCPT TO

	tlsLevel    starttls.Level
	tls         *starttls.Client
	tlsMaps     *table.Maps
	require     []requireRule
	passwords   *table.Maps
	generic     *addrmap.Mapper // nil without smtp_generic_maps
	genericMaps *table.Maps
	propagate   bool // extensions, through generic maps
	keywords    *table.Maps
	replies     *table.Maps
	pixMaps     *table.Maps
	cached      *matchlist.List
	checks      check.Checks

	buffers *buffers
	pool    pool
	demand  demand
}

// flags are the letters of flags= in master.cf.
type flags struct {
	deliveredTo, originalTo, returnPath bool
}

// New returns the service that speaks p.
func New(p Protocol) service.Service {
	c := &Client{proto: p}
	c.kit.StatusFilter = c.param("smtp_delivery_status_filter", "lmtp_delivery_status_filter")
	return c
}

// NewSMTP returns the program smtp.
func NewSMTP() service.Service { return New(SMTP) }

// NewLMTP returns the program lmtp.
func NewLMTP() service.Service { return New(LMTP) }

// Params implements service.Service.
func (c *Client) Params(s *param.Set) {
	c.kit.Params(s)
	c.config.Params(s, c.proto)
}

// Open implements service.Service.
func (c *Client) Open(e *service.Env) error {
	c.env = e
	c.buffers = newBuffers()
	for _, step := range []func() error{
		func() error { return c.kit.Open(e) },
		c.refuseUnknown, c.readWords, c.openNetwork, c.openMaps, c.openTLS, c.openRequireTLS, c.openSASL,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if e.Draining != nil {
		go func() {
			<-e.Draining
			c.pool.close()
		}()
	}
	return nil
}

// Refused lists the parameters whose features do not exist yet: a value that
// asks for one is refused at start.
func Refused() []string {
	list := []string{
		"best_mx_transport", "use_srv_lookup", "smtp_tls_per_site", "lmtp_tls_per_site", "smtp_sasl_auth_cache_name", "lmtp_sasl_auth_cache_name",
	}
	for _, r := range new(Config).rows() {
		if _, ok := r.field.(*unsupported); !ok {
			continue
		}
		for _, name := range []string{r.smtp, r.lmtp} {
			if name != "" {
				list = append(list, name)
			}
		}
	}
	return list
}

// refuseUnknown refuses parameters whose features do not exist yet.
func (c *Client) refuseUnknown() error {
	for _, u := range c.config.unknown {
		if *u.value != u.harmless {
			return fmt.Errorf("parameter %s: %q is not supported", c.param(u.smtp, u.lmtp), *u.value)
		}
	}
	if c.config.BestMXTransport != "" {
		return errors.New("parameter best_mx_transport is not supported")
	}
	if c.config.SRVLookup != "" {
		return errors.New("parameter use_srv_lookup is not supported")
	}
	if c.config.TLS.PerSite != "" {
		return fmt.Errorf("parameter %s is obsolete; use %s", c.param("smtp_tls_per_site", "lmtp_tls_per_site"),
			c.param("smtp_tls_policy_maps", "lmtp_tls_policy_maps"))
	}
	return nil
}

// readWords checks the parameters whose values are words.
func (c *Client) readWords() (err error) {
	conf := &c.config
	switch conf.AddressVerifyTarget {
	case "rcpt":
		c.probeRcpt = true
	case "data":
	default:
		return fmt.Errorf("bad protocol stage: \"%s = %s\"",
			c.param("smtp_address_verify_target", "lmtp_address_verify_target"), conf.AddressVerifyTarget)
	}
	switch conf.AddressPreference {
	case "any", "ipv4", "ipv6":
	default:
		return fmt.Errorf("bad %s value: %s", c.param("smtp_address_preference", "lmtp_address_preference"), conf.AddressPreference)
	}
	switch conf.DNSSupportLevel {
	case "", "enabled", "disabled", "dnssec":
	default:
		return fmt.Errorf("bad %s value: %s", c.param("smtp_dns_support_level", "lmtp_dns_support_level"), conf.DNSSupportLevel)
	}
	for _, w := range c.env.Args {
		if err := c.argument(w); err != nil {
			return err
		}
	}
	if c.ports, err = knownPorts(conf.KnownPorts); err != nil {
		return err
	}
	c.port, err = c.defaultPort()
	return err
}

// argument reads one argument of the command in master.cf.
func (c *Client) argument(word string) error {
	letters, ok := strings.CutPrefix(word, "flags=")
	if !ok {
		return fmt.Errorf("unknown attribute name: %s", word)
	}
	for _, l := range letters {
		switch l {
		case 'D':
			c.flags.deliveredTo = true
		case 'O':
			c.flags.originalTo = true
		case 'R':
			c.flags.returnPath = true
		case 'X':
			c.final = true
		default:
			return fmt.Errorf("unknown flag: %c", l)
		}
	}
	return nil
}

// openNetwork learns what the network is.
func (c *Client) openNetwork() (err error) {
	common := c.env.Common
	if c.families, err = netaddr.ParseFamilies(common.InetProtocols); err != nil {
		return err
	}
	client, err := c.config.DNS.Open()
	if err != nil {
		return err
	}
	client.Warn = c.env.Log.Warningf
	c.resolver, c.native = client, c.config.DNS.OpenNative(client)
	if c.lookupDNS, c.lookupNative, err = parseHostLookup(c.config.HostLookup); err != nil {
		return err
	}
	if c.config.dnsOff() {
		c.lookupDNS, c.lookupNative = false, true
	}
	return c.openInterfaces()
}

// openInterfaces learns which addresses are this host's.
func (c *Client) openInterfaces() error {
	common, ctx := c.env.Common, context.Background()
	in, err := netaddr.ParseInterfaces(ctx, common.InetInterfaces, c.families, nil)
	if err != nil {
		return err
	}
	c.interfaces, c.allInterfaces = in.Addrs, in.All
	proxies, err := netaddr.ParseHosts(ctx, "proxy_interfaces", common.ProxyInterfaces, c.families, nil)
	if err != nil {
		return err
	}
	for _, a := range append(append([]netip.Addr(nil), in.Addrs...), proxies...) {
		c.own = append(c.own, a.Unmap().WithZone(""))
	}
	return nil
}

// openMaps opens the tables.
func (c *Client) openMaps() (err error) {
	conf, o := &c.config, c.env.Tables
	for _, m := range []struct {
		field             **table.Maps
		smtp, lmtp, value string
		flags             table.Flags
	}{
		{&c.keywords, "smtp_discard_ehlo_keyword_address_maps", "lmtp_discard_lhlo_keyword_address_maps", conf.DiscardKeywordMaps, 0},
		{&c.replies, "smtp_reply_filter", "lmtp_reply_filter", conf.ReplyFilter, table.AnyOctets},
		{&c.pixMaps, "smtp_pix_workaround_maps", "lmtp_pix_workaround_maps", conf.PixWorkaroundMaps, 0},
	} {
		if *m.field, err = o.Maps(c.param(m.smtp, m.lmtp), m.value, m.flags); err != nil {
			return err
		}
	}
	c.cached, err = matchlist.New(c.param("smtp_connection_cache_destinations", "lmtp_connection_cache_destinations"),
		conf.CacheDestinations, o, 0)
	if err != nil {
		return err
	}
	return c.openEdits()
}

// Serve implements service.Service.
func (c *Client) Serve(ctx context.Context, conn net.Conn) error {
	return c.kit.Serve(ctx, conn, c.Deliver)
}
