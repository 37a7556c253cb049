// Package smtpd is the SMTP server: it takes mail from the network and hands
// it to cleanup.
//
// A session is one connection, a transaction one message in it. A table maps
// each verb to a handler; a handler checks whether the command is legal, asks
// the policy (package restrict), has its effect, and returns a reply. Only the
// loop in serve.go writes to the client.
//
// RFC 5321 and its extensions: 1870 (SIZE), 2034 (enhanced status codes), 2920
// (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152
// (8BITMIME), 6531 (SMTPUTF8). Postfix: smtpd(8).
package smtpd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/netaddr"
	"postern/internal/config/param"
	"postern/internal/ipc/anvil"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/tlsmgr"
	"postern/internal/ipc/verify"
	"postern/internal/mail/addrclass"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/smtp"
	"postern/internal/protocol/starttls"
	"postern/internal/receive/smtpd/beforequeue"
	"postern/internal/receive/smtpd/restrict"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A Resolver asks trivial-rewrite about addresses (rewrite.Client).
type Resolver interface {
	Resolve(ctx context.Context, sender, addr string) (rewrite.Resolved, error)
	Rewrite(ctx context.Context, ruleset, addr string) (string, error)
}

// An Opener starts a message in the cleanup service (cleanup.Client).
type Opener interface {
	Open(ctx context.Context, flags cleanup.Flags) (*cleanup.Session, error)
}

// A Counter tells anvil what clients do (anvil.Client).
type Counter interface {
	Tell(ctx context.Context, e anvil.Event, service, addr string) (anvil.Counts, error)
}

// A Server is the smtpd program.
type Server struct {
	conf, stressConf Config

	stressed   *Server // who serves sessions under stress; nil: this one
	common     *param.Common
	log        *maillog.Logger
	name       string // of the master.cf entry
	standAlone bool
	stress     func() bool
	param      func(name string) (string, bool, error)
	now        func() time.Time
	sleep      func(ctx context.Context, d time.Duration)

	policy      *restrict.Engine
	tls         *starttls.Server
	sasl        *saslServer
	milters     milterServer
	names       *dns.Native
	resolver    Resolver
	cleanup     Opener
	counter     Counter // nil: nothing is limited
	flags       cleanup.Flags
	banner      string
	buffers     *sync.Pool
	bareNewline smtp.BareNewline
	own         map[netip.Addr]bool
	families    netaddr.Families // inet_protocols

	bareExclusions *matchlist.List
	forbidden      *matchlist.List
	noops          *matchlist.List
	exceptions     *matchlist.List
	xclientHosts   *matchlist.List
	xforwardHosts  *matchlist.List
	flushDomains   *matchlist.List
	verpClients    *matchlist.List
	commandFilter  table.Table // nil for none
	rejectFilter   *table.Maps
	footerMaps     *table.Maps
	footerFilter   string              // the octets that a macro may put into a footer
	filter         *beforequeue.Config // smtpd_proxy_filter; nil for none
	proxied        bool                // smtpd_upstream_proxy_protocol = haproxy
	discardMaps    *table.Maps
	discard        map[string]bool
	localClients   []localClient
	serial         *atomic.Uint64 // of policy instances
	myNetworks     *matchlist.List
	flushService   *endpoint.Endpoint
	statfs         func() (free int64, err error)
}

// New returns the program.
func New() service.Service { return &Server{} }

// Params names the parameters.
func (s *Server) Params(p *param.Set) { s.conf.Params(p) }

// StressParams names them again, for the stress state.
func (s *Server) StressParams(p *param.Set) { s.stressConf.Params(p) }

// Open reads keys and tables, and prepares whatever a session asks.
func (s *Server) Open(e *service.Env) error {
	s.common, s.log, s.name, s.standAlone, s.stress = e.Common, e.Log, e.Name, e.StandAlone, e.Stress
	s.now, s.sleep = time.Now, pause
	s.buffers = smtp.NewBuffers()
	s.serial = new(atomic.Uint64)
	for _, step := range []func(*service.Env) error{s.openWords, s.openClients, s.openLists, s.openFilter, s.openPolicy, s.openTLS, s.openSASL, s.openMilters, s.openStressed} {
		if err := step(e); err != nil {
			return err
		}
	}
	return nil
}

// openWords prepares what needs no other service and no table.
func (s *Server) openWords(e *service.Env) (err error) {
	set := param.NewSet()
	var common param.Common
	common.Params(set)
	new(Config).Params(set)
	s.param = func(name string) (string, bool, error) {
		value, _, ok := e.Config.Lookup(name)
		if !ok {
			return "", false, nil
		}
		value, err := set.Expand(e.Config, value)
		return value, true, err
	}
	c := &s.conf
	if s.banner, err = set.Expand(e.Config, c.Banner); err != nil {
		return err
	}
	var ok bool
	if s.bareNewline, ok = smtp.ParseBareNewline(c.ForbidBareNewline); !ok {
		return fmt.Errorf("bad configuration: smtpd_forbid_bare_newline = %s", c.ForbidBareNewline)
	}
	s.flags, err = receiveFlags(c.ReceiveOverrideOptions, s.common.SMTPUTF8Enable)
	return err
}

// openClients prepares the services that are asked; those that are there
// already are kept.
func (s *Server) openClients(e *service.Env) error {
	if s.names == nil {
		client, err := s.conf.DNS.Open()
		if err != nil {
			return err
		}
		client.Warn = s.log.Warningf
		s.names = s.conf.DNS.OpenNative(dns.NewCache(client, dnsEntries))
	}
	if s.resolver == nil {
		s.resolver = rewrite.New(e.Endpoint("private", s.common.RewriteServiceName, rewrite.Protocol))
	}
	if s.cleanup == nil {
		s.cleanup = cleanup.NewClient(e.Endpoint("public", s.common.CleanupServiceName, cleanup.Protocol), s.common.IPCIdle)
	}
	c := &s.conf
	if !s.standAlone && (c.ClientConnectionCount > 0 || c.ClientConnectionRate > 0 || c.ClientMessageRate > 0 ||
		c.ClientRecipientRate > 0 || c.ClientNewTLSRate > 0 || c.ClientAuthRate > 0) {
		s.counter = anvil.NewClient(endpoint.New("", "private", anvilService, anvil.Protocol,
			endpoint.Times{Timeout: 10 * time.Second, Idle: s.common.IPCIdle}))
	}
	s.flushService = e.Endpoint("public", s.common.FlushServiceName, flush.Protocol)
	s.statfs = freeSpace
	return nil
}

// dnsEntries is how many answers of the name service are remembered.
const dnsEntries = 20_000

func (s *Server) openLists(e *service.Env) (err error) {
	c := &s.conf
	list := func(p **matchlist.List, name, value string) {
		if err == nil {
			*p, err = matchlist.New(name, value, e.Tables, matchlist.ParentStyle(name, s.common.ParentDomainMatchesSubdomains))
		}
	}
	list(&s.bareExclusions, "smtpd_forbid_bare_newline_exclusions", c.ForbidBareNewlineExclusions)
	list(&s.forbidden, "smtpd_forbidden_commands", c.ForbiddenCommands)
	list(&s.noops, "smtpd_noop_commands", c.NoopCommands)
	list(&s.exceptions, "smtpd_client_event_limit_exceptions", c.ClientExceptions)
	list(&s.xclientHosts, "smtpd_authorized_xclient_hosts", c.AuthorizedXclientHosts)
	list(&s.xforwardHosts, "smtpd_authorized_xforward_hosts", c.AuthorizedXforwardHosts)
	list(&s.myNetworks, "mynetworks", s.common.MyNetworks)
	list(&s.flushDomains, "fast_flush_domains", c.FastFlushDomains)
	list(&s.verpClients, "smtpd_authorized_verp_clients", c.VerpClients)
	if err != nil {
		return err
	}
	if s.discard, err = ehloWords("smtpd_discard_ehlo_keywords", c.DiscardKeywords); err != nil {
		return err
	}
	for _, m := range [...]struct {
		maps        **table.Maps
		name, value string
		flags       table.Flags
	}{
		{&s.discardMaps, "smtpd_discard_ehlo_keyword_address_maps", c.DiscardKeywordMaps, table.FoldKey},
		{&s.rejectFilter, "smtpd_reject_filter_maps", c.RejectFilter, 0},
		{&s.footerMaps, "smtpd_reject_footer_maps", c.RejectFooterMap, 0},
	} {
		if *m.maps, err = e.Tables.Maps(m.name, m.value, m.flags); err != nil {
			return err
		}
	}
	if c.CommandFilter != "" {
		if s.commandFilter, err = e.Tables.With(0).Open(c.CommandFilter); err != nil {
			return fmt.Errorf("smtpd_command_filter: %w", err)
		}
	}
	if s.footerFilter, err = restrict.Unescape(c.Restrict.ExpansionFilter); err != nil {
		return fmt.Errorf("smtpd_expansion_filter: %w", err)
	}
	switch c.UpstreamProxy {
	case "":
	case "haproxy":
		s.proxied = !s.standAlone
	default:
		return fmt.Errorf("unsupported smtpd_upstream_proxy_protocol value: %s: specify haproxy", c.UpstreamProxy)
	}
	return s.openLocalClients(e)
}

// openPolicy makes the restriction engine.
func (s *Server) openPolicy(e *service.Env) error {
	families, err := netaddr.ParseFamilies(s.common.InetProtocols)
	if err != nil {
		return err
	}
	s.families = families
	lookup := net.DefaultResolver.LookupHost
	ifaces, err := netaddr.ParseInterfaces(context.Background(), s.common.InetInterfaces, families, lookup)
	if err != nil {
		return err
	}
	proxies, err := netaddr.ParseHosts(context.Background(), "proxy_interfaces", s.common.ProxyInterfaces, families, lookup)
	if err != nil {
		return err
	}
	s.own = map[netip.Addr]bool{}
	for _, a := range ifaces.Addrs {
		s.own[a.Unmap()] = true
	}
	classes := s.conf.classes()
	classes.MyDestination, classes.RelayDomains = s.common.MyDestination, s.common.RelayDomains
	classes.ParentDomainMatchesSubdomains = s.common.ParentDomainMatchesSubdomains
	classes.OwnAddresses, classes.ProxyAddresses = ifaces.Addrs, proxies
	known, err := addrclass.New(classes, e.Tables)
	if err != nil {
		return err
	}
	filtered, err := s.filterDNS(e)
	if err != nil {
		return err
	}
	verifier := e.Endpoint("private", s.common.VerifyServiceName, verify.Protocol)
	env := restrict.Env{
		Log: s.log, Tables: e.Tables, Common: s.common, DNS: filtered, Hosts: s.names.Hosts, Resolver: s.resolver,
		Param: s.param, Stress: s.stress, BeforeQueue: s.filter != nil, AskCcert: s.conf.TLS.AskCcert,
		Own:   func(a netip.Addr) bool { return s.own[a] },
		Proxy: func(a netip.Addr) bool { return slices.Contains(proxies, a) },
		Verify: func(ctx context.Context, addr string) (verify.Answer, error) {
			return verify.Query(ctx, verifier, addr)
		},
		Mapper: &addrmap.Mapper{
			Extensions: address.Extensions{Delimiters: s.common.RecipientDelimiter,
				OwnerRequestSpecial: s.common.OwnerRequestSpecial, DoubleBounceSender: s.common.DoubleBounceSender},
			Local: func(ctx context.Context, domain string) (bool, error) {
				if strings.EqualFold(domain, s.common.MyOrigin) {
					return true, nil
				}
				return known.Local(ctx, domain)
			},
			Rewrite: func(ctx context.Context, addr string) (string, error) {
				return s.resolver.Rewrite(ctx, rewrite.Local, addr)
			},
		},
	}
	s.policy, err = restrict.New(s.conf.Restrict, env)
	return err
}

// Mistakes are the restrictions that mean nothing.
func (s *Server) Mistakes() []error { return s.policy.Mistakes() }

// filterDNS is the resolver of the restrictions, through
// smtpd_dns_reply_filter.
func (s *Server) filterDNS(e *service.Env) (dns.Resolver, error) {
	if s.conf.DNSReplyFilter == "" {
		return s.names.DNS, nil
	}
	maps, err := e.Tables.Maps("smtpd_dns_reply_filter", s.conf.DNSReplyFilter, 0)
	if err != nil {
		return nil, err
	}
	return &dns.Filter{Resolver: s.names.DNS, Maps: maps, Log: s.log}, nil
}

func (s *Server) openTLS(e *service.Env) (err error) {
	if s.standAlone {
		return nil
	}
	a := starttls.Around{Log: s.log, Lost: e.Tables.Stale,
		Tickets: tlsmgr.NewClient("", s.conf.TLS.ManagerService).TicketKeys}
	if maps := s.conf.TLS.SNIMaps; maps != "" {
		m, err := e.Tables.Maps("tls_server_sni_maps", maps, table.FoldKey|table.ValueIsFile)
		if err != nil {
			return err
		}
		a.SNI = m.Lookup
	}
	s.tls, err = s.conf.TLS.Open(a)
	return err
}

// receiveFlags translates receive_override_options into flags for cleanup.
func receiveFlags(options string, utf8 bool) (cleanup.Flags, error) {
	flags := cleanup.MaskExternal | cleanup.FlagSMTPReply
	for _, w := range param.Split(options) {
		switch w {
		case "no_unknown_recipient_checks":
		case "no_address_mappings":
			flags &^= cleanup.FlagBCC | cleanup.FlagMap
		case "no_header_body_checks":
			flags &^= cleanup.FlagFilter
		case "no_milters":
			flags &^= cleanup.FlagMilter
		default:
			return 0, fmt.Errorf("bad configuration: receive_override_options: unknown value %q in %q", w, options)
		}
	}
	return flags, nil
}
