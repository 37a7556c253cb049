package smtpd

import (
	"time"

	"postern/internal/config/param"
	"postern/internal/mail/addrclass"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/starttls"
	"postern/internal/receive/smtpd/restrict"
)

// Config holds the parameters of the SMTP server.
type Config struct {
	Restrict restrict.Config
	TLS      starttls.ServerParams
	SASL     saslConfig
	DNS      dns.Params
	Milter   milterConfig

	Banner                        string
	Timeout                       time.Duration
	PerRequestDeadline            bool
	MinDataRate                   int
	SoftErrorLimit                int
	HardErrorLimit                int
	ErrorSleepTime                time.Duration
	JunkCommandLimit              int
	RecipientLimit                int
	RecipientOvershootLimit       int
	HeloRequired                  bool
	DisableVRFY                   bool
	StrictEnvelopes               bool
	ForbidUnauthPipelining        bool
	ForbidBareNewline             string
	ForbidBareNewlineExclusions   string
	ForbidBareNewlineCode         int
	ForbiddenCommands             string
	NoopCommands                  string
	DiscardKeywords               string
	DiscardKeywordMaps            string
	PeernameLookup                bool
	ClientPortLogging             bool
	HideClientSession             bool
	DelayOpen                     bool
	QueueMinFree                  int64
	LocalHeaderRewriteClients     string
	ReceiveOverrideOptions        string
	ContentFilter                 string
	AuthorizedXclientHosts        string
	AuthorizedXforwardHosts       string
	RejectFooter, RejectFooterMap string
	FastFlushDomains              string

	// Limits that anvil counts for.
	ClientConnectionCount, ClientConnectionRate int
	ClientMessageRate, ClientRecipientRate      int
	ClientNewTLSRate, ClientAuthRate            int
	ClientExceptions                            string
	IPv4Prefix, IPv6Prefix                      int

	CommandFilter, RejectFilter string
	DNSReplyFilter              string
	VerpClients                 string
	RequireTLSHeader            bool // requiretls_esmtp_header
	UpstreamProxy               string

	ProxyFilter, ProxyOptions, ProxyHello string
	ProxyTimeout                          time.Duration
	UpstreamTimeout                       time.Duration

	VirtualAliasDomains, VirtualMailboxDomains string
}

// Params names the main.cf parameters that smtpd reads.
func (c *Config) Params(s *param.Set) {
	c.Restrict.Params(s)
	c.TLS.Params(s)
	c.SASL.params(s)
	c.DNS.Params(s)
	c.Milter.params(s)
	c.session(s)
	c.dialogue(s)
	c.limits(s)
	c.outside(s)
}

func (c *Config) session(s *param.Set) {
	s.Raw(&c.Banner, "smtpd_banner", "$myhostname ESMTP $mail_name", param.MinLen(1))
	s.Time(&c.Timeout, "smtpd_timeout", "${stress?{10}:{300}}s", param.Min(1))
	s.NBool(&c.PerRequestDeadline, "smtpd_per_request_deadline",
		"${smtpd_per_record_deadline?{$smtpd_per_record_deadline}:{${stress?{yes}:{no}}}}")
	s.Int(&c.MinDataRate, "smtpd_min_data_rate", 500, param.Min(1))
	s.Int(&c.SoftErrorLimit, "smtpd_soft_error_limit", 10, param.Min(1))
	s.NInt(&c.HardErrorLimit, "smtpd_hard_error_limit", "${stress?{1}:{20}}", param.Min(1))
	s.Time(&c.ErrorSleepTime, "smtpd_error_sleep_time", "1s", param.Min(0))
	s.NInt(&c.JunkCommandLimit, "smtpd_junk_command_limit", "${stress?{1}:{100}}", param.Min(1))
	s.Bool(&c.PeernameLookup, "smtpd_peername_lookup", true)
	s.Bool(&c.ClientPortLogging, "smtpd_client_port_logging", false)
	s.Bool(&c.HideClientSession, "smtpd_hide_client_session", false)
	s.Str(&c.LocalHeaderRewriteClients, "local_header_rewrite_clients", "permit_inet_interfaces")
	s.Str(&c.ReceiveOverrideOptions, "receive_override_options", "")
	s.Str(&c.ContentFilter, "content_filter", "")
	s.Str(&c.AuthorizedXclientHosts, "smtpd_authorized_xclient_hosts", "")
	s.Str(&c.AuthorizedXforwardHosts, "smtpd_authorized_xforward_hosts", "")
	s.Str(&c.VirtualAliasDomains, "virtual_alias_domains", "$virtual_alias_maps")
	s.Str(&c.VirtualMailboxDomains, "virtual_mailbox_domains", "$virtual_mailbox_maps")
}

func (c *Config) dialogue(s *param.Set) {
	s.Int(&c.RecipientLimit, "smtpd_recipient_limit", 1000, param.Min(1))
	s.Int(&c.RecipientOvershootLimit, "smtpd_recipient_overshoot_limit", 1000, param.Min(1))
	s.Bool(&c.HeloRequired, "smtpd_helo_required", false)
	s.Bool(&c.DisableVRFY, "disable_vrfy_command", false)
	s.Bool(&c.StrictEnvelopes, "strict_rfc821_envelopes", false)
	s.Bool(&c.ForbidUnauthPipelining, "smtpd_forbid_unauth_pipelining", true)
	s.Str(&c.ForbidBareNewline, "smtpd_forbid_bare_newline", "normalize", param.MinLen(1))
	s.Str(&c.ForbidBareNewlineExclusions, "smtpd_forbid_bare_newline_exclusions", "$mynetworks")
	s.Int(&c.ForbidBareNewlineCode, "smtpd_forbid_bare_newline_reject_code", 550, param.Min(500), param.Max(599))
	s.Str(&c.ForbiddenCommands, "smtpd_forbidden_commands", "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}")
	s.Str(&c.NoopCommands, "smtpd_noop_commands", "")
	s.Str(&c.DiscardKeywords, "smtpd_discard_ehlo_keywords", "")
	s.Str(&c.DiscardKeywordMaps, "smtpd_discard_ehlo_keyword_address_maps", "")
	s.Bool(&c.DelayOpen, "smtpd_delay_open_until_valid_rcpt", true)
	s.Long(&c.QueueMinFree, "queue_minfree", 0, param.Min(0))
	s.Raw(&c.RejectFooter, "smtpd_reject_footer", "")
	s.Str(&c.RejectFooterMap, "smtpd_reject_footer_maps", "")
	s.Str(&c.FastFlushDomains, "fast_flush_domains", "$relay_domains")
}

// outside are the parameters of what stands between client and server, and of
// what changes their words.
func (c *Config) outside(s *param.Set) {
	s.Str(&c.CommandFilter, "smtpd_command_filter", "")
	s.Str(&c.DNSReplyFilter, "smtpd_dns_reply_filter", "")
	s.Str(&c.RejectFilter, "smtpd_reject_filter_maps", "")
	s.Str(&c.VerpClients, "smtpd_authorized_verp_clients", "$authorized_verp_clients")
	s.Bool(&c.RequireTLSHeader, "requiretls_esmtp_header", true)
	s.Str(&c.ProxyFilter, "smtpd_proxy_filter", "")
	s.Str(&c.ProxyOptions, "smtpd_proxy_options", "")
	s.Str(&c.ProxyHello, "smtpd_proxy_ehlo", "$myhostname")
	s.Time(&c.ProxyTimeout, "smtpd_proxy_timeout", "100s", param.Min(1))
	s.Str(&c.UpstreamProxy, "smtpd_upstream_proxy_protocol", "")
	s.Time(&c.UpstreamTimeout, "smtpd_upstream_proxy_timeout", "5s", param.Min(1))
}

func (c *Config) limits(s *param.Set) {
	s.Int(&c.ClientConnectionCount, "smtpd_client_connection_count_limit", 50, param.Min(0))
	s.Int(&c.ClientConnectionRate, "smtpd_client_connection_rate_limit", 0, param.Min(0))
	s.Int(&c.ClientMessageRate, "smtpd_client_message_rate_limit", 0, param.Min(0))
	s.Int(&c.ClientRecipientRate, "smtpd_client_recipient_rate_limit", 0, param.Min(0))
	s.Int(&c.ClientNewTLSRate, "smtpd_client_new_tls_session_rate_limit", 0, param.Min(0))
	s.Int(&c.ClientAuthRate, "smtpd_client_auth_rate_limit", 0, param.Min(0))
	s.Str(&c.ClientExceptions, "smtpd_client_event_limit_exceptions", "${smtpd_client_connection_limit_exceptions:$mynetworks}")
	s.Int(&c.IPv4Prefix, "smtpd_client_ipv4_prefix_length", 32, param.Min(0), param.Max(32))
	s.Int(&c.IPv6Prefix, "smtpd_client_ipv6_prefix_length", 84, param.Min(0), param.Max(128))
}

// classes are the parameters of the address classes.
func (c *Config) classes() addrclass.Config {
	return addrclass.Config{VirtualAliasDomains: c.VirtualAliasDomains, VirtualMailboxDomains: c.VirtualMailboxDomains}
}
