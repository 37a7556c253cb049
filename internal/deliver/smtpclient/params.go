package smtpclient

import (
	"time"

	"postern/internal/config/param"
	"postern/internal/protocol/dns"
	"postern/internal/protocol/starttls"
)

// Config holds the parameters of the client. Each has the name smtp_… or
// lmtp_… by the protocol; rows pairs them.
type Config struct {
	DNS dns.Params

	// Where to connect.
	TCPPort           string
	FallbackRelay     string
	MXAddressLimit    int
	MXSessionLimit    int
	RandomizeAddrs    bool
	AddressPreference string // ipv6, ipv4, any
	BalanceProtocols  bool
	BindAddress       string
	BindAddress6      string
	BindEnforce       bool
	HostLookup        string // dns, native
	DNSSupportLevel   string // enabled, disabled, dnssec
	DeferNoMXAddress  bool
	IgnoreMXError     bool
	DisableDNS        bool
	RelayHost         string
	BestMXTransport   string

	// How long each stage may take.
	ConnectTimeout, HeloTimeout, XforwardTimeout      time.Duration
	MailTimeout, RcptTimeout                          time.Duration
	DataInitTimeout, DataXferTimeout, DataDoneTimeout time.Duration
	RsetTimeout, QuitTimeout, StarttlsTimeout         time.Duration
	PerRequestDeadline                                bool
	MinDataRate                                       int
	PixThreshold, PixDelay                            time.Duration
	PixWorkarounds, PixWorkaroundMaps                 string
	CacheTimeLimit, ReuseTimeLimit                    time.Duration
	ReuseCountLimit                                   int
	CacheOnDemand                                     bool
	CacheDestinations                                 string

	// What is said.
	HeloName            string
	AlwaysEHLO          bool
	NeverEHLO           bool
	Skip5xxGreeting     bool
	SkipQuitResponse    bool
	DiscardKeywords     string
	DiscardKeywordMaps  string
	SendXforward        bool
	SendDummyAuth       bool
	QuoteEnvelope       bool
	LineLengthLimit     int
	AddressVerifyTarget string // rcpt, data
	AssumeFinal         bool
	ReplyFilter         string

	// What is changed on the way.
	GenericMaps           string
	PropagateExtensions   string
	HeaderChecks          string
	MIMEHeaderChecks      string
	NestedHeaderChecks    string
	BodyChecks            string
	DisableMIMEConversion bool
	DisableMIMEInput      bool
	HeaderSizeLimit       int
	MIMENestingLimit      int
	MIMEBoundaryLimit     int

	SASL             SASLConfig
	TLS              TLSConfig
	AppendDefaultCA  bool
	RequireTLSPolicy string // smtp_requiretls_policy
	TLSRequired      bool   // the header field "TLS-Required: no" counts
	KnownPorts       string // service names that need no /etc/services
	SRVLookup        string
	MinimalBackoff   time.Duration

	// What this client cannot do yet; Open refuses a value that asks for it.
	unknown []unsupported
}

// SASLConfig are the parameters of client authentication.
type SASLConfig struct {
	Enable                                 bool
	SoftBounce                             bool
	PasswordMaps, Delimiter                string
	SenderDependent                        bool
	MechanismFilter                        string
	Options, TLSOptions, VerifiedTLSOption string
	Type, Path, CacheName                  string
}

// TLSConfig are the parameters of smtp_tls_… and lmtp_tls_….
type TLSConfig struct {
	Level                             string
	UseTLS, EnforceTLS                bool // obsolete ways to say may and encrypt
	PolicyMaps, PerSite               string
	CAFile, CAPath                    string
	CertFile, KeyFile, ChainFiles     string
	ECCertFile, ECKeyFile             string
	DCertFile, DKeyFile               string
	Ciphers, MandatoryCiphers         string
	ExcludeCiphers, MandatoryExclude  string
	Protocols, MandatoryProtocols     string
	VerifyMatch, SecureMatch          string
	FingerprintMatch                  string
	FingerprintDigest                 string
	Servername                        string
	VerifyDepth                       int
	LogLevel                          int
	NoteOffer, WrapperMode            bool
	ConnectionReuse, BlockEarlyReply  bool
	EnforcePeername, LogFeatureStatus bool
	Grades                            starttls.Grades
}

// An unsupported parameter has a value that the client would have to act upon
// but cannot.
type unsupported struct {
	smtp, lmtp string
	value      *string
	harmless   string // the value that asks for nothing
}

// A row is one parameter of both protocols. A name that is empty does not
// exist for the protocol.
type row struct {
	field      any // *string, *int, *bool or *time.Duration
	smtp, lmtp string
	def        string
	lmtpDef    string // where it differs from def, else "="
	options    []param.Option
}

// Params names the parameters that the client reads for a protocol.
func (c *Config) Params(s *param.Set, p Protocol) {
	c.unknown = nil
	for _, r := range c.rows() {
		name, def := r.smtp, r.def
		if p == LMTP {
			name = r.lmtp
			if r.lmtpDef != "=" {
				def = r.lmtpDef
			}
		}
		if name == "" {
			continue
		}
		switch f := r.field.(type) {
		case *string:
			s.Str(f, name, def, r.options...)
		case *int:
			s.NInt(f, name, def, r.options...)
		case *bool:
			s.NBool(f, name, def)
		case *time.Duration:
			s.Time(f, name, def, r.options...)
		case *unsupported:
			f.smtp, f.lmtp, f.harmless, f.value = r.smtp, r.lmtp, def, new(string)
			s.Str(f.value, name, def)
			c.unknown = append(c.unknown, *f)
		}
	}
	c.shared(s)
	c.DNS.Params(s)
	c.TLS.Grades.Params(s)
}

// shared names the parameters that have one name for both protocols.
func (c *Config) shared(s *param.Set) {
	s.Str(&c.RelayHost, "relayhost", "")
	s.Time(&c.MinimalBackoff, "minimal_backoff_time", "300s", param.Min(1))
	s.Bool(&c.AppendDefaultCA, "tls_append_default_CA", false)
	s.Bool(&c.TLSRequired, "tls_required_enable", true)
	s.Str(&c.KnownPorts, "known_tcp_ports", "lmtp=24, smtp=25, smtps=submissions=465, submission=587")
	s.Str(&c.SRVLookup, "use_srv_lookup", "")
	s.Bool(new(bool), "ignore_srv_lookup_error", false)
	s.Bool(new(bool), "allow_srv_lookup_fallback", false)
	s.Str(new(string), "fallback_relay", "")
	s.Str(&c.BestMXTransport, "best_mx_transport", "")
	s.Bool(&c.IgnoreMXError, "ignore_mx_lookup_error", false)
	s.Bool(&c.DisableDNS, "disable_dns_lookups", false)
	s.Bool(&c.DisableMIMEConversion, "disable_mime_output_conversion", false)
	s.Bool(&c.DisableMIMEInput, "disable_mime_input_processing", false)
	s.Str(&c.PropagateExtensions, "propagate_unmatched_extensions", "canonical, virtual")
	s.Int(&c.HeaderSizeLimit, "header_size_limit", 102400, param.Min(1))
	s.Int(&c.MIMENestingLimit, "mime_nesting_limit", 100, param.Min(1))
	s.Int(&c.MIMEBoundaryLimit, "mime_boundary_length_limit", 2048, param.Min(1))
}

func (c *Config) rows() []row {
	list := c.pathRows()
	list = append(list, c.timeRows()...)
	list = append(list, c.speechRows()...)
	list = append(list, c.contentRows()...)
	list = append(list, c.saslRows()...)
	list = append(list, c.tlsRows()...)
	return append(list, c.unsupportedRows()...)
}

func (c *Config) pathRows() []row {
	atLeast := func(n int64) []param.Option { return []param.Option{param.Min(n)} }
	return []row{
		{&c.TCPPort, "smtp_tcp_port", "lmtp_tcp_port", "smtp", "24", nil},
		{&c.FallbackRelay, "smtp_fallback_relay", "lmtp_fallback_relay", "$fallback_relay", "", nil},
		{&c.MXAddressLimit, "smtp_mx_address_limit", "lmtp_mx_address_limit", "5", "=", atLeast(0)},
		{&c.MXSessionLimit, "smtp_mx_session_limit", "lmtp_mx_session_limit", "2", "=", atLeast(0)},
		{&c.RandomizeAddrs, "smtp_randomize_addresses", "lmtp_randomize_addresses", "yes", "=", nil},
		{&c.AddressPreference, "smtp_address_preference", "lmtp_address_preference", "any", "=", nil},
		{&c.BalanceProtocols, "smtp_balance_inet_protocols", "lmtp_balance_inet_protocols", "yes", "=", nil},
		{&c.BindAddress, "smtp_bind_address", "lmtp_bind_address", "", "=", nil},
		{&c.BindAddress6, "smtp_bind_address6", "lmtp_bind_address6", "", "=", nil},
		{&c.BindEnforce, "smtp_bind_address_enforce", "lmtp_bind_address_enforce", "no", "=", nil},
		{&c.HostLookup, "smtp_host_lookup", "lmtp_host_lookup", "dns", "=", nil},
		{&c.DNSSupportLevel, "smtp_dns_support_level", "lmtp_dns_support_level", "", "=", nil},
		{&c.DeferNoMXAddress, "smtp_defer_if_no_mx_address_found", "lmtp_defer_if_no_mx_address_found", "no", "=", nil},
		{&c.CacheOnDemand, "smtp_connection_cache_on_demand", "lmtp_connection_cache_on_demand", "yes", "=", nil},
		{&c.CacheDestinations, "smtp_connection_cache_destinations", "lmtp_connection_cache_destinations", "", "=", nil},
		{&c.ReuseCountLimit, "smtp_connection_reuse_count_limit", "lmtp_connection_reuse_count_limit", "0", "=", atLeast(0)},
	}
}

func (c *Config) timeRows() []row {
	one := []param.Option{param.Min(1)}
	return []row{
		{&c.ConnectTimeout, "smtp_connect_timeout", "lmtp_connect_timeout", "30s", "0s", nil},
		{&c.HeloTimeout, "smtp_helo_timeout", "lmtp_lhlo_timeout", "300s", "=", one},
		{&c.XforwardTimeout, "smtp_xforward_timeout", "lmtp_xforward_timeout", "300s", "=", one},
		{&c.StarttlsTimeout, "smtp_starttls_timeout", "lmtp_starttls_timeout", "300s", "=", one},
		{&c.MailTimeout, "smtp_mail_timeout", "lmtp_mail_timeout", "300s", "=", one},
		{&c.RcptTimeout, "smtp_rcpt_timeout", "lmtp_rcpt_timeout", "300s", "=", one},
		{&c.DataInitTimeout, "smtp_data_init_timeout", "lmtp_data_init_timeout", "120s", "=", one},
		{&c.DataXferTimeout, "smtp_data_xfer_timeout", "lmtp_data_xfer_timeout", "180s", "=", one},
		{&c.DataDoneTimeout, "smtp_data_done_timeout", "lmtp_data_done_timeout", "600s", "=", one},
		{&c.RsetTimeout, "smtp_rset_timeout", "lmtp_rset_timeout", "20s", "=", one},
		{&c.QuitTimeout, "smtp_quit_timeout", "lmtp_quit_timeout", "300s", "=", one},
		{&c.PerRequestDeadline, "smtp_per_request_deadline", "",
			"${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}", "=", nil},
		{&c.PerRequestDeadline, "", "lmtp_per_request_deadline",
			"${lmtp_per_record_deadline?{$lmtp_per_record_deadline}:{no}}", "=", nil},
		{&c.MinDataRate, "smtp_min_data_rate", "lmtp_min_data_rate", "500", "=", one},
		{&c.PixThreshold, "smtp_pix_workaround_threshold_time", "lmtp_pix_workaround_threshold_time", "500s", "=", nil},
		{&c.PixDelay, "smtp_pix_workaround_delay_time", "lmtp_pix_workaround_delay_time", "10s", "=", one},
		{&c.PixWorkarounds, "smtp_pix_workarounds", "lmtp_pix_workarounds", "disable_esmtp,delay_dotcrlf", "=", nil},
		{&c.PixWorkaroundMaps, "smtp_pix_workaround_maps", "lmtp_pix_workaround_maps", "", "=", nil},
		{&c.CacheTimeLimit, "smtp_connection_cache_time_limit", "lmtp_connection_cache_time_limit", "2s", "=", one},
		{&c.ReuseTimeLimit, "smtp_connection_reuse_time_limit", "lmtp_connection_reuse_time_limit", "300s", "=", one},
	}
}

func (c *Config) speechRows() []row {
	return []row{
		{&c.HeloName, "smtp_helo_name", "lmtp_lhlo_name", "$myhostname", "=", []param.Option{param.MinLen(1)}},
		{&c.AlwaysEHLO, "smtp_always_send_ehlo", "", "yes", "=", nil},
		{&c.NeverEHLO, "smtp_never_send_ehlo", "", "no", "=", nil},
		{&c.Skip5xxGreeting, "smtp_skip_5xx_greeting", "lmtp_skip_5xx_greeting", "yes", "=", nil},
		{&c.SkipQuitResponse, "smtp_skip_quit_response", "lmtp_skip_quit_response", "yes", "no", nil},
		{&c.DiscardKeywords, "smtp_discard_ehlo_keywords", "lmtp_discard_lhlo_keywords", "", "=", nil},
		{&c.DiscardKeywordMaps, "smtp_discard_ehlo_keyword_address_maps", "lmtp_discard_lhlo_keyword_address_maps", "", "=", nil},
		{&c.SendXforward, "smtp_send_xforward_command", "lmtp_send_xforward_command", "no", "=", nil},
		{&c.SendDummyAuth, "smtp_send_dummy_mail_auth", "lmtp_send_dummy_mail_auth", "no", "=", nil},
		{&c.QuoteEnvelope, "smtp_quote_rfc821_envelope", "lmtp_quote_rfc821_envelope", "yes", "=", nil},
		{&c.LineLengthLimit, "smtp_line_length_limit", "lmtp_line_length_limit", "998", "=", []param.Option{param.Min(0)}},
		{&c.AddressVerifyTarget, "smtp_address_verify_target", "lmtp_address_verify_target", "rcpt", "=", nil},
		{&c.AssumeFinal, "", "lmtp_assume_final", "no", "=", nil},
		{&c.ReplyFilter, "smtp_reply_filter", "lmtp_reply_filter", "", "=", nil},
	}
}

func (c *Config) contentRows() []row {
	return []row{
		{&c.GenericMaps, "smtp_generic_maps", "lmtp_generic_maps", "", "=", nil},
		{&c.HeaderChecks, "smtp_header_checks", "lmtp_header_checks", "", "=", nil},
		{&c.MIMEHeaderChecks, "smtp_mime_header_checks", "lmtp_mime_header_checks", "", "=", nil},
		{&c.NestedHeaderChecks, "smtp_nested_header_checks", "lmtp_nested_header_checks", "", "=", nil},
		{&c.BodyChecks, "smtp_body_checks", "lmtp_body_checks", "", "=", nil},
	}
}

func (c *Config) saslRows() []row {
	a := &c.SASL
	return []row{
		{&a.Enable, "smtp_sasl_auth_enable", "lmtp_sasl_auth_enable", "no", "=", nil},
		{&a.SoftBounce, "smtp_sasl_auth_soft_bounce", "lmtp_sasl_auth_soft_bounce", "yes", "=", nil},
		{&a.PasswordMaps, "smtp_sasl_password_maps", "lmtp_sasl_password_maps", "", "=", nil},
		{&a.Delimiter, "smtp_sasl_password_result_delimiter", "lmtp_sasl_password_result_delimiter", ":", "=", []param.Option{param.MinLen(1), param.MaxLen(1)}},
		{&a.SenderDependent, "smtp_sender_dependent_authentication", "lmtp_sender_dependent_authentication", "no", "=", nil},
		{&a.MechanismFilter, "smtp_sasl_mechanism_filter", "lmtp_sasl_mechanism_filter", "", "=", nil},
		{&a.Options, "smtp_sasl_security_options", "lmtp_sasl_security_options", "noplaintext, noanonymous", "=", nil},
		{&a.TLSOptions, "smtp_sasl_tls_security_options", "", "$smtp_sasl_security_options", "=", nil},
		{&a.TLSOptions, "", "lmtp_sasl_tls_security_options", "$lmtp_sasl_security_options", "=", nil},
		{&a.VerifiedTLSOption, "smtp_sasl_tls_verified_security_options", "", "$smtp_sasl_tls_security_options", "=", nil},
		{&a.VerifiedTLSOption, "", "lmtp_sasl_tls_verified_security_options", "$lmtp_sasl_tls_security_options", "=", nil},
		{&a.Type, "smtp_sasl_type", "lmtp_sasl_type", "cyrus", "=", nil},
		{&a.CacheName, "smtp_sasl_auth_cache_name", "lmtp_sasl_auth_cache_name", "", "=", nil},
	}
}
