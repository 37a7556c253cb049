package cleanup

import (
	"time"

	"postern/internal/config/param"
	"postern/internal/protocol/milter"
)

// Config holds the parameters of cleanup.
type Config struct {
	// What is added to a message.
	AlwaysAddMissingHeaders bool          // always_add_missing_headers
	AlwaysBCC               string        // always_bcc
	SenderBCCMaps           string        // sender_bcc_maps
	RecipientBCCMaps        string        // recipient_bcc_maps
	DelayWarningTime        time.Duration // delay_warning_time
	HeaderFromFormat        string        // header_from_format: standard or obsolete
	FullNameCharset         string        // full_name_encoding_charset
	UndisclosedRecipients   string        // undisclosed_recipients_header

	// What is taken out or refused.
	DropHeaders        string // message_drop_headers
	RejectCharacters   string // message_reject_characters
	StripCharacters    string // message_strip_characters
	ReplaceStrayCRLF   bool   // cleanup_replace_stray_cr_lf
	HopcountLimit      int    // hopcount_limit
	NonEmptyHeaderEnd  string // non_empty_end_of_header_action
	RequireTLSHeader   bool   // requiretls_esmtp_header
	HeaderChecks       string // header_checks
	MIMEHeaderChecks   string // mime_header_checks
	NestedHeaderChecks string // nested_header_checks
	BodyChecks         string // body_checks
	BodyChecksLimit    int    // body_checks_size_limit

	// How the content is read.
	DisableMIME          bool // disable_mime_input_processing
	DetectEightBit       bool // detect_8bit_encoding_header
	Strict8BitMIME       bool // strict_8bitmime
	Strict7BitHeaders    bool // strict_7bit_headers
	Strict8BitBody       bool // strict_8bitmime_body
	StrictEncodingDomain bool // strict_mime_encoding_domain
	BoundaryLimit        int  // mime_boundary_length_limit
	NestingLimit         int  // mime_nesting_limit
	HeaderSizeLimit      int  // header_size_limit
	TokenLimit           int  // header_address_token_limit

	// How addresses are mapped.
	CanonicalMaps             string // canonical_maps
	CanonicalClasses          string // canonical_classes
	SenderCanonicalMaps       string // sender_canonical_maps
	SenderCanonicalClasses    string // sender_canonical_classes
	RecipientCanonicalMaps    string // recipient_canonical_maps
	RecipientCanonicalClasses string // recipient_canonical_classes
	MasqueradeDomains         string // masquerade_domains
	MasqueradeClasses         string // masquerade_classes
	MasqueradeExceptions      string // masquerade_exceptions
	VirtualMaps               string // virtual_maps, the old name of virtual_alias_maps
	VirtualAliasMaps          string // virtual_alias_maps
	VirtualAliasExpansion     int    // virtual_alias_expansion_limit
	VirtualAliasRecursion     int    // virtual_alias_recursion_limit
	VirtualAliasLength        int    // virtual_alias_address_length_limit
	PropagateExtensions       string // propagate_unmatched_extensions
	RemoteRewriteDomain       string // remote_header_rewrite_domain

	Milter             milter.Params
	NonSMTPDMilters    string // non_smtpd_milters
	MilterHeaderChecks string // milter_header_checks
}

// Params names the main.cf parameters that cleanup reads.
func (c *Config) Params(s *param.Set) {
	s.Bool(&c.AlwaysAddMissingHeaders, "always_add_missing_headers", false)
	s.Str(&c.AlwaysBCC, "always_bcc", "")
	s.Str(&c.SenderBCCMaps, "sender_bcc_maps", "")
	s.Str(&c.RecipientBCCMaps, "recipient_bcc_maps", "")
	s.Time(&c.DelayWarningTime, "delay_warning_time", "0h", param.Min(0))
	s.Str(&c.HeaderFromFormat, "header_from_format", "standard", param.MinLen(1))
	s.Str(&c.FullNameCharset, "full_name_encoding_charset", "utf-8")
	s.Str(&c.UndisclosedRecipients, "undisclosed_recipients_header", "")

	s.Str(&c.DropHeaders, "message_drop_headers", "bcc, content-length, resent-bcc, return-path")
	s.Raw(&c.RejectCharacters, "message_reject_characters", "")
	s.Raw(&c.StripCharacters, "message_strip_characters", "")
	s.Bool(&c.ReplaceStrayCRLF, "cleanup_replace_stray_cr_lf", true)
	s.Int(&c.HopcountLimit, "hopcount_limit", 50, param.Min(1))
	s.Str(&c.NonEmptyHeaderEnd, "non_empty_end_of_header_action", "fix_quietly", param.MinLen(1))
	s.Bool(&c.RequireTLSHeader, "requiretls_esmtp_header", true)
	s.Str(&c.HeaderChecks, "header_checks", "")
	s.Str(&c.MIMEHeaderChecks, "mime_header_checks", "$header_checks")
	s.Str(&c.NestedHeaderChecks, "nested_header_checks", "$header_checks")
	s.Str(&c.BodyChecks, "body_checks", "")
	s.Int(&c.BodyChecksLimit, "body_checks_size_limit", 51200, param.Min(0))

	s.Bool(&c.DisableMIME, "disable_mime_input_processing", false)
	s.Bool(&c.DetectEightBit, "detect_8bit_encoding_header", true)
	s.Bool(&c.Strict8BitMIME, "strict_8bitmime", false)
	s.Bool(&c.Strict7BitHeaders, "strict_7bit_headers", false)
	s.Bool(&c.Strict8BitBody, "strict_8bitmime_body", false)
	s.Bool(&c.StrictEncodingDomain, "strict_mime_encoding_domain", false)
	s.Int(&c.BoundaryLimit, "mime_boundary_length_limit", 2048, param.Min(1))
	s.Int(&c.NestingLimit, "mime_nesting_limit", 100, param.Min(1))
	s.Int(&c.HeaderSizeLimit, "header_size_limit", 102400, param.Min(1))
	s.Int(&c.TokenLimit, "header_address_token_limit", 10240, param.Min(1))

	s.Str(&c.CanonicalMaps, "canonical_maps", "")
	s.Str(&c.CanonicalClasses, "canonical_classes", "envelope_sender, envelope_recipient, header_sender, header_recipient", param.MinLen(1))
	s.Str(&c.SenderCanonicalMaps, "sender_canonical_maps", "")
	s.Str(&c.SenderCanonicalClasses, "sender_canonical_classes", "envelope_sender, header_sender", param.MinLen(1))
	s.Str(&c.RecipientCanonicalMaps, "recipient_canonical_maps", "")
	s.Str(&c.RecipientCanonicalClasses, "recipient_canonical_classes", "envelope_recipient, header_recipient", param.MinLen(1))
	s.Str(&c.MasqueradeDomains, "masquerade_domains", "")
	s.Str(&c.MasqueradeClasses, "masquerade_classes", "envelope_sender, header_sender, header_recipient", param.MinLen(1))
	s.Str(&c.MasqueradeExceptions, "masquerade_exceptions", "")
	s.Str(&c.VirtualMaps, "virtual_maps", "")
	s.Str(&c.VirtualAliasMaps, "virtual_alias_maps", "$virtual_maps")
	s.Int(&c.VirtualAliasExpansion, "virtual_alias_expansion_limit", 1000, param.Min(1))
	s.Int(&c.VirtualAliasRecursion, "virtual_alias_recursion_limit", 1000, param.Min(1))
	s.Int(&c.VirtualAliasLength, "virtual_alias_address_length_limit", 1000, param.Min(10))
	s.Str(&c.PropagateExtensions, "propagate_unmatched_extensions", "canonical, virtual")
	s.Str(&c.RemoteRewriteDomain, "remote_header_rewrite_domain", "")

	c.Milter.Params(s)
	s.Str(&c.NonSMTPDMilters, "non_smtpd_milters", "")
	s.Str(&c.MilterHeaderChecks, "milter_header_checks", "")
}
