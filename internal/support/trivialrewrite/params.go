package trivialrewrite

import "postern/internal/config/param"

// Config holds the parameters of trivial-rewrite.
type Config struct {
	SwapBangpath            bool   // site!user means user@site
	PercentHack             bool   // user%domain means user@domain
	AppendDotMyDomain       bool   // user@host means user@host.$mydomain
	RemoteRewriteDomain     string // what completes addresses of remote clients
	ResolveDequoted         bool   // look for routing operators in the unquoted address
	ResolveNullDomain       bool   // user@ is local
	ResolveNumericDomain    bool   // user@1.2.3.4 means user@[1.2.3.4]
	AllowMinUser            bool   // recipients may begin with '-'
	ShowUserUnknownTable    bool
	HelpfulWarnings         bool
	VirtualAliasMaps        string // default of VirtualAliasDomains
	VirtualAliasDomains     string
	VirtualMailboxMaps      string // default of VirtualMailboxDomains
	VirtualMailboxDomains   string
	RelocatedMaps           string
	RelocatedPrefixEnable   bool
	NullRelayhostKey        string // stands for the null sender in sender_dependent_relayhost_maps
	NullDefaultTransportKey string

	Resolve Routing // for mail
	Verify  Routing // for address probes
}

// Routing is the parameters that choose transport and next hop; address
// probes have their own.
type Routing struct {
	prefix string // "" or "address_verify_"

	LocalTransport, VirtualTransport         string
	RelayTransport, DefaultTransport         string
	Relayhost                                string
	TransportMaps                            string
	SenderRelayhostMaps, SenderTransportMaps string
}

// Params names the main.cf parameters that trivial-rewrite reads.
func (c *Config) Params(s *param.Set) {
	s.Bool(&c.SwapBangpath, "swap_bangpath", true)
	s.Bool(&c.PercentHack, "allow_percent_hack", true)
	s.NBool(&c.AppendDotMyDomain, "append_dot_mydomain", "${{$compatibility_level} <level {1} ? {yes} : {no}}")
	s.Str(&c.RemoteRewriteDomain, "remote_header_rewrite_domain", "")
	s.Bool(&c.ResolveDequoted, "resolve_dequoted_address", true)
	s.Bool(&c.ResolveNullDomain, "resolve_null_domain", false)
	s.Bool(&c.ResolveNumericDomain, "resolve_numeric_domain", false)
	s.Bool(&c.AllowMinUser, "allow_min_user", false)
	s.Bool(&c.ShowUserUnknownTable, "show_user_unknown_table_name", true)
	s.Bool(&c.HelpfulWarnings, "helpful_warnings", true)
	s.Str(&c.VirtualAliasMaps, "virtual_alias_maps", "$virtual_maps")
	s.Str(&c.VirtualAliasDomains, "virtual_alias_domains", "$virtual_alias_maps")
	s.Str(&c.VirtualMailboxMaps, "virtual_mailbox_maps", "")
	s.Str(&c.VirtualMailboxDomains, "virtual_mailbox_domains", "$virtual_mailbox_maps")
	s.Str(&c.RelocatedMaps, "relocated_maps", "")
	s.Bool(&c.RelocatedPrefixEnable, "relocated_prefix_enable", true)
	s.Str(&c.NullRelayhostKey, "empty_address_relayhost_maps_lookup_key", "<>", param.MinLen(1))
	s.Str(&c.NullDefaultTransportKey, "empty_address_default_transport_maps_lookup_key", "<>", param.MinLen(1))
	c.Resolve.mail(s)
	c.Verify.probes(s)
}

func (r *Routing) mail(s *param.Set) {
	s.Str(&r.LocalTransport, "local_transport", "local:$myhostname", param.MinLen(1))
	s.Str(&r.VirtualTransport, "virtual_transport", "virtual", param.MinLen(1))
	s.Str(&r.RelayTransport, "relay_transport", "relay", param.MinLen(1))
	s.Str(&r.DefaultTransport, "default_transport", "smtp", param.MinLen(1))
	s.Str(&r.Relayhost, "relayhost", "")
	s.Str(&r.TransportMaps, "transport_maps", "")
	s.Str(&r.SenderRelayhostMaps, "sender_dependent_relayhost_maps", "")
	s.Str(&r.SenderTransportMaps, "sender_dependent_default_transport_maps", "")
}

func (r *Routing) probes(s *param.Set) {
	r.prefix = "address_verify_"
	s.Str(&r.LocalTransport, "address_verify_local_transport", "$local_transport", param.MinLen(1))
	s.Str(&r.VirtualTransport, "address_verify_virtual_transport", "$virtual_transport", param.MinLen(1))
	s.Str(&r.RelayTransport, "address_verify_relay_transport", "$relay_transport", param.MinLen(1))
	s.Str(&r.DefaultTransport, "address_verify_default_transport", "$default_transport", param.MinLen(1))
	s.Str(&r.Relayhost, "address_verify_relayhost", "$relayhost")
	s.Str(&r.TransportMaps, "address_verify_transport_maps", "$transport_maps")
	s.Str(&r.SenderRelayhostMaps, "address_verify_sender_dependent_relayhost_maps", "$sender_dependent_relayhost_maps")
	s.Str(&r.SenderTransportMaps, "address_verify_sender_dependent_default_transport_maps", "$sender_dependent_default_transport_maps")
}
