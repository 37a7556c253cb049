package restrict

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"postern/internal/config/param"
	"postern/internal/protocol/policy"
	"postern/internal/protocol/smtp"
)

// PolicyConfig holds smtpd_policy_service_*: the defaults of every policy
// service.
type PolicyConfig struct {
	Timeout, MaxIdle, MaxTTL time.Duration
	RequestLimit, TryLimit   int
	RetryDelay               time.Duration
	DefaultAction, Context   string
}

func (c *PolicyConfig) params(s *param.Set) {
	s.Time(&c.Timeout, "smtpd_policy_service_timeout", "100s", param.Min(1))
	s.Time(&c.MaxIdle, "smtpd_policy_service_max_idle", "300s", param.Min(1))
	s.Time(&c.MaxTTL, "smtpd_policy_service_max_ttl", "1000s", param.Min(1))
	s.Int(&c.RequestLimit, "smtpd_policy_service_request_limit", 0, param.Min(0))
	s.Int(&c.TryLimit, "smtpd_policy_service_try_limit", 2, param.Min(1))
	s.Time(&c.RetryDelay, "smtpd_policy_service_retry_delay", "1s", param.Min(1))
	s.Str(&c.DefaultAction, "smtpd_policy_service_default_action", "451 4.3.5 Server configuration problem", param.MinLen(1))
	s.Str(&c.Context, "smtpd_policy_service_policy_context", "")
}

// A policyItem is the argument of check_policy_service.
type policyItem struct {
	client        *policy.Client
	defaultAction string
	context       string
}

// policyItem reads "inet:host:port", "unix:path" or "{ endpoint, name=value … }".
// Services with the same argument share their connections.
func (e *Engine) policyItem(arg string) (*policyItem, error) {
	c := e.Policy
	endpoint := arg
	if text, braced, err := param.Unbrace(arg); err != nil {
		return nil, err
	} else if braced {
		words := param.Split(text)
		if len(words) == 0 {
			return nil, fmt.Errorf("missing policy service endpoint in %q", arg)
		}
		endpoint = words[0]
		for _, w := range words[1:] {
			if err := c.option(w); err != nil {
				return nil, err
			}
		}
	}
	it := &policyItem{defaultAction: c.DefaultAction, context: c.Context}
	if it.client = e.policies[arg]; it.client != nil {
		return it, nil
	}
	conf := policy.Config{Timeout: c.Timeout, MaxIdle: c.MaxIdle, MaxTTL: c.MaxTTL,
		RequestLimit: c.RequestLimit, TryLimit: c.TryLimit, RetryDelay: c.RetryDelay}
	if err := setEndpoint(&conf, endpoint); err != nil {
		return nil, err
	}
	it.client = policy.New(conf, e.env.Log.Warningf)
	e.policies[arg] = it.client
	return it, nil
}

func setEndpoint(c *policy.Config, endpoint string) error {
	kind, address, ok := strings.Cut(endpoint, ":")
	c.Name = address
	switch {
	case !ok || address == "":
	case kind == "unix":
		c.Network, c.Address = "unix", address
		return nil
	case kind == "inet":
		c.Network, c.Address = "tcp", address
		if _, _, err := net.SplitHostPort(address); err == nil {
			return nil
		}
		if _, err := strconv.Atoi(address); err == nil {
			c.Address = net.JoinHostPort("localhost", address)
			return nil
		}
	}
	return fmt.Errorf("bad policy service endpoint %q: need inet:host:port or unix:pathname", endpoint)
}

// option sets one per-service option.
func (c *PolicyConfig) option(word string) (err error) {
	if text, braced, err := param.Unbrace(word); err == nil && braced {
		word = text
	}
	name, value, ok := strings.Cut(word, "=")
	if !ok {
		return fmt.Errorf("bad policy service option %q: need name=value", word)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch name {
	case "timeout":
		c.Timeout, err = param.ParseTime(value, 's')
	case "max_idle":
		c.MaxIdle, err = param.ParseTime(value, 's')
	case "max_ttl":
		c.MaxTTL, err = param.ParseTime(value, 's')
	case "retry_delay":
		c.RetryDelay, err = param.ParseTime(value, 's')
	case "request_limit":
		c.RequestLimit, err = strconv.Atoi(value)
	case "try_limit":
		c.TryLimit, err = strconv.Atoi(value)
	case "default_action":
		c.DefaultAction = value
	case "policy_context":
		c.Context = value
	default:
		return fmt.Errorf("unknown policy service option %q", name)
	}
	if err != nil {
		return fmt.Errorf("policy service option %s: %w", name, err)
	}
	return nil
}

// checkPolicyService asks a policy server; its action is like the value of an
// access table.
func checkPolicyService(v *eval, it *item) Verdict {
	if v.s.PolicyUnasked {
		v.unasked = true
		return Verdict{}
	}
	action, err := it.pol.client.Ask(v.ctx, v.policyAttrs(it.pol.context))
	if err != nil {
		action = it.pol.defaultAction
	}
	v.answer = action
	what, about := v.topic()
	return v.result(it, action, "", what, about)
}

// policyAttrs are the attributes of a request, in Postfix's order.
func (v *eval) policyAttrs(context string) []policy.Attr {
	s := v.s
	stage := s.Stage
	if stage == "BDAT" {
		stage = "DATA"
	}
	count := 0
	if stage == "DATA" || stage == "END-OF-MESSAGE" {
		count = s.Recipients
	}
	stress := ""
	if v.env.Stress != nil && v.env.Stress() {
		stress = "yes"
	}
	attrs := []policy.Attr{
		{Name: "request", Value: "smtpd_access_policy"},
		{Name: "protocol_state", Value: stage},
		{Name: "protocol_name", Value: s.Protocol},
		{Name: "client_address", Value: s.ClientAddr},
		{Name: "client_name", Value: s.ClientName},
		{Name: "client_port", Value: s.ClientPort},
		{Name: "reverse_client_name", Value: s.ReverseName},
		{Name: "server_address", Value: s.ServerAddr},
		{Name: "server_port", Value: s.ServerPort},
		{Name: "helo_name", Value: s.Helo},
		{Name: "sender", Value: s.Sender},
		{Name: "recipient", Value: s.Recipient},
		{Name: "recipient_count", Value: strconv.Itoa(count)},
		{Name: "queue_id", Value: s.QueueID},
		{Name: "instance", Value: s.Instance},
		{Name: "size", Value: strconv.FormatInt(s.Size, 10)},
		{Name: "etrn_domain", Value: s.ETRNDomain},
		{Name: "stress", Value: stress},
		{Name: "sasl_method", Value: s.SASLMethod},
		{Name: "sasl_username", Value: s.SASLUsername},
		{Name: "sasl_sender", Value: s.SASLSender},
	}
	return append(attrs, v.policyTail(context)...)
}

// policyTail is what a request says of TLS and of this system.
func (v *eval) policyTail(context string) []policy.Attr {
	var subject, issuer, cert, key, protocol, cipher string
	bits := 0
	if t := v.s.TLS; t != nil {
		protocol, cipher, bits = t.Protocol, t.Cipher, t.Bits
		if t.Trusted {
			subject, issuer = smtp.EncodeXtext(t.PeerCN, ""), smtp.EncodeXtext(t.IssuerCN, "")
		}
		cert, key = t.CertFingerprint, t.KeyFingerprint
	}
	return []policy.Attr{
		{Name: "ccert_subject", Value: subject},
		{Name: "ccert_issuer", Value: issuer},
		{Name: "ccert_fingerprint", Value: cert},
		{Name: "ccert_pubkey_fingerprint", Value: key},
		{Name: "encryption_protocol", Value: protocol},
		{Name: "encryption_cipher", Value: cipher},
		{Name: "encryption_keysize", Value: strconv.Itoa(bits)},
		{Name: "policy_context", Value: context},
		{Name: "compatibility_level", Value: v.env.Common.CompatibilityLevel},
		{Name: "mail_version", Value: v.env.Common.MailVersion},
	}
}
