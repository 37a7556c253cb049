// Package proxymap is the service that looks up keys in tables for programs
// that cannot open them: because they live in a jail, or to share connections
// to a database. Only tables that the configuration approves are opened.
//
// As proxywrite it is the one writer of tables that several programs update.
// Postfix: proxymap(8).
package proxymap

import (
	"context"
	"strings"
	"sync"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/proxymap"
	"postern/internal/service"
	"postern/internal/table"
)

// Program is the daemon's entry in the list of programs.
func Program() service.Program {
	return service.Program{Name: "proxymap", New: New, Shared: true}
}

// New returns the service.
func New() service.Service { return &Server{} }

// A Server answers requests.
type Server struct {
	readMaps, writeMaps string

	approved map[string]bool
	service  string // the entry's name in master.cf
	list     string // the parameter that approves tables
	tables   *table.Opener
	log      table.Logger
	timeout  time.Duration
	draining <-chan struct{}
	writes   bool // this is proxywrite

	mu     sync.Mutex
	caches map[string]table.Cache // opened by proxywrite
}

const defaultWriteMaps = "$smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map"

// Params names the main.cf parameters that proxymap reads. They are expanded
// by expand.
func (s *Server) Params(set *param.Set) {
	set.Raw(&s.readMaps, "proxy_read_maps", defaultReadMaps)
	set.Raw(&s.writeMaps, "proxy_write_maps", defaultWriteMaps)
}

// expand replaces the names of other parameters in the lists by their values.
// Where main.cf does not set one, it has the default that its owner gives it;
// proxymap does not count as its reader.
func (s *Server) expand(config param.Source) error {
	set := param.NewSet()
	new(param.Common).Params(set)
	named(set)
	set.Str(&s.readMaps, "proxy_read_maps", defaultReadMaps)
	set.Str(&s.writeMaps, "proxy_write_maps", defaultWriteMaps)
	return set.Load(config)
}

// Open finds out which tables are approved. They are opened when they are
// first asked for, with the rights of an ordinary service.
func (s *Server) Open(e *service.Env) error {
	if err := s.expand(e.Config); err != nil {
		return err
	}
	s.log, s.timeout, s.service = e.Log, e.Common.IPCTimeout, e.Name
	s.draining, s.caches = e.Draining, map[string]table.Cache{}
	tables := *e.Tables
	tables.ErrorIsFatal = true
	tables.Proxy = nil
	s.tables = &tables
	s.list, s.approved = "proxy_read_maps", map[string]bool{}
	list := s.readMaps
	if e.Name == e.Common.ProxywriteServiceName {
		s.list, list, s.writes = "proxy_write_maps", s.writeMaps, true
	}
	approve(s.approved, list)
	if s.writes {
		return nil
	}
	named, err := databases(e)
	if err != nil {
		return err
	}
	for spec := range named {
		s.approved[spec] = true
	}
	tables.Preread = preread(&tables, named)
	return nil
}

// approve collects what follows "proxy:" in a list, also inside braces.
func approve(to map[string]bool, list string) {
	for _, item := range table.Tokens(list) {
		switch {
		case strings.HasPrefix(item, "{"):
			if inner, err := table.Braced(item); err == nil {
				approve(to, inner)
			}
		case strings.HasPrefix(item, "proxy:"):
			to[bare(item)] = true
		}
	}
}

// bare takes all "proxy:" off.
func bare(spec string) string {
	for strings.HasPrefix(spec, "proxy:") {
		spec = spec[len("proxy:"):]
	}
	return spec
}

// requestFlags are those that a client may choose.
const requestFlags = table.KeepCase | table.NoRegexpSubst | table.NoUnauth | table.AnyOctets | table.ValueIsFile

func (s *Server) answer(ctx context.Context, req *proxymap.Request) proxymap.Reply {
	spec := bare(req.Table)
	if !s.approved[spec] {
		s.log.Warningf("request for unapproved table: \"%s\"", spec)
		s.log.Warningf("to approve this table for %s access, list %s:%s in %s:%s",
			map[string]string{"proxy_read_maps": "read-only", "proxy_write_maps": "read-write"}[s.list],
			"proxy", spec, "main.cf", s.list)
		return proxymap.Reply{Status: proxymap.Deny}
	}
	if c, err := s.cache(spec); err != nil {
		s.log.Warningf("%v", err)
		return proxymap.Reply{Status: proxymap.Retry}
	} else if c != nil {
		return s.change(ctx, c, spec, req)
	}
	if req.Kind != "open" && req.Kind != "lookup" {
		s.log.Warningf("%s request for table \"%s\": tables cannot be changed through this service", req.Kind, spec)
		return proxymap.Reply{Status: proxymap.Bad}
	}
	t, err := s.tables.With(req.Flags & requestFlags).Open(spec)
	if err != nil {
		s.log.Warningf("%v", err)
		return proxymap.Reply{Status: proxymap.Config}
	}
	if req.Kind == "open" {
		return proxymap.Reply{Keys: table.KeysOf(t)}
	}
	value, found, err := t.Lookup(ctx, req.Key)
	switch {
	case err != nil:
		s.log.Warningf("%v", err)
		return proxymap.Reply{Status: proxymap.Retry}
	case !found:
		return proxymap.Reply{Status: proxymap.NoKey}
	}
	return proxymap.Reply{Value: value}
}
