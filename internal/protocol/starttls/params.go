package starttls

import (
	"time"

	"postern/internal/config/param"
)

// ServerParams are the parameters of TLS in an SMTP server, smtpd_tls_*.
type ServerParams struct {
	Keys            KeyFiles
	chainFiles      string
	CAFile, CAPath  string
	AppendDefaultCA bool

	SecurityLevel        string
	EnforceTLS, UseTLS   bool // the older words for "encrypt" and "may"
	WrapperMode          bool
	AuthOnly             bool
	AskCcert, ReqCcert   bool
	CcertVerifyDepth     int
	Protocols, Mandatory string
	Ciphers              string
	MandatoryCiphers     string
	ExcludeCiphers       string
	MandatoryExclude     string
	FingerprintDigest    string
	LogLevel             string
	ReceivedHeader       bool
	StartTimeout         time.Duration
	EnableRPK            bool
	SNIMaps              string
	CacheTimeout         time.Duration // of session tickets; 0: there are none
	ManagerService       string        // the service that has their keys

	Grades  Grades
	Curves  Curves
	Options string // tls_ssl_options

	unused struct { // the server says at start that they have no effect
		dh1024, dh512, ffdhe string
		preempt              bool // it is always so
		alwaysIDs            bool // sessions are in tickets
	}
}

// Params names the parameters.
func (p *ServerParams) Params(s *param.Set) {
	s.Str(&p.chainFiles, "smtpd_tls_chain_files", "")
	s.Str(&p.Keys.Cert, "smtpd_tls_cert_file", "")
	s.Str(&p.Keys.Key, "smtpd_tls_key_file", "$smtpd_tls_cert_file")
	s.Str(&p.Keys.ECCert, "smtpd_tls_eccert_file", "")
	s.Str(&p.Keys.ECKey, "smtpd_tls_eckey_file", "$smtpd_tls_eccert_file")
	s.Str(&p.Keys.DSACert, "smtpd_tls_dcert_file", "")
	s.Str(&p.Keys.DSAKey, "smtpd_tls_dkey_file", "$smtpd_tls_dcert_file")
	s.Str(&p.CAFile, "smtpd_tls_CAfile", "")
	s.Str(&p.CAPath, "smtpd_tls_CApath", "")
	s.Bool(&p.AppendDefaultCA, "tls_append_default_CA", false)
	s.Str(&p.SecurityLevel, "smtpd_tls_security_level", "")
	s.Bool(&p.EnforceTLS, "smtpd_enforce_tls", false)
	s.Bool(&p.UseTLS, "smtpd_use_tls", false)
	s.Bool(&p.WrapperMode, "smtpd_tls_wrappermode", false)
	s.Bool(&p.AuthOnly, "smtpd_tls_auth_only", false)
	s.Bool(&p.AskCcert, "smtpd_tls_ask_ccert", false)
	s.Bool(&p.ReqCcert, "smtpd_tls_req_ccert", false)
	s.Int(&p.CcertVerifyDepth, "smtpd_tls_ccert_verifydepth", 9, param.Min(0))
	s.Str(&p.Protocols, "smtpd_tls_protocols", ">=TLSv1")
	s.Str(&p.Mandatory, "smtpd_tls_mandatory_protocols", ">=TLSv1")
	s.Str(&p.Ciphers, "smtpd_tls_ciphers", "medium", param.MinLen(1))
	s.Str(&p.MandatoryCiphers, "smtpd_tls_mandatory_ciphers", "medium", param.MinLen(1))
	s.Str(&p.ExcludeCiphers, "smtpd_tls_exclude_ciphers", "")
	s.Str(&p.MandatoryExclude, "smtpd_tls_mandatory_exclude_ciphers", "")
	s.Str(&p.FingerprintDigest, "smtpd_tls_fingerprint_digest",
		"${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", param.MinLen(1))
	s.Str(&p.LogLevel, "smtpd_tls_loglevel", "0", param.MinLen(1))
	s.Bool(&p.ReceivedHeader, "smtpd_tls_received_header", false)
	s.Time(&p.StartTimeout, "smtpd_starttls_timeout", "${stress?{10}:{300}}s", param.Min(1))
	s.Bool(&p.EnableRPK, "smtpd_tls_enable_rpk", false)
	s.Str(&p.SNIMaps, "tls_server_sni_maps", "")
	s.Time(&p.CacheTimeout, "smtpd_tls_session_cache_timeout", "3600s", param.Min(0))
	s.Str(&p.ManagerService, "tlsmgr_service_name", "tlsmgr", param.MinLen(1))
	p.Grades.Params(s)
	p.Curves.Params(s)
	s.Str(&p.Options, "tls_ssl_options", "")
	s.Str(&p.unused.ffdhe, "tls_ffdhe_auto_groups", "")
	s.Bool(&p.unused.preempt, "tls_preempt_cipherlist", false)
	s.Bool(&p.unused.alwaysIDs, "smtpd_tls_always_issue_session_ids", true)
	s.Str(&p.unused.dh1024, "smtpd_tls_dh1024_param_file", "")
	s.Str(&p.unused.dh512, "smtpd_tls_dh512_param_file", "")
}
