package proxymap

import (
	"context"

	"postern/internal/ipc/proxymap"
	"postern/internal/table"
)

// cache returns the cache that spec names, opened when it is first asked for;
// nil where this is not proxywrite, or the type is one that is only read.
func (s *Server) cache(spec string) (table.Cache, error) {
	if !s.writes {
		return nil, nil
	}
	typeName, _, err := table.SplitSpec(spec)
	if err != nil {
		return nil, err
	}
	if t, known := s.tables.Lookup(typeName); !known || t.Cache == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.caches[spec]; c != nil {
		return c, nil
	}
	c, err := s.tables.OpenCache(spec)
	if err != nil {
		return nil, err
	}
	s.caches[spec] = c
	return c, nil
}

// change answers a request about a cache.
func (s *Server) change(ctx context.Context, c table.Cache, spec string, req *proxymap.Request) (reply proxymap.Reply) {
	var found bool
	var err error
	switch req.Kind {
	case "open":
		return proxymap.Reply{Keys: table.Fixed}
	case "lookup":
		reply.Value, found, err = c.Lookup(ctx, req.Key)
	case "update":
		found, err = true, c.Store(ctx, req.Key, req.Value)
	case "delete":
		found, err = c.Delete(ctx, req.Key)
	case "sequence":
		next, ok := c.(table.Sequencer)
		if !ok {
			s.log.Warningf("sequence request for table \"%s\": it cannot be listed", spec)
			return proxymap.Reply{Status: proxymap.Bad}
		}
		reply.Key, reply.Value, found, err = next.Next(ctx, req.Key)
	}
	switch {
	case err != nil:
		s.log.Warningf("%v", err)
		return proxymap.Reply{Status: proxymap.Retry}
	case !found:
		return proxymap.Reply{Status: proxymap.NoKey}
	}
	return reply
}

// Close gives the caches up.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for spec, c := range s.caches {
		if err := c.Close(); err != nil {
			s.log.Warningf("%v", err)
		}
		delete(s.caches, spec)
	}
	return nil
}
