package smtpd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/anvil"
	"postern/internal/protocol/sasl"
	"postern/internal/protocol/starttls"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/bdb"
	"postern/internal/table/matchlist"
)

// saslConfig holds smtpd_sasl_*.
type saslConfig struct {
	Enable              bool
	Type, Path, Service string
	Options, TLSOptions string
	LocalDomain         string
	CyrusPath           string
	Users               string
	MechanismFilter     string
	ExceptionsNetworks  string
	AuthenticatedHeader bool
	BrokenClients       bool
	ResponseLimit       int
}

func (c *saslConfig) params(s *param.Set) {
	s.Bool(&c.Enable, "smtpd_sasl_auth_enable", false)
	s.Str(&c.Type, "smtpd_sasl_type", "cyrus", param.MinLen(1))
	s.Str(&c.Path, "smtpd_sasl_path", "smtpd", param.MinLen(1))
	s.Str(&c.Service, "smtpd_sasl_service", "smtp", param.MinLen(1))
	s.Str(&c.LocalDomain, "smtpd_sasl_local_domain", "")
	s.Str(&c.CyrusPath, "cyrus_sasl_config_path", "")
	s.Str(&c.Users, "smtpd_sasl_users", "${config_directory}/sasl_users", param.MinLen(1))
	s.Str(&c.Options, "smtpd_sasl_security_options", "noanonymous")
	s.Str(&c.TLSOptions, "smtpd_sasl_tls_security_options", "$smtpd_sasl_security_options")
	s.Str(&c.MechanismFilter, "smtpd_sasl_mechanism_filter", "!external, static:rest")
	s.Str(&c.ExceptionsNetworks, "smtpd_sasl_exceptions_networks", "")
	s.Bool(&c.AuthenticatedHeader, "smtpd_sasl_authenticated_header", false)
	s.Bool(&c.BrokenClients, "broken_sasl_auth_clients", false)
	s.Int(&c.ResponseLimit, "smtpd_sasl_response_limit", 12288, param.Min(12288))
}

// A saslServer is the authentication of all sessions; nil when there is none.
type saslServer struct {
	backend    sasl.Service
	plain, tls sasl.Options // without and with TLS
	filter     *matchlist.List
	exceptions *matchlist.List
	noneLeft   sync.Once // said that no mechanism is left
}

// saslTimeout is for one answer of the service. Postfix: the same.
const saslTimeout = 10 * time.Second

func (s *Server) openSASL(e *service.Env) error {
	c := &s.conf.SASL
	if !c.Enable || s.standAlone {
		return nil
	}
	v := &saslServer{}
	var err error
	if v.backend, err = s.openBackend(e); err != nil {
		return err
	}
	if v.plain, err = sasl.ParseOptions(param.Split(c.Options)); err != nil {
		return fmt.Errorf("smtpd_sasl_security_options: %w", err)
	}
	if v.tls, err = sasl.ParseOptions(param.Split(c.TLSOptions)); err != nil {
		return fmt.Errorf("smtpd_sasl_tls_security_options: %w", err)
	}
	if v.filter, err = matchlist.New("smtpd_sasl_mechanism_filter", c.MechanismFilter, e.Tables, 0); err != nil {
		return err
	}
	v.exceptions, err = matchlist.New("smtpd_sasl_exceptions_networks", c.ExceptionsNetworks, e.Tables, matchlist.Parent)
	s.sasl = v
	return err
}

// openBackend chooses the service by smtpd_sasl_type.
func (s *Server) openBackend(e *service.Env) (sasl.Service, error) {
	c := &s.conf.SASL
	switch strings.ToLower(c.Type) {
	case "dovecot":
		return sasl.NewDovecot(c.Path, saslTimeout), nil
	case "cyrus":
		conf, err := sasl.LoadCyrusConfig(c.Path, c.CyrusPath, s.common.ConfigDirectory)
		if err != nil {
			return nil, err
		}
		return sasl.NewCyrus(conf, c.LocalDomain, s.common.MyHostname, saslTimeout, func(path string) (sasl.PropertyLookup, error) {
			t, err := bdb.OpenHash(path, e.Tables)
			if err != nil {
				return nil, err
			}
			return t.Lookup, nil
		})
	case "postern":
		accounts, err := s.openUsers(e)
		if err != nil {
			return nil, fmt.Errorf("smtpd_sasl_users = %s: %w", c.Users, err)
		}
		return sasl.NewNative(accounts, c.LocalDomain, saslTimeout)
	}
	return nil, fmt.Errorf("smtpd_sasl_type = %s is not known: specify \"dovecot\", \"cyrus\" or \"postern\"", c.Type)
}

// openUsers opens a file, or a lookup table "type:name".
func (s *Server) openUsers(e *service.Env) (sasl.Accounts, error) {
	name := s.conf.SASL.Users
	if strings.HasPrefix(name, "/") {
		return sasl.OpenUserFile(name, sasl.UserFileLog{Warn: s.log.Warningf, Lost: e.Tables.Stale})
	}
	t, err := e.Tables.With(table.KeepCase).Open(name)
	if err != nil {
		return nil, err
	}
	return &sasl.UserTable{Name: name, Table: t}, nil
}

// An authState is who has authenticated.
type authState struct {
	method, user string
}

func (s *session) saslConfigured() bool { return s.sasl != nil }

// authOffered says whether EHLO tells this client of AUTH. Postfix: those of
// smtpd_sasl_exceptions_networks may use it, untold.
func (s *session) authOffered() bool {
	if s.sasl == nil || s.conf.TLS.AuthOnly && s.tls == nil {
		return false
	}
	exempt, err := s.sasl.exceptions.Match(s.ctx, s.peer.name, s.peer.addr)
	return err == nil && !exempt
}

// mechanisms lists those that the client may use. Postfix: when none is left the
// process ends, and with it the reception of all mail; here AUTH is not offered.
func (s *session) mechanisms() ([]string, error) {
	list, err := s.sasl.backend.Mechanisms(s.ctx)
	if err != nil {
		return nil, err
	}
	options, parameter := &s.sasl.plain, "smtpd_sasl_security_options"
	if s.tls != nil {
		options, parameter = &s.sasl.tls, "smtpd_sasl_tls_security_options"
	}
	names, err := s.sasl.left(s.ctx, list, options)
	if err != nil || len(names) > 0 {
		return names, err
	}
	if s.tls == nil && s.Server.tls.Level() != starttls.None {
		// Under TLS there is more: that is how AUTH is kept for TLS.
		if secured, err := s.sasl.left(s.ctx, list, &s.sasl.tls); err != nil || len(secured) > 0 {
			return nil, err
		}
	}
	s.sasl.noneLeft.Do(func() {
		var offered []string
		for _, m := range list {
			offered = append(offered, m.Name)
		}
		s.log.Warningf("no SASL authentication mechanisms: %s and smtpd_sasl_mechanism_filter leave none of %q; AUTH is not offered",
			parameter, strings.Join(offered, " "))
	})
	return nil, nil
}

// left lists the mechanisms that the options and smtpd_sasl_mechanism_filter let
// through.
func (v *saslServer) left(ctx context.Context, list []sasl.Mechanism, options *sasl.Options) ([]string, error) {
	var names []string
	for _, m := range list {
		if !options.Allows(m) {
			continue
		}
		ok, err := v.filter.MatchString(ctx, table.Fold(m.Name, false))
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, m.Name)
		}
	}
	return names, nil
}

// authenticate is AUTH (RFC 4954).
func (s *session) authenticate(arg string) outcome {
	switch {
	case s.conf.HeloRequired && !s.subject.HasHelo:
		return say(ok(503, "5.5.1", "Error: send HELO/EHLO first"))
	case s.sasl == nil, s.conf.TLS.AuthOnly && s.tls == nil:
		return say(ok(503, "5.5.1", "Error: authentication not enabled"))
	case s.tx != nil:
		return say(ok(503, "5.5.1", "Error: MAIL transaction in progress"))
	case s.auth != nil:
		return say(ok(503, "5.5.1", "Error: already authenticated"))
	}
	if r := s.milterOther(); r.Transient() {
		return say(ok(454, "4.3.0", "Try again later"))
	} else if !r.IsZero() {
		return say(r)
	}
	words := strings.Fields(arg)
	if len(words) < 1 || len(words) > 2 {
		return say(ok(501, "5.5.4", "Syntax: AUTH mechanism"))
	}
	if s.overRate(anvil.Auth, s.conf.ClientAuthRate, "AUTH command rate") {
		return say(ok(450, "4.7.1", "Error: too many AUTH commands from "+s.peer.addr))
	}
	d := &authDialogue{s: s, mech: strings.ToUpper(words[0])}
	allowed, err := s.mechanisms()
	if err != nil {
		return d.step(sasl.Result{}, err)
	}
	if !slices.Contains(allowed, d.mech) {
		return d.fail(sasl.Result{Outcome: sasl.Failure, Text: "Invalid authentication mechanism"})
	}
	initial, has := "", len(words) == 2
	if has {
		if initial = words[1]; initial == "=" {
			initial = ""
		}
		if !sasl.Valid(initial) {
			return d.fail(sasl.Result{Outcome: sasl.Failure, Text: "Invalid base64 data in initial response"})
		}
	}
	var res sasl.Result
	d.dlg, res, err = s.sasl.backend.Start(s.ctx, d.mech, s.saslPeer(), initial, has)
	return d.step(res, err)
}

func (s *session) saslPeer() sasl.Peer {
	p := sasl.Peer{Service: s.conf.SASL.Service, LocalAddr: s.peer.serverAddr, LocalPort: s.peer.serverPort,
		RemoteAddr: s.peer.addr, RemotePort: s.peer.port}
	if s.tls != nil {
		p.Secured, p.ClientCert = true, s.tls.Trusted
	}
	return p
}

// An authDialogue is one AUTH command while it lasts.
type authDialogue struct {
	s    *session
	mech string
	dlg  sasl.Dialogue
}

// step turns an answer of the service into a reply.
func (d *authDialogue) step(res sasl.Result, err error) outcome {
	if err != nil {
		d.s.log.Warningf("%v", err)
		res = sasl.Result{Outcome: sasl.Temporary, Text: "authentication service is not available"}
	}
	switch res.Outcome {
	case sasl.Continue:
		return outcome{Reply: ok(334, "", res.Text), next: d.answer}
	case sasl.Success:
		d.s.auth = &authState{method: d.mech, user: res.User}
		d.s.subject.SASLMethod, d.s.subject.SASLUsername = d.mech, printableName(res.User)
		return say(ok(235, "2.7.0", "Authentication successful"))
	}
	return d.fail(res)
}

// answer reads the client's answer to a challenge.
func (d *authDialogue) answer() outcome {
	line, err := d.s.in.ReadLine(d.s.conf.SASL.ResponseLimit)
	if err != nil {
		d.dlg.Cancel()
		if isTooLong(err) {
			return say(ok(500, "5.5.6", "SASL response limit exceeded"))
		}
		return d.s.lost(err)
	}
	text := string(line)
	if text == "*" {
		d.dlg.Cancel()
		d.s.log.Warningf("%s: SASL %.100s authentication aborted", d.s.subject.LogClient, d.mech)
		return say(ok(501, "5.7.0", "Authentication aborted"))
	}
	if !sasl.Valid(text) {
		d.dlg.Cancel()
		return d.fail(sasl.Result{Outcome: sasl.Failure, Text: "Invalid base64 data in continued response"})
	}
	return d.step(d.dlg.Next(d.s.ctx, text))
}

func (d *authDialogue) fail(res sasl.Result) outcome {
	reason := res.Text
	if reason == "" {
		reason = "(reason unavailable)"
	}
	user := res.User
	if user == "" {
		user = "(unavailable)"
	}
	d.s.log.Warningf("%s: SASL %.100s authentication failed: %s, sasl_username=%.100s", d.s.subject.LogClient, d.mech, reason, user)
	if res.Outcome == sasl.Temporary {
		return say(ok(454, "4.7.0", "Temporary authentication failure: "+reason))
	}
	return say(ok(535, "5.7.8", "Error: authentication failed: "+reason))
}

// printableName keeps what could break a record or a log line out of a name.
func printableName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}
