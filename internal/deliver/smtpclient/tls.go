package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/delivery"
	"postern/internal/mail/dsn"
	"postern/internal/protocol/starttls"
)

const (
	levelNone = starttls.None
	levelMay  = starttls.May
)

// A tlsPolicy is what is wanted of one server.
type tlsPolicy struct {
	starttls.ClientPolicy
	level starttls.Level
}

func (p *tlsPolicy) required() bool { return p.level.Required() }

// key separates pooled sessions with different needs.
func (p *tlsPolicy) key() string {
	return p.level.String() + " " + strings.Join(p.Match, " ") + " " + p.Servername
}

// plain is the policy for a second try without TLS.
func (p tlsPolicy) plain() tlsPolicy {
	p.level = levelNone
	return p
}

// plainRetry says whether mail that TLS stands in the way of goes without it:
// under "may", when the message has already waited for a while. Postfix: the
// first attempt is put off, in the hope that the trouble passes.
func (d *delivering) plainRetry(s *session) bool {
	waited := d.req.Times.ActiveArrival.Sub(d.req.Times.Arrival)
	return s.level == levelMay && d.requireTLS < requireSTARTTLS &&
		waited >= d.client.config.MinimalBackoff && !d.client.config.SASL.Enable
}

// startTLS makes the session an encrypted one, if the server shows what the
// policy asks for.
func (d *delivering) startTLS(s *session, policy tlsPolicy) bool {
	log, conf := d.req.Log, &d.client.config
	s.level = policy.level
	t, err := d.client.tls.Handshake(d.ctx, s.conn, policy.ClientPolicy, conf.StarttlsTimeout)
	if err != nil {
		s.dead = true
		text := connectError(err)
		log.Infof("SSL_connect error to %s: %s", s.port, text)
		if text == "-1" {
			log.Warningf("TLS library problem: %v", err)
		}
		if d.plainRetry(s) {
			s.tlsTried, d.finalServer = true, false
		}
		return d.siteFail(s, dsn.Make("4.7.5", "Cannot start TLS: handshake failure"))
	}
	s.conn.SetDeadline(time.Time{})
	s.tls, s.conn = t, t
	s.r.Reset(t)
	if text := t.ProblemText(s.port); text != "" && policy.level > starttls.Encrypt {
		log.Infof("%s", text)
	}
	if conf.TLS.LogLevel >= 1 {
		log.Infof("%s", t.LogText(s.port))
	}
	if !t.Satisfied(policy.level) {
		return d.mismatch(s)
	}
	s.matched = policy.level >= starttls.Fingerprint
	s.status.level.downgrade("")
	return true
}

func connectError(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "Connection timed out"
	case strings.Contains(err.Error(), "EOF"), strings.Contains(err.Error(), "reset"):
		return "lost connection"
	}
	return "-1"
}

// policy returns what is wanted of a place for the message. One that says
// "TLS-Required: no" (RFC 8689) goes to whoever takes it, unless the sender
// asked for REQUIRETLS.
func (d *delivering) policy(at place) (tlsPolicy, error) {
	p, err := d.client.tlsPolicy(d.ctx, d.nexthop, at)
	least := levelMay
	if d.client.config.TLS.WrapperMode {
		least = starttls.Encrypt
	}
	if err == nil && p.level > least && d.requireTLS == requireOff && d.client.config.TLSRequired && d.req.SendOpts&delivery.SendTLSNotReq != 0 {
		p.level, p.Level = least, least
	}
	return p, err
}

// tlsPolicy returns the policy for a place of a next hop.
func (c *Client) tlsPolicy(ctx context.Context, nexthop string, at place) (tlsPolicy, error) {
	p := tlsPolicy{level: c.tlsLevel}
	p.Match = c.defaultMatch(p.level)
	p.Servername = c.config.TLS.Servername
	attrs := tlsAttributes{protocols: c.config.TLS.protocols(p.level), grade: c.config.TLS.grade(p.level)}
	if !c.tlsMaps.Empty() {
		value, found, err := c.policyLookup(ctx, nexthop)
		if err != nil {
			return p, errors.New("Temporary lookup error")
		}
		if found {
			if p, attrs, err = c.parsePolicy(value, p); err != nil {
				c.env.Log.Warningf("%s, next-hop destination \"%s\": %v", c.tlsMaps.Title(), nexthop, err)
				return p, errors.New("client TLS configuration problem")
			}
		}
	}
	if at.path != "" && p.level == levelMay {
		c.env.Log.Warningf("%s: opportunistic TLS encryption is not appropriate for unix-domain destinations.", nexthop)
		p.level = levelNone
	}
	if p.level == levelNone {
		return p, nil
	}
	p.Level, p.Nexthop, p.Host = p.level, domainOf(nexthop), at.host
	switch p.Servername {
	case "hostname":
		p.Servername = at.host
	case "nexthop":
		p.Servername = p.Nexthop
	}
	var err error
	if p.Versions, err = starttls.ParseProtocols(attrs.protocols); err != nil {
		return p, err
	}
	exclude := []string{c.config.TLS.ExcludeCiphers, attrs.exclude}
	if p.level.Required() {
		exclude = append(exclude, c.config.TLS.MandatoryExclude)
	}
	p.Ciphers, err = c.config.TLS.Grades.Ciphers(attrs.grade, exclude...)
	return p, err
}

// tlsAttributes are what a policy says of protocols and ciphers.
type tlsAttributes struct {
	protocols, grade, exclude string
}

func (t *TLSConfig) protocols(l starttls.Level) string {
	if l.Required() {
		return t.MandatoryProtocols
	}
	return t.Protocols
}

func (t *TLSConfig) grade(l starttls.Level) string {
	if l.Required() {
		return t.MandatoryCiphers
	}
	return t.Ciphers
}

func (c *Client) defaultMatch(l starttls.Level) []string {
	text := ""
	switch l {
	case starttls.Verify:
		text = c.config.TLS.VerifyMatch
	case starttls.Secure:
		text = c.config.TLS.SecureMatch
	case starttls.Fingerprint:
		// Colons are within a fingerprint.
		return strings.FieldsFunc(c.config.TLS.FingerprintMatch, func(r rune) bool { return strings.ContainsRune(param.Separators, r) })
	}
	return splitMatch(text)
}

// splitMatch takes a list of match patterns apart; colons separate too.
func splitMatch(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(":, \t\r\n", r) })
}

// policyLookup asks for the next hop as it is configured, then for the parent
// domains of a plain one.
func (c *Client) policyLookup(ctx context.Context, nexthop string) (string, bool, error) {
	if v, found, err := c.tlsMaps.Lookup(ctx, nexthop); err != nil || found {
		return v, found, err
	}
	if strings.HasPrefix(nexthop, "[") || strings.HasPrefix(nexthop, "unix:") {
		return "", false, nil
	}
	domain := domainOf(nexthop)
	for i := strings.IndexByte(domain, '.'); i >= 0; {
		if v, found, err := c.tlsMaps.LookupFixed(ctx, domain[i:]); err != nil || found {
			return v, found, err
		}
		next := strings.IndexByte(domain[i+1:], '.')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return "", false, nil
}

// domainOf is the domain or host of a destination.
func domainOf(destination string) string {
	if strings.HasPrefix(destination, "[") {
		host, _, _ := strings.Cut(destination[1:], "]")
		return host
	}
	host, _, _ := strings.Cut(destination, ":")
	return host
}

// parsePolicy reads "level attribute=value …".
func (c *Client) parsePolicy(text string, p tlsPolicy) (tlsPolicy, tlsAttributes, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(param.Separators, r) })
	if len(words) == 0 {
		return p, tlsAttributes{}, errors.New("invalid empty policy")
	}
	level, ok := starttls.ParseClientLevel(words[0])
	if !ok {
		return p, tlsAttributes{}, fmt.Errorf("invalid security level \"%s\"", words[0])
	}
	if err := supported(level); err != nil {
		return p, tlsAttributes{}, err
	}
	p.level, p.Match = level, c.defaultMatch(level)
	a := tlsAttributes{protocols: c.config.TLS.protocols(level), grade: c.config.TLS.grade(level)}
	for _, w := range words[1:] {
		name, value, ok := strings.Cut(w, "=")
		if !ok || value == "" {
			return p, a, fmt.Errorf("malformed attribute/value pair \"%s\"", w)
		}
		switch strings.ToLower(name) {
		case "match":
			p.Match = splitMatch(value)
			if level == starttls.Fingerprint {
				p.Match = strings.Split(value, "|")
			}
		case "ciphers":
			a.grade = value
		case "protocols":
			a.protocols = strings.ReplaceAll(value, ":", " ")
		case "exclude":
			a.exclude = value
		case "servername":
			p.Servername = value
		case "connection_reuse":
		default:
			return p, a, fmt.Errorf("invalid attribute name: \"%s\"", name)
		}
	}
	return p, a, nil
}

// supported refuses the levels that need DNSSEC-validated TLSA records.
func supported(l starttls.Level) error {
	if l == starttls.Dane || l == starttls.DaneOnly {
		return fmt.Errorf("the \"%s\" security level is not supported", l)
	}
	return nil
}

// globalLevel is the level without a policy table.
func (t *TLSConfig) globalLevel() (starttls.Level, error) {
	if t.Level != "" {
		l, ok := starttls.ParseClientLevel(t.Level)
		if !ok {
			return 0, fmt.Errorf("invalid tls security level: %q", t.Level)
		}
		return l, supported(l)
	}
	switch {
	case t.EnforceTLS && t.EnforcePeername:
		return starttls.Verify, nil
	case t.EnforceTLS:
		return starttls.Encrypt, nil
	case t.UseTLS:
		return starttls.May, nil
	}
	return starttls.None, nil
}

// warnOfWords names what the parameters say of protocols and ciphers to no effect.
func (c *Client) warnOfWords() {
	t := &c.config.TLS
	protocols := starttls.Named{Name: c.param("smtp_tls_protocols", "lmtp_tls_protocols"), Value: t.Protocols}
	if c.tlsLevel.Required() {
		protocols = starttls.Named{Name: c.param("smtp_tls_mandatory_protocols", "lmtp_tls_mandatory_protocols"), Value: t.MandatoryProtocols}
	}
	if v, err := starttls.ParseProtocols(protocols.Value); err == nil && v.Unknown != "" {
		c.env.Log.Warningf("%s: %s: there is no such TLS version here; it is passed over", protocols.Name, v.Unknown)
	}
	for _, text := range t.Grades.Odd(t.grade(c.tlsLevel),
		starttls.Named{Name: c.param("smtp_tls_exclude_ciphers", "lmtp_tls_exclude_ciphers"), Value: t.ExcludeCiphers},
		starttls.Named{Name: c.param("smtp_tls_mandatory_exclude_ciphers", "lmtp_tls_mandatory_exclude_ciphers"), Value: t.MandatoryExclude}) {
		c.env.Log.Warningf("%s", text)
	}
}

// openTLS loads certificates when any server may be spoken to over TLS.
func (c *Client) openTLS() error {
	t := &c.config.TLS
	var err error
	if c.tlsLevel, err = t.globalLevel(); err != nil {
		return fmt.Errorf("parameter %s: %w", c.param("smtp_tls_security_level", "lmtp_tls_security_level"), err)
	}
	if c.tlsLevel == levelNone && t.PolicyMaps == "" {
		if t.WrapperMode {
			return fmt.Errorf("%s requires \"%s = encrypt\" (or stronger)",
				c.param("smtp_tls_wrappermode", "lmtp_tls_wrappermode"), c.param("smtp_tls_security_level", "lmtp_tls_security_level"))
		}
		return nil
	}
	if t.WrapperMode && !c.tlsLevel.Required() {
		return fmt.Errorf("%s requires \"%s = encrypt\" (or stronger)",
			c.param("smtp_tls_wrappermode", "lmtp_tls_wrappermode"), c.param("smtp_tls_security_level", "lmtp_tls_security_level"))
	}
	if c.tlsMaps, err = c.env.Tables.Maps(c.param("smtp_tls_policy_maps", "lmtp_tls_policy_maps"), t.PolicyMaps, 0); err != nil {
		return err
	}
	c.warnOfWords()
	c.tls, err = starttls.OpenClient(starttls.ClientConfig{
		Keys: starttls.KeyFiles{Chains: param.Split(t.ChainFiles), Cert: t.CertFile, Key: t.KeyFile,
			ECCert: t.ECCertFile, ECKey: t.ECKeyFile, DSACert: t.DCertFile, DSAKey: t.DKeyFile},
		CAFile: t.CAFile, CAPath: t.CAPath, AppendDefaultCA: c.config.AppendDefaultCA,
		Depth: t.VerifyDepth, FingerprintDigest: t.FingerprintDigest,
		SessionCacheSize: 1000,
	})
	return err
}
