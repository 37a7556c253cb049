package restrict

import (
	"postern/internal/config/param"
)

// A tempfail is what a temporary error of a lookup means: defer at once, or
// only if nothing else refuses.
type tempfail string

// Config holds the parameters of the restrictions.
type Config struct {
	Client, Helo, Sender, Relay, Recipient, Data, EndOfData, ETRN string
	Classes                                                       string
	DelayReject                                                   bool
	RelayBeforeRecipient                                          bool
	RejectUnlistedRecipient, RejectUnlistedSender                 bool
	LogPermit                                                     string
	ExpansionFilter                                               string
	NullSenderKey                                                 string
	ShowUserUnknownTable                                          bool
	AllowUntrustedRouting                                         bool

	AccessReject, AccessDefer                   int
	RejectCode, DeferCode                       int
	RelayCode                                   int
	InvalidHostname, NonFQDN                    int
	UnknownAddress, UnknownClient, UnknownHelo  int
	UnknownLocal, UnknownRelay                  int
	UnknownAlias, UnknownMailbox                int
	MultiRecipientBounce, Plaintext             int
	MapsRBL                                     int
	DefaultRBLReply, RBLReplyMaps               string
	TempfailAction                              tempfail
	UnknownAddressTempfail, UnknownHeloTempfail tempfail

	LocalRecipients, RelayRecipients          string
	VirtualAliases, VirtualMailboxes          string
	Canonical, SenderCanonical, RcptCanonical string
	SenderLogins                              string
	RelayClientCerts                          string

	MXBackupNetworks string

	Policy PolicyConfig
	Verify VerifyConfig
}

// Params names the parameters.
func (c *Config) Params(s *param.Set) {
	c.lists(s)
	c.codes(s)
	c.tables(s)
	c.Policy.params(s)
	c.Verify.params(s)
}

func (c *Config) lists(s *param.Set) {
	s.Str(&c.Client, "smtpd_client_restrictions", "")
	s.Str(&c.Helo, "smtpd_helo_restrictions", "")
	s.Str(&c.Sender, "smtpd_sender_restrictions", "")
	s.Str(&c.Relay, "smtpd_relay_restrictions",
		"${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}")
	s.Str(&c.Recipient, "smtpd_recipient_restrictions", "")
	s.Str(&c.Data, "smtpd_data_restrictions", "")
	s.Str(&c.EndOfData, "smtpd_end_of_data_restrictions", "")
	s.Str(&c.ETRN, "smtpd_etrn_restrictions", "")
	s.Str(&c.Classes, "smtpd_restriction_classes", "")
	s.Bool(&c.DelayReject, "smtpd_delay_reject", true)
	s.NBool(&c.RelayBeforeRecipient, "smtpd_relay_before_recipient_restrictions",
		"${{$compatibility_level} <level {3.6} ? {no} : {yes}}")
	s.Bool(&c.RejectUnlistedRecipient, "smtpd_reject_unlisted_recipient", true)
	s.Bool(&c.RejectUnlistedSender, "smtpd_reject_unlisted_sender", false)
	s.Str(&c.LogPermit, "smtpd_log_access_permit_actions", "")
	s.Raw(&c.ExpansionFilter, "smtpd_expansion_filter",
		"\\t\\40!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`abcdefghijklmnopqrstuvwxyz{|}~")
	s.Str(&c.NullSenderKey, "smtpd_null_access_lookup_key", "<>")
	s.Bool(&c.ShowUserUnknownTable, "show_user_unknown_table_name", true)
	s.Bool(&c.AllowUntrustedRouting, "allow_untrusted_routing", false)
}

func (c *Config) codes(s *param.Set) {
	code := func(p *int, name string, def int) { s.Int(p, name, def, param.Min(400), param.Max(599)) }
	code(&c.AccessReject, "access_map_reject_code", 554)
	code(&c.AccessDefer, "access_map_defer_code", 450)
	code(&c.RejectCode, "reject_code", 554)
	code(&c.DeferCode, "defer_code", 450)
	code(&c.RelayCode, "relay_domains_reject_code", 554)
	code(&c.InvalidHostname, "invalid_hostname_reject_code", 501)
	code(&c.NonFQDN, "non_fqdn_reject_code", 504)
	code(&c.UnknownAddress, "unknown_address_reject_code", 450)
	code(&c.UnknownClient, "unknown_client_reject_code", 450)
	code(&c.UnknownHelo, "unknown_hostname_reject_code", 450)
	code(&c.UnknownLocal, "unknown_local_recipient_reject_code", 550)
	code(&c.UnknownRelay, "unknown_relay_recipient_reject_code", 550)
	code(&c.UnknownAlias, "unknown_virtual_alias_reject_code", 550)
	code(&c.UnknownMailbox, "unknown_virtual_mailbox_reject_code", 550)
	code(&c.MultiRecipientBounce, "multi_recipient_bounce_reject_code", 550)
	code(&c.Plaintext, "plaintext_reject_code", 450)
	code(&c.MapsRBL, "maps_rbl_reject_code", 554)
	s.Raw(&c.DefaultRBLReply, "default_rbl_reply",
		"$rbl_code Service unavailable; $rbl_class [$rbl_what] blocked using $rbl_domain${rbl_reason?; $rbl_reason}")
	s.Str((*string)(&c.TempfailAction), "reject_tempfail_action", "defer_if_permit", param.MinLen(1))
	s.Str((*string)(&c.UnknownAddressTempfail), "unknown_address_tempfail_action", "$reject_tempfail_action", param.MinLen(1))
	s.Str((*string)(&c.UnknownHeloTempfail), "unknown_helo_hostname_tempfail_action", "$reject_tempfail_action", param.MinLen(1))
}

func (c *Config) tables(s *param.Set) {
	s.Str(&c.RBLReplyMaps, "rbl_reply_maps", "")
	s.Str(&c.LocalRecipients, "local_recipient_maps", "proxy:unix:passwd.byname $alias_maps")
	s.Str(&c.RelayRecipients, "relay_recipient_maps", "")
	s.Str(&c.VirtualAliases, "virtual_alias_maps", "$virtual_maps")
	s.Str(&c.VirtualMailboxes, "virtual_mailbox_maps", "")
	s.Str(&c.Canonical, "canonical_maps", "")
	s.Str(&c.SenderCanonical, "sender_canonical_maps", "")
	s.Str(&c.RcptCanonical, "recipient_canonical_maps", "")
	s.Str(&c.SenderLogins, "smtpd_sender_login_maps", "")
	s.Str(&c.RelayClientCerts, "relay_clientcerts", "")
	s.Str(&c.MXBackupNetworks, "permit_mx_backup_networks", "")
	var aliases string
	s.Str(&aliases, "alias_maps", "$default_database_type:/etc/aliases")
}
