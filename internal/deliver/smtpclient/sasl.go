package smtpclient

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail/dsn"
)

// A mechanism answers a server's challenges. first is the initial response,
// nil when the server speaks first.
type mechanism struct {
	name      string
	plaintext bool // the password can be read off the line
	first     func(user, password string) []byte
	next      func(user, password string, challenge []byte, step int) ([]byte, error)
}

var errTooMany = errors.New("authentication protocol loop")

// mechanisms are those that the client knows, the best one first.
var mechanisms = [...]mechanism{
	{name: "CRAM-MD5", next: cramMD5},
	{name: "PLAIN", plaintext: true,
		first: func(user, password string) []byte { return []byte("\x00" + user + "\x00" + password) },
		next:  func(string, string, []byte, int) ([]byte, error) { return nil, errTooMany }},
	{name: "LOGIN", plaintext: true, next: login},
}

// cramMD5 is RFC 2195.
func cramMD5(user, password string, challenge []byte, step int) ([]byte, error) {
	if step > 0 {
		return nil, errTooMany
	}
	h := hmac.New(md5.New, []byte(password))
	h.Write(challenge)
	return []byte(user + " " + hex.EncodeToString(h.Sum(nil))), nil
}

func login(user, password string, _ []byte, step int) ([]byte, error) {
	switch step {
	case 0:
		return []byte(user), nil
	case 1:
		return []byte(password), nil
	}
	return nil, errTooMany
}

// authenticate logs in when there is a password for the server
// (smtp_sasl_password_maps).
func (d *delivering) authenticate(s *session, _ tlsPolicy) bool {
	user, password, found, err := d.client.password(d.ctx, s, d.req.Sender, d.nexthop)
	if err != nil {
		return d.siteFail(s, dsn.Make("4.7.0", "SASL authentication failed; cannot authenticate to server "+s.name+": Temporary lookup error"))
	}
	if !found {
		return true
	}
	m := d.client.choose(s)
	if m == nil {
		d.req.Log.Warningf("%s offered no supported AUTH mechanisms: '%s'", s.port, strings.Join(s.auth, " "))
		return d.siteFail(s, dsn.Make("4.7.0", "SASL authentication failed: server "+s.name+
			" offered no compatible authentication mechanisms for this type of connection security"))
	}
	return d.login(s, m, user, password)
}

// login is the exchange of one mechanism.
func (d *delivering) login(s *session, m *mechanism, user, password string) bool {
	text := "AUTH " + m.name
	if m.first != nil {
		text += " " + base64.StdEncoding.EncodeToString(m.first(user, password))
	}
	s.secret("AUTH "+m.name, text)
	for step := 0; ; step++ {
		p, err := s.reply()
		if err != nil {
			return d.streamFail(s, err, "performing the authentication handshake")
		}
		if p.class() == 2 {
			return true
		}
		if p.class() != 3 {
			return d.siteFail(s, d.authFailure(s, p))
		}
		var answer []byte
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(p.text[min(4, len(p.text)):]))
		if err == nil || m.name == "LOGIN" {
			answer, err = m.next(user, password, challenge, step)
		}
		if err != nil {
			return d.siteFail(s, dsn.Make("4.7.0", "SASL authentication failed; authentication protocol loop with server "+s.name))
		}
		s.secret("(response)", base64.StdEncoding.EncodeToString(answer))
	}
}

// authFailure is a refused password. It is a mistake of ours, so the mail
// waits (smtp_sasl_auth_soft_bounce).
func (d *delivering) authFailure(s *session, p *reply) dsn.Result {
	r := remote(s, p, "SASL authentication failed; server %s said: %s", s.name, p.line())
	if hard(&r) && d.client.config.SASL.SoftBounce {
		r.Status = r.Status.WithClass('4')
	}
	return r
}

// secret is command, but the log shows only what.
func (s *session) secret(what, text string) {
	s.client.env.Log.Debugf("> %s: %s", s.port, what)
	s.w.WriteString(text)
	s.w.WriteString("\r\n")
}

// choose returns the best mechanism that the server offers and that the
// security options allow.
func (c *Client) choose(s *session) *mechanism {
	options := c.config.SASL.Options
	if s.tls != nil {
		options = c.config.SASL.TLSOptions
		if s.tls.Satisfied(s.level) && s.level.Required() && s.level > 2 {
			options = c.config.SASL.VerifiedTLSOption
		}
	}
	filter := splitNexthop(c.config.SASL.MechanismFilter)
	for i := range mechanisms {
		m := &mechanisms[i]
		same := func(s string) bool { return strings.EqualFold(s, m.name) }
		switch {
		case !slices.ContainsFunc(s.auth, same):
		case m.plaintext && hasOption(options, "noplaintext"):
		case !m.plaintext && hasOption(options, "nodictionary"), hasOption(options, "mutual_auth"),
			hasOption(options, "forward_secrecy"):
		case len(filter) > 0 && !allowed(filter, m.name):
		default:
			return m
		}
	}
	return nil
}

// allowed reads a list of names with "!" exceptions.
func allowed(filter []string, name string) bool {
	for _, w := range filter {
		if rest, not := strings.CutPrefix(w, "!"); not {
			if strings.EqualFold(rest, name) || strings.EqualFold(rest, "static:all") {
				return false
			}
		} else if strings.EqualFold(w, name) || strings.EqualFold(w, "static:all") {
			return true
		}
	}
	return false
}

func hasOption(list, option string) bool {
	for _, w := range splitNexthop(list) {
		if strings.EqualFold(w, option) {
			return true
		}
	}
	return false
}

// password looks up "user:password" by the sender, the host, and the next hop
// as it is configured.
func (c *Client) password(ctx context.Context, s *session, sender, nexthop string) (user, password string, found bool, err error) {
	var keys []string
	if c.config.SASL.SenderDependent && sender != "" {
		keys = append(keys, sender)
		if i := strings.LastIndexByte(sender, '@'); i >= 0 {
			keys = append(keys, sender[i:])
		}
	}
	keys = append(keys, s.place.host, nexthop)
	for _, k := range keys {
		value, found, err := c.passwords.Lookup(ctx, k)
		if err != nil {
			return "", "", false, err
		}
		if found {
			user, password, ok := strings.Cut(value, c.config.SASL.Delimiter)
			if !ok {
				password = ""
			}
			return user, password, user != "", nil
		}
	}
	return "", "", false, nil
}

// openSASL opens the passwords.
func (c *Client) openSASL() error {
	a := &c.config.SASL
	if !a.Enable {
		return nil
	}
	name := c.param("smtp_sasl_password_maps", "lmtp_sasl_password_maps")
	switch {
	case a.PasswordMaps == "":
		return fmt.Errorf("specify a password table via the `%s' configuration parameter", name)
	case !strings.EqualFold(a.Type, "cyrus"):
		return fmt.Errorf("unsupported SASL client implementation: %s", a.Type)
	case a.CacheName != "":
		return fmt.Errorf("parameter %s: the cache of failed logins is not supported",
			c.param("smtp_sasl_auth_cache_name", "lmtp_sasl_auth_cache_name"))
	}
	for _, list := range []string{a.Options, a.TLSOptions, a.VerifiedTLSOption} {
		for _, w := range splitNexthop(list) {
			if !slices.Contains([]string{"noplaintext", "noactive", "nodictionary", "noanonymous", "mutual_auth", "forward_secrecy"}, strings.ToLower(w)) {
				return fmt.Errorf("SASL security options: unknown option %q", w)
			}
		}
	}
	var err error
	c.passwords, err = c.env.Tables.Maps(name, a.PasswordMaps, 0)
	return err
}
