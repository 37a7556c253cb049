package pending

import "strings"

// successors are the parameters that take the place of others. Postfix: 3.9
// and 3.11 say so.
var successors = map[string]string{
	"authorized_verp_clients":                  "smtpd_authorized_verp_clients",
	"disable_dns_lookups":                      "smtp_dns_support_level",
	"fallback_relay":                           "smtp_fallback_relay",
	"lmtp_per_record_deadline":                 "lmtp_per_request_deadline",
	"postscreen_blacklist_action":              "postscreen_denylist_action",
	"postscreen_dnsbl_ttl":                     "postscreen_dnsbl_max_ttl",
	"postscreen_dnsbl_whitelist_threshold":     "postscreen_dnsbl_allowlist_threshold",
	"postscreen_whitelist_interfaces":          "postscreen_allowlist_interfaces",
	"smtp_per_record_deadline":                 "smtp_per_request_deadline",
	"smtpd_client_connection_limit_exceptions": "smtpd_client_event_limit_exceptions",
	"smtpd_per_record_deadline":                "smtpd_per_request_deadline",
	"tlsproxy_client_level":                    "tlsproxy_client_security_level",
	"tlsproxy_client_policy":                   "tlsproxy_client_policy_maps",
	"tlsproxy_client_per_site":                 "tlsproxy_client_policy_maps",
	"virtual_maps":                             "virtual_alias_maps",
}

// endings of parameters that have a successor with another ending.
var endings = [...][2]string{
	{"_tls_enforce_peername", "_tls_security_level"},
	{"_tls_per_site", "_tls_policy_maps"},
	{"_enforce_tls", "_tls_security_level"},
	{"_use_tls", "_tls_security_level"},
}

// without are parameters that are best left at their defaults.
var without = map[string]bool{
	"smtpd_tls_dh1024_param_file": true, "smtpd_tls_eecdh_grade": true,
	"tlsproxy_tls_dh1024_param_file": true, "tlsproxy_tls_eecdh_grade": true,
	"smtp_cname_overrides_servername": true, "lmtp_cname_overrides_servername": true,
}

// programs that have parameters with such an ending.
var programs = map[string]bool{"smtp": true, "lmtp": true, "smtpd": true, "postscreen": true, "tlsproxy": true, "tlsproxy_client": true}

// Deprecated says what to do instead of setting a parameter that later releases
// of Postfix will not have: "specify …".
func Deprecated(name string) (instead string, ok bool) {
	if s := successors[name]; s != "" {
		return "specify \"" + s + "\"", true
	}
	if without[name] {
		return "do not specify", true
	}
	for _, e := range endings {
		if program, found := strings.CutSuffix(name, e[0]); found && programs[program] {
			if program == "tlsproxy_client" {
				return "specify \"tlsproxy_client" + strings.TrimPrefix(e[1], "_tls") + "\"", true
			}
			return "specify \"" + program + e[1] + "\"", true
		}
	}
	return "", false
}
