package smtpd

import (
	"fmt"
	"strings"

	"postern/internal/config/param"
	"postern/internal/ipc/rewrite"
	"postern/internal/protocol/smtp"
	"postern/internal/service"
	"postern/internal/table"
)

// A localClient is one word of local_header_rewrite_clients: the name of a
// restriction, or a table of client addresses.
type localClient struct {
	name  string
	table table.Table // nil for a name
}

// openLocalClients reads local_header_rewrite_clients.
func (s *Server) openLocalClients(e *service.Env) error {
	const title = "local_header_rewrite_clients"
	for _, w := range param.Split(s.conf.LocalHeaderRewriteClients) {
		c := localClient{name: w}
		switch w {
		case "permit_inet_interfaces", "permit_mynetworks", "permit_sasl_authenticated", "permit_tls_clientcerts",
			"permit_tls_all_clientcerts":
		case "check_address_map": // a table follows
			continue
		default:
			if !strings.Contains(w, ":") {
				return fmt.Errorf("bad configuration: %s: unknown name %q", title, w)
			}
			var err error
			if c.table, err = e.Tables.Open(w); err != nil {
				return fmt.Errorf("%s: %w", title, err)
			}
		}
		s.localClients = append(s.localClients, c)
	}
	return nil
}

// rewriteContext says how cleanup treats incomplete addresses in the header:
// those of local clients are completed with this system's domain. The reply is
// zero unless that cannot be told now.
func (s *session) rewriteContext() (string, smtp.Reply) {
	if s.standAlone {
		return rewrite.Local, smtp.Reply{}
	}
	for _, c := range s.localClients {
		local, err := s.isLocal(&c)
		if err != nil {
			s.log.Warningf("%s lookup error for \"%s\"", c.name, s.peer.addr)
			return "", s.policy.Refuse(&s.subject, ok(451, "4.3.0", "Temporary lookup error"))
		}
		if local {
			return rewrite.Local, smtp.Reply{}
		}
	}
	return rewrite.Remote, smtp.Reply{}
}

func (s *session) isLocal(c *localClient) (bool, error) {
	switch c.name {
	case "permit_inet_interfaces":
		return s.own[s.peer.ip], nil
	case "permit_mynetworks":
		return s.myNetworks.Match(s.ctx, s.peer.name, s.peer.addr)
	case "permit_sasl_authenticated":
		return s.auth != nil, nil
	case "permit_tls_clientcerts":
		return s.policy.KnownCertificate(s.ctx, &s.subject)
	case "permit_tls_all_clientcerts":
		return s.tls != nil && s.tls.Trusted, nil
	}
	_, found, err := c.table.Lookup(s.ctx, s.peer.addr)
	return found, err
}
