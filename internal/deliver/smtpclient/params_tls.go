package smtpclient

func (c *Config) tlsRows() []row {
	t := &c.TLS
	return []row{
		{&t.Level, "smtp_tls_security_level", "lmtp_tls_security_level", "", "=", nil},
		{&t.UseTLS, "smtp_use_tls", "lmtp_use_tls", "no", "=", nil},
		{&t.EnforceTLS, "smtp_enforce_tls", "lmtp_enforce_tls", "no", "=", nil},
		{&t.PolicyMaps, "smtp_tls_policy_maps", "lmtp_tls_policy_maps", "", "=", nil},
		{&t.PerSite, "smtp_tls_per_site", "lmtp_tls_per_site", "", "=", nil},
		{&t.CAFile, "smtp_tls_CAfile", "lmtp_tls_CAfile", "", "=", nil},
		{&t.CAPath, "smtp_tls_CApath", "lmtp_tls_CApath", "", "=", nil},
		{&t.CertFile, "smtp_tls_cert_file", "lmtp_tls_cert_file", "", "=", nil},
		{&t.KeyFile, "smtp_tls_key_file", "", "$smtp_tls_cert_file", "=", nil},
		{&t.KeyFile, "", "lmtp_tls_key_file", "$lmtp_tls_cert_file", "=", nil},
		{&t.ChainFiles, "smtp_tls_chain_files", "lmtp_tls_chain_files", "", "=", nil},
		{&t.ECCertFile, "smtp_tls_eccert_file", "lmtp_tls_eccert_file", "", "=", nil},
		{&t.ECKeyFile, "smtp_tls_eckey_file", "", "$smtp_tls_eccert_file", "=", nil},
		{&t.ECKeyFile, "", "lmtp_tls_eckey_file", "$lmtp_tls_eccert_file", "=", nil},
		{&t.DCertFile, "smtp_tls_dcert_file", "lmtp_tls_dcert_file", "", "=", nil},
		{&t.DKeyFile, "smtp_tls_dkey_file", "", "$smtp_tls_dcert_file", "=", nil},
		{&t.DKeyFile, "", "lmtp_tls_dkey_file", "$lmtp_tls_dcert_file", "=", nil},
		{&t.Ciphers, "smtp_tls_ciphers", "lmtp_tls_ciphers", "medium", "=", nil},
		{&t.MandatoryCiphers, "smtp_tls_mandatory_ciphers", "lmtp_tls_mandatory_ciphers", "medium", "=", nil},
		{&t.ExcludeCiphers, "smtp_tls_exclude_ciphers", "lmtp_tls_exclude_ciphers", "", "=", nil},
		{&t.MandatoryExclude, "smtp_tls_mandatory_exclude_ciphers", "lmtp_tls_mandatory_exclude_ciphers", "", "=", nil},
		{&t.Protocols, "smtp_tls_protocols", "lmtp_tls_protocols", ">=TLSv1", "=", nil},
		{&t.MandatoryProtocols, "smtp_tls_mandatory_protocols", "lmtp_tls_mandatory_protocols", ">=TLSv1", "=", nil},
		{&t.VerifyMatch, "smtp_tls_verify_cert_match", "lmtp_tls_verify_cert_match", "hostname", "=", nil},
		{&t.SecureMatch, "smtp_tls_secure_cert_match", "lmtp_tls_secure_cert_match", "nexthop, dot-nexthop", "nexthop", nil},
		{&t.FingerprintMatch, "smtp_tls_fingerprint_cert_match", "lmtp_tls_fingerprint_cert_match", "", "=", nil},
		{&t.FingerprintDigest, "smtp_tls_fingerprint_digest", "lmtp_tls_fingerprint_digest", "${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", "=", nil},
		{&t.Servername, "smtp_tls_servername", "lmtp_tls_servername", "", "=", nil},
		{&t.VerifyDepth, "smtp_tls_scert_verifydepth", "lmtp_tls_scert_verifydepth", "9", "=", nil},
		{&t.LogLevel, "smtp_tls_loglevel", "lmtp_tls_loglevel", "0", "=", nil},
		{&t.NoteOffer, "smtp_tls_note_starttls_offer", "lmtp_tls_note_starttls_offer", "no", "=", nil},
		{&t.WrapperMode, "smtp_tls_wrappermode", "lmtp_tls_wrappermode", "no", "=", nil},
		{&t.ConnectionReuse, "smtp_tls_connection_reuse", "lmtp_tls_connection_reuse", "no", "=", nil},
		{&t.EnforcePeername, "smtp_tls_enforce_peername", "lmtp_tls_enforce_peername", "yes", "=", nil},
		{&c.RequireTLSPolicy, "smtp_requiretls_policy", "lmtp_requiretls_policy", requireTLSDefault, requireActions[requireOpportunistic], nil},
		{&t.LogFeatureStatus, "smtp_log_tls_feature_status", "lmtp_log_tls_feature_status", "yes", "=", nil},
	}
}

// requireTLSDefault: mail within the own domain and to numerical addresses, which
// content filters are given by, goes as well as it can, other mail as the sender
// asks.
const requireTLSDefault = "inline:{{${domain_to_ascii{$mydomain}}=opportunistic}, {.${domain_to_ascii{$mydomain}}=opportunistic}," +
	" {localhost=opportunistic}}, cidr:{{0.0.0.0/0 opportunistic}, {::/0 opportunistic}}, enforce"

// unsupportedRows are parameters whose features do not exist yet. They are
// declared, so that they can be set to what asks for nothing.
func (c *Config) unsupportedRows() []row {
	u := func() *unsupported { return &unsupported{} }
	return []row{
		{u(), "smtp_dns_reply_filter", "lmtp_dns_reply_filter", "", "=", nil},
		{u(), "smtp_dns_resolver_options", "lmtp_dns_resolver_options", "", "=", nil},
		{u(), "smtp_cname_overrides_servername", "lmtp_cname_overrides_servername", "no", "=", nil},
		{u(), "smtp_tls_block_early_mail_reply", "lmtp_tls_block_early_mail_reply", "no", "=", nil},
		{u(), "smtp_tls_trust_anchor_file", "lmtp_tls_trust_anchor_file", "", "=", nil},
		{u(), "smtp_tls_enable_rpk", "lmtp_tls_enable_rpk", "no", "=", nil},
		{u(), "smtp_tlsrpt_enable", "lmtp_tlsrpt_enable", "no", "=", nil},
		{u(), "smtp_tls_dane_insecure_mx_policy", "", "dane", "=", nil},
		{u(), "smtp_tls_force_insecure_host_tlsa_lookup", "lmtp_tls_force_insecure_host_tlsa_lookup", "no", "=", nil},
	}
}
