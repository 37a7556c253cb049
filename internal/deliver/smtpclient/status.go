package smtpclient

import "postern/internal/protocol/starttls"

// A tlsStatus is what the log shows as tls= (smtp_log_tls_feature_status): the
// TLS security level and, when the sender asked for it, REQUIRETLS.
type tlsStatus struct {
	level, require featureStatus
}

// String is the text after tls=, "may:none/requiretls:none".
func (s *tlsStatus) String() string {
	text := s.level.String()
	if text != "" && s.require.name != "" {
		text += "/" + s.require.String()
	}
	return text
}

// A featureStatus says what came of one feature.
type featureStatus struct {
	name     string // "" for a feature that nobody wants
	less     string // what it came to, when that is less
	violated bool   // the policy does not allow that: the connection was not used
	decided  bool
}

// downgrade decides that the feature came to less, or with "" that it did not.
func (f *featureStatus) downgrade(less string) { f.less, f.decided = less, true }

// violate decides that the policy is not satisfied.
func (f *featureStatus) violate(less string) {
	f.downgrade(less)
	f.violated = true
}

// String is "name", "name:less", "!name:less" or, while it is open, "name?".
// Postfix: the same.
func (f *featureStatus) String() string {
	if f.name == "" {
		return ""
	}
	text := f.name
	if f.violated {
		text = "!" + text
	}
	if f.less != "" {
		text += ":" + f.less
	}
	if !f.decided {
		text += "?"
	}
	return text
}

// undecided is the status before anything is known of a server.
func (d *delivering) undecided(policy tlsPolicy) (s tlsStatus) {
	s.level = featureStatus{name: policy.level.String(), decided: policy.level == starttls.None}
	if d.requireTLS > requireOff {
		s.require.name = "requiretls"
	}
	return s
}

// statusText is the status for the log, or nothing.
func (c *Client) statusText(s *tlsStatus) string {
	if !c.config.TLS.LogFeatureStatus {
		return ""
	}
	return s.String()
}
