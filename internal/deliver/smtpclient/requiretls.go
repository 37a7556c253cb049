package smtpclient

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/protocol/starttls"
	"postern/internal/table"
)

// A requireTLS says how much of REQUIRETLS (RFC 8689) counts for a destination:
// an action of smtp_requiretls_policy. Each holds what those before it do.
type requireTLS int

const (
	requireOff           requireTLS = iota // as if the sender had not asked
	requireOpportunistic                   // the server is asked for it if it knows it
	requireSTARTTLS                        // never without TLS
	requireEnforce                         // to a server whose certificate matches and that knows REQUIRETLS
)

var requireActions = [...]string{"disable", "opportunistic", "opportunistic+starttls", "enforce"}

func parseRequireTLS(word string) (requireTLS, bool) {
	n := slices.IndexFunc(requireActions[:], func(a string) bool { return strings.EqualFold(a, word) })
	return requireTLS(max(0, n)), n >= 0
}

func (r requireTLS) String() string { return requireActions[r] }

// A requireRule is one item of the policy: an action, or a table of them.
type requireRule struct {
	action requireTLS
	table  *table.Maps
}

// openRequireTLS reads smtp_requiretls_policy.
func (c *Client) openRequireTLS() error {
	title := c.param("smtp_requiretls_policy", "lmtp_requiretls_policy")
	for _, item := range table.Tokens(c.config.RequireTLSPolicy) {
		if !strings.Contains(item, ":") {
			action, ok := parseRequireTLS(item)
			if !ok {
				return fmt.Errorf("parameter %s: unknown action %q: specify one of %s, or a table", title, item, strings.Join(requireActions[:], ", "))
			}
			c.require = append(c.require, requireRule{action: action})
			continue
		}
		m, err := c.env.Tables.Maps(title, item, 0)
		if err != nil {
			return err
		}
		c.require = append(c.require, requireRule{table: m})
	}
	return nil
}

// requirePolicy returns what counts for mail to a next hop, a domain or an
// address without brackets and port. Where nothing matches, all of it does.
func (c *Client) requirePolicy(ctx context.Context, nexthop string) (requireTLS, error) {
	key := strings.ToLower(nexthop)
	key = strings.TrimPrefix(key, "ipv6:")
	if !isASCII(key) {
		ascii, err := idna.Lookup.ToASCII(key)
		if err != nil {
			return requireEnforce, fmt.Errorf("%q: %w", nexthop, err)
		}
		key = ascii
	}
	for _, r := range c.require {
		if r.table == nil {
			return r.action, nil
		}
		word, found, err := r.lookup(ctx, key)
		if err != nil {
			return requireEnforce, err
		}
		if !found {
			continue
		}
		action, ok := parseRequireTLS(word)
		if !ok {
			return requireEnforce, fmt.Errorf("%s: unknown action %q for %s", r.table.Title(), word, key)
		}
		return action, nil
	}
	return requireEnforce, nil
}

// lookup asks a table for a domain, then, with a dot in front, for its parents.
func (r *requireRule) lookup(ctx context.Context, key string) (string, bool, error) {
	word, found, err := r.table.Lookup(ctx, key)
	for err == nil && !found {
		i := strings.IndexByte(key[min(1, len(key)):], '.')
		if i < 0 {
			break
		}
		key = key[1+i:]
		word, found, err = r.table.LookupFixed(ctx, key)
	}
	return word, found, err
}

// requiredTLS decides how much of REQUIRETLS counts at a next hop. false says
// that it cannot be known now; nothing is sent then.
func (d *delivering) requiredTLS(nexthop string) bool {
	d.requireTLS = requireOff
	c := d.client
	if d.req.SendOpts&delivery.SendRequireTLS == 0 || !c.env.Common.RequireTLSEnable {
		return true
	}
	var err error
	if d.requireTLS, err = c.requirePolicy(d.ctx, nexthop); err != nil {
		d.req.Log.Warningf("%s: REQUIRETLS policy lookup for %s: %v", d.req.QueueID, nexthop, err)
		d.why = dsn.Make("4.7.0", "REQUIRETLS policy configuration problem")
		return false
	}
	return true
}

// unmet is the failure of a message whose sender asks for REQUIRETLS.
func unmet(status dsn.Status, format string, args ...any) dsn.Result {
	return dsn.Make(status, "REQUIRETLS Failure: the sender requires TLS, but "+fmt.Sprintf(format, args...))
}

// unfit says why a place need not be tried: its TLS policy cannot lead to what
// the sender asks for.
func (d *delivering) unfit(p place, policy tlsPolicy) dsn.Result {
	d.status = d.undecided(policy)
	switch {
	case d.requireTLS >= requireSTARTTLS && policy.level == levelNone:
		d.status.require.violate("noencryption")
		return unmet("5.7.10", "TLS is turned off for host %s", p.host)
	case d.requireTLS == requireEnforce && policy.level < starttls.Fingerprint:
		d.status.require.violate("nocertmatch")
		return unmet("5.7.10", "the TLS security level \"%s\" does not match the certificate of host %s", policy.level, p.host)
	}
	return dsn.Result{}
}

// tlsWanted says that mail must not go without TLS, by the policy of the
// destination or by the sender's wish.
func (d *delivering) tlsWanted(policy tlsPolicy) bool {
	return policy.required() || d.requireTLS >= requireSTARTTLS
}

// noTLS ends a session with a server that does not start TLS, which is wanted.
// The sender's wish comes first: only it makes the mail go back.
func (d *delivering) noTLS(s *session, policy tlsPolicy, refusal *reply) bool {
	if policy.required() {
		s.status.level.violate(levelNone.String())
	}
	if d.requireTLS >= requireSTARTTLS {
		s.status.require.violate("nostarttls")
		if refusal != nil {
			return d.passOn(s, unmet("5.7.10", "host %s refused to start TLS: %s", s.name, refusal.line()))
		}
		return d.passOn(s, unmet("5.7.30", "TLS was not offered by host %s", s.name))
	}
	if refusal != nil {
		return d.siteFail(s, remote(s, refusal, "TLS is required, but host %s refused to start TLS: %s", s.name, refusal.line()))
	}
	return d.siteFail(s, dsn.Make("4.7.4", "TLS is required, but was not offered by host "+s.name))
}

// mismatch ends a session with a server whose certificate does not satisfy.
func (d *delivering) mismatch(s *session) bool {
	s.status.level.violate("")
	if d.requireTLS > requireOff {
		s.status.require.downgrade("nocertmatch")
	}
	if d.requireTLS < requireEnforce {
		return d.siteFail(s, dsn.Make("4.7.5", "Server certificate not verified"))
	}
	s.status.require.violate("nocertmatch")
	kind := "trusted"
	if s.tls.Trust >= starttls.Trusted {
		kind = "matching"
	}
	return d.passOn(s, unmet("5.7.10", "host %s has no %s certificate", s.name, kind))
}

// passOn fails all recipients for a reason that another server may not have:
// while one follows the mail is left to it, and the last one decides for good.
// Postfix: the same, since 3.11.
func (d *delivering) passOn(s *session, r dsn.Result) bool {
	s.noReuse = true
	if d.finalServer {
		d.failAll(s, d.orLater(r), false)
		return false
	}
	d.why = r
	d.req.Log.Infof("%s: %s", d.req.QueueID, r.Reason)
	for _, t := range d.rcpts {
		t.kept = t.kept || !t.Settled
	}
	return false
}

// orLater makes the failure temporary when another place may do as soon as it can
// be reached.
func (d *delivering) orLater(r dsn.Result) dsn.Result {
	if d.waits {
		r.Status = r.Status.WithClass('4')
	}
	return r
}

// requirementMet says whether the session has what the sender asks for. It is
// the one place that all mail passes before MAIL FROM, over whatever session.
func (t *transaction) requirementMet() bool {
	s := t.s
	s.status.require = featureStatus{}
	if t.requireTLS == requireOff {
		return true
	}
	st := &s.status.require
	st.name = "requiretls"
	switch {
	case s.tls == nil && t.requireTLS >= requireSTARTTLS:
		st.violate("nostarttls")
		return t.passOn(s, unmet("5.7.30", "the session with host %s has no TLS", s.name))
	case !s.matched && t.requireTLS == requireEnforce:
		st.violate("nocertmatch")
		return t.passOn(s, unmet("5.7.10", "the certificate of host %s was not matched", s.name))
	case !s.has(featRequireTLS) && t.requireTLS == requireEnforce:
		st.violate("none")
		return t.passOn(s, unmet("5.7.30", "REQUIRETLS was not offered by host %s", s.name))
	case !s.has(featRequireTLS):
		st.downgrade("none")
	case !s.matched:
		st.downgrade("nocertmatch")
	default:
		st.downgrade("")
	}
	return true
}
