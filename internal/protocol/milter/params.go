package milter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/config/param"
)

// Params are the parameters of milters that smtpd and cleanup share.
type Params struct {
	ConnectTimeout time.Duration // milter_connect_timeout
	CommandTimeout time.Duration // milter_command_timeout
	ContentTimeout time.Duration // milter_content_timeout
	Protocol       string        // milter_protocol
	DefaultAction  string        // milter_default_action

	DaemonName    string // milter_macro_daemon_name: {daemon_name}
	Version       string // milter_macro_v: v
	MacroDefaults string // milter_macro_defaults

	Macros [macroStages]string // milter_connect_macros and so on, by stage
}

// The stages at which macros are sent. The first ones are numbered as in
// SMFIR_SETSYMLIST.
const (
	atConnect = iota
	atHelo
	atMail
	atRcpt
	atData
	atEndOfBody
	atEndOfHead
	atUnknown
	macroStages
)

// Params names the main.cf parameters.
func (p *Params) Params(s *param.Set) {
	s.Time(&p.ConnectTimeout, "milter_connect_timeout", "30s", param.Min(1))
	s.Time(&p.CommandTimeout, "milter_command_timeout", "30s", param.Min(1))
	s.Time(&p.ContentTimeout, "milter_content_timeout", "300s", param.Min(1))
	s.Str(&p.Protocol, "milter_protocol", "6", param.MinLen(1))
	s.Str(&p.DefaultAction, "milter_default_action", "shutdown", param.MinLen(1))
	s.Str(&p.DaemonName, "milter_macro_daemon_name", "$myhostname", param.MinLen(1))
	s.Str(&p.Version, "milter_macro_v", "$mail_name $mail_version", param.MinLen(1))
	s.Str(&p.MacroDefaults, "milter_macro_defaults", "")
	s.Str(&p.Macros[atConnect], "milter_connect_macros", "j {daemon_name} {daemon_addr} v _")
	s.Str(&p.Macros[atHelo], "milter_helo_macros", "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}")
	s.Str(&p.Macros[atMail], "milter_mail_macros", "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}")
	s.Str(&p.Macros[atRcpt], "milter_rcpt_macros", "i {rcpt_addr} {rcpt_host} {rcpt_mailer}")
	s.Str(&p.Macros[atData], "milter_data_macros", "i")
	s.Str(&p.Macros[atEndOfHead], "milter_end_of_header_macros", "i")
	s.Str(&p.Macros[atEndOfBody], "milter_end_of_data_macros", "i")
	s.Str(&p.Macros[atUnknown], "milter_unknown_command_macros", "")
}

// A Service is a milter as the configuration names it.
type Service struct {
	Name           string // "inet:localhost:8891", as log lines name it
	Network, Addr  string // for net.Dial
	ConnectTimeout time.Duration
	CommandTimeout time.Duration
	ContentTimeout time.Duration
	Version        uint32
	MuteHeader     bool // no_header_reply: the milter does not answer header fields
	DefaultAction  string
}

// Settings are what all milters of a program share: parsed parameters.
type Settings struct {
	Params
	lists    [macroStages][]string
	defaults map[string]string
}

// Parse checks the parameters and makes them ready for use.
func (p Params) Parse() (*Settings, error) {
	s := &Settings{Params: p}
	if _, _, err := parseProtocol(p.Protocol); err != nil {
		return nil, fmt.Errorf("milter_protocol: %w", err)
	}
	if err := checkAction(p.DefaultAction); err != nil {
		return nil, fmt.Errorf("milter_default_action: %w", err)
	}
	for stage, list := range p.Macros {
		s.lists[stage] = macroNames(list)
	}
	var err error
	if s.defaults, err = parseDefaults(p.MacroDefaults); err != nil {
		return nil, fmt.Errorf("milter_macro_defaults: %w", err)
	}
	return s, nil
}

// macroNames splits a list of macro names, which have braces when they are longer
// than a letter.
func macroNames(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(param.Separators, r) })
}

// parseDefaults reads "name=value, {name} = value, { name = value with blanks }".
func parseDefaults(text string) (map[string]string, error) {
	defaults := map[string]string{}
	for _, item := range param.Split(text) {
		if inner, braced, err := param.Unbrace(item); braced && err == nil {
			item = inner
		}
		name, value, ok := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not of the form name=value", item)
		}
		if len(name) > 1 && name[0] != '{' {
			name = "{" + name + "}"
		}
		defaults[name] = strings.TrimSpace(value)
	}
	return defaults, nil
}

var actionNames = []string{"accept", "reject", "tempfail", "quarantine", "shutdown"}

func checkAction(name string) error {
	if !slices.Contains(actionNames, strings.ToLower(name)) {
		return fmt.Errorf("unknown action %q; use accept, reject, tempfail, quarantine or shutdown", name)
	}
	return nil
}

// parseProtocol reads milter_protocol: a version, and "no_header_reply".
func parseProtocol(text string) (version uint32, muteHeader bool, err error) {
	for _, word := range param.Split(text) {
		switch strings.ToLower(word) {
		case "2":
			version = 2
		case "3":
			version = 3
		case "4":
			version = 4
		case "6":
			version = 6
		case "no_header_reply":
			muteHeader = true
		default:
			return 0, false, fmt.Errorf("bad protocol information: %q; use 2, 3, 4 or 6", word)
		}
	}
	if version == 0 {
		return 0, false, errors.New("no protocol version information; use 2, 3, 4 or 6")
	}
	return version, muteHeader, nil
}

// Services reads a list of milters: "inet:host:port, unix:path,
// { inet:host:port, connect_timeout=10s, default_action=accept }".
func (s *Settings) Services(list string) ([]*Service, error) {
	var services []*Service
	for _, item := range param.Split(list) {
		v, err := s.service(item)
		if err != nil {
			return nil, fmt.Errorf("milter service %q: %w", item, err)
		}
		services = append(services, v)
	}
	return services, nil
}

func (s *Settings) service(item string) (*Service, error) {
	v := &Service{ConnectTimeout: s.ConnectTimeout, CommandTimeout: s.CommandTimeout, ContentTimeout: s.ContentTimeout,
		DefaultAction: strings.ToLower(s.DefaultAction)}
	protocol := s.Protocol
	if strings.HasPrefix(item, "{") {
		inner, _, err := param.Unbrace(item)
		if err != nil {
			return nil, err
		}
		words := param.Split(inner)
		if len(words) == 0 {
			return nil, errors.New("empty milter definition")
		}
		item = words[0]
		for _, w := range words[1:] {
			if err := v.override(w, &protocol); err != nil {
				return nil, err
			}
		}
	}
	var err error
	if v.Version, v.MuteHeader, err = parseProtocol(protocol); err != nil {
		return nil, fmt.Errorf("protocol: %w", err)
	}
	v.Name = item
	transport, rest, ok := strings.Cut(item, ":")
	if !ok || rest == "" {
		return nil, errors.New("milter service needs transport:endpoint, such as inet:localhost:8891 or unix:/path")
	}
	switch strings.ToLower(transport) {
	case "unix", "local":
		v.Network, v.Addr = "unix", rest
	case "inet":
		v.Network = "tcp"
		v.Addr, err = inetAddr(rest)
	default:
		err = fmt.Errorf("unknown transport %q; use inet, unix or local", transport)
	}
	return v, err
}

// inetAddr is host:port as net.Dial wants it. Postfix: a port alone is this host's.
func inetAddr(text string) (string, error) {
	i := strings.LastIndexByte(text, ':')
	host, port := "localhost", text
	if i >= 0 {
		host, port = strings.Trim(text[:i], "[]"), text[i+1:]
	}
	if port == "" {
		return "", errors.New("the port is missing")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port, nil
}

// override reads one "name=value" of a milter of its own settings.
func (v *Service) override(word string, protocol *string) error {
	if strings.HasPrefix(word, "{") {
		inner, _, err := param.Unbrace(word)
		if err != nil {
			return err
		}
		word = inner
	}
	name, value, ok := strings.Cut(word, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return fmt.Errorf("%q is not of the form name=value", word)
	}
	var err error
	timeout := func(p *time.Duration) {
		if *p, err = param.ParseTime(value, 's'); err == nil && *p <= 0 {
			err = errors.New("the time must be positive")
		}
	}
	switch name {
	case "connect_timeout":
		timeout(&v.ConnectTimeout)
	case "command_timeout":
		timeout(&v.CommandTimeout)
	case "content_timeout":
		timeout(&v.ContentTimeout)
	case "protocol":
		*protocol = value
	case "default_action":
		v.DefaultAction = strings.ToLower(value)
		err = checkAction(value)
	default:
		err = errors.New("unknown name; use connect_timeout, command_timeout, content_timeout, protocol or default_action")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
