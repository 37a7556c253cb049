// Package trivialrewrite is the service that completes addresses to their
// standard form and says how mail for an address is delivered: by which
// transport, to which next hop, and in which address class.
//
// It keeps no state between requests. Postfix: trivial-rewrite(8).
package trivialrewrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"postern/internal/base/netaddr"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrclass"
	"postern/internal/service"
	"postern/internal/table"
)

// Program is the daemon's entry in the list of programs.
func Program() service.Program {
	return service.Program{Name: "trivial-rewrite", New: func() service.Service { return &Server{} }, Shared: true}
}

// A Server answers requests.
type Server struct {
	config Config

	timeout   time.Duration // ipc_timeout
	local     rules         // for addresses of local clients
	remote    rules         // for addresses of remote clients
	resolve   *router       // for mail
	verify    *router       // for address probes
	classes   *addrclass.Classes
	relocated *table.Maps
	log       table.Logger

	myhostname, myorigin, emptyRecipient string
	utf8                                 bool
	find                                 finder
}

// Open opens the tables.
func (s *Server) Open(e *service.Env) error {
	c := e.Common
	s.timeout, s.log = c.IPCTimeout, e.Log
	s.myhostname, s.myorigin = c.MyHostname, c.MyOrigin
	s.emptyRecipient, s.utf8 = c.EmptyAddressRecipient, c.SMTPUTF8Enable
	s.rewriting(c.AppendAtMyOrigin, c.MyOrigin, c.MyDomain)

	own, proxies, err := addresses(c.InetInterfaces, c.ProxyInterfaces, c.InetProtocols)
	if err != nil {
		return err
	}
	s.classes, err = addrclass.New(addrclass.Config{
		MyDestination:                 c.MyDestination,
		RelayDomains:                  c.RelayDomains,
		VirtualAliasDomains:           s.config.VirtualAliasDomains,
		VirtualMailboxDomains:         s.config.VirtualMailboxDomains,
		ParentDomainMatchesSubdomains: c.ParentDomainMatchesSubdomains,
		OwnAddresses:                  own,
		ProxyAddresses:                proxies,
	}, e.Tables)
	if err != nil {
		return err
	}
	s.find = finder{classes: s.classes, myorigin: c.MyOrigin}
	s.find.extensions.Delimiters = c.RecipientDelimiter
	s.find.extensions.OwnerRequestSpecial = c.OwnerRequestSpecial
	s.find.extensions.DoubleBounceSender = c.DoubleBounceSender
	return s.openMaps(e.Tables, c.ParentDomainMatchesSubdomains)
}

// rewriting sets the rules of both contexts.
func (s *Server) rewriting(atMyOrigin bool, myorigin, mydomain string) {
	s.local = rules{
		swapBangpath: s.config.SwapBangpath,
		percentHack:  s.config.PercentHack,
		appendOrigin: atMyOrigin,
		appendDomain: s.config.AppendDotMyDomain,
		origin:       myorigin,
		domain:       mydomain,
	}
	s.remote = s.local
	s.remote.origin = s.config.RemoteRewriteDomain
	s.remote.domain = s.config.RemoteRewriteDomain
}

func (s *Server) openMaps(o *table.Opener, parentStyle string) error {
	var err error
	if s.relocated, err = o.Maps("relocated_maps", s.config.RelocatedMaps, table.FoldKey); err != nil {
		return err
	}
	if s.resolve, err = s.newRouter(s.config.Resolve, o, parentStyle); err != nil {
		return err
	}
	s.verify, err = s.newRouter(s.config.Verify, o, parentStyle)
	return err
}

func addresses(interfaces, proxies, protocols string) (own, proxy []netip.Addr, err error) {
	families, err := netaddr.ParseFamilies(protocols)
	if err != nil {
		return nil, nil, err
	}
	in, err := netaddr.ParseInterfaces(context.Background(), interfaces, families, nil)
	if err != nil {
		return nil, nil, err
	}
	proxy, err = netaddr.ParseHosts(context.Background(), "proxy_interfaces", proxies, families, nil)
	return in.Addrs, proxy, err
}

// Serve answers the requests of one client until it closes the connection.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	defer c.Close()
	conn := attr.NewConn(c, s.timeout)
	protocol := attr.Protocol(rewrite.Protocol)
	if err := conn.Send(&protocol); err != nil {
		return err
	}
	for {
		var req rewrite.Request
		if err := conn.Recv(&req); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("read request: %w", err)
		}
		reply, err := s.answer(ctx, &req)
		if err != nil {
			return err
		}
		if err := conn.Send(reply); err != nil {
			return err
		}
	}
}

func (s *Server) answer(ctx context.Context, req *rewrite.Request) (attr.Message, error) {
	switch req.Kind {
	case "rewrite":
		switch req.Ruleset {
		case rewrite.Local:
			return &rewrite.Rewritten{Address: s.local.Rewrite(req.Address)}, nil
		case rewrite.Remote:
			return &rewrite.Rewritten{Address: s.remote.Rewrite(req.Address)}, nil
		}
		return nil, fmt.Errorf("unknown context: %.100q", req.Ruleset)
	case "verify":
		return &rewrite.Reply{Resolved: s.Resolve(ctx, s.verify, req.Sender, req.Address)}, nil
	}
	return &rewrite.Reply{Resolved: s.Resolve(ctx, s.resolve, req.Sender, req.Address)}, nil
}

// Params names the parameters.
func (s *Server) Params(set *param.Set) { s.config.Params(set) }
