// Package proxymap is how programs ask the proxymap service to look something
// up in a table that they cannot open themselves, or that many share: a table
// named "proxy:type:name" is such a request.
//
// Requests go to the service private/proxymap (proxymap_service_name); those
// that change a table to private/proxywrite (proxywrite_service_name), the one
// process that has the caches which several programs share.
package proxymap

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/table"
)

// Protocol is what the service announces.
const Protocol = "proxymap_protocol"

// A Status is the service's answer.
type Status int

const (
	OK     Status = 0 // done
	NoKey  Status = 1 // the key is not in the table
	Retry  Status = 2 // the table cannot be asked now
	Bad    Status = 3 // the request makes no sense
	Deny   Status = 4 // the table is not approved: proxy_read_maps, proxy_write_maps
	Config Status = 5 // the table's configuration is wrong
)

// A Request names a table and what to do with it.
type Request struct {
	Kind  string // open, lookup, update, delete, sequence
	Table string // type:name
	Flags table.Flags
	Key   string // lookup, update, delete; sequence: the key before, "" at the beginning
	Value string // update
}

// Attrs names the attributes of a request.
func (r *Request) Attrs(c *attr.Codec) {
	c.Str("request", &r.Kind)
	c.Str("table", &r.Table)
	c.Int("flags", (*int)(&r.Flags))
	switch r.Kind {
	case "open":
	case "lookup", "delete", "sequence":
		c.Str("key", &r.Key)
	case "update":
		c.Str("key", &r.Key)
		c.Str("value", &r.Value)
	default:
		c.Fail(fmt.Errorf("unexpected request %.100q", r.Kind))
	}
	c.End()
}

// A Reply is the answer to any request.
type Reply struct {
	Status Status
	Keys   table.Keys // open: what keys the table takes
	Key    string     // sequence: the next key
	Value  string     // lookup, sequence
}

// Attrs names the attributes of the reply.
func (r *Reply) Attrs(c *attr.Codec) {
	c.Int("status", (*int)(&r.Status))
	c.Int("flags", (*int)(&r.Keys))
	c.Str("key", &r.Key)
	c.Str("value", &r.Value)
	c.End()
}

// CacheOpener returns what opens caches through the service at ep: the
// ProxyCache of a table.Opener.
func CacheOpener(ep *endpoint.Endpoint) func(spec string, flags table.Flags) (table.Cache, error) {
	return func(spec string, flags table.Flags) (table.Cache, error) {
		return &proxied{ep: ep, spec: spec, flags: flags, list: "proxy_write_maps"}, nil
	}
}

// Opener returns what opens tables through the service at ep: the Proxy of a
// table.Opener.
func Opener(ep *endpoint.Endpoint) func(spec string, flags table.Flags) (table.Table, error) {
	return func(spec string, flags table.Flags) (table.Table, error) {
		return &proxied{ep: ep, spec: spec, flags: flags, list: "proxy_read_maps"}, nil
	}
}

// A proxied table is one that the service opens when it is first asked.
type proxied struct {
	ep    *endpoint.Endpoint
	spec  string
	flags table.Flags
	list  string // the parameter that must name the table

	mu     sync.Mutex
	opened bool
	keys   table.Keys
}

// openTimeout bounds the wait for the kind of keys of a table.
const openTimeout = 30 * time.Second

// Keys asks the service for the kind of keys. While it does not answer, keys
// count as fixed; the lookup then fails.
func (p *proxied) Keys() table.Keys {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		return p.keys
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	reply, err := p.call(ctx, Request{Kind: "open"})
	if err == nil && reply.Status == OK {
		p.opened, p.keys = true, reply.Keys
	}
	return p.keys
}

func (p *proxied) call(ctx context.Context, req Request) (Reply, error) {
	req.Table, req.Flags = p.spec, p.flags
	var reply Reply
	err := p.ep.Call(ctx, &req, &reply)
	return reply, err
}

// Lookup asks the service.
func (p *proxied) Lookup(ctx context.Context, key string) (string, bool, error) {
	reply, err := p.call(ctx, Request{Kind: "lookup", Key: key})
	if err != nil {
		return "", false, fmt.Errorf("proxy:%s: %w", p.spec, err)
	}
	switch reply.Status {
	case OK:
		return reply.Value, true, nil
	case NoKey:
		return "", false, nil
	}
	return "", false, p.refused(reply.Status)
}

func (p *proxied) refused(s Status) error {
	switch s {
	case Retry:
		return fmt.Errorf("proxy:%s: table lookup error", p.spec)
	case Deny:
		return fmt.Errorf("%s service is not configured for table %q; add \"proxy:%s\" to %s", filepath.Base(p.ep.Path()), p.spec, p.spec, p.list)
	case Config:
		return fmt.Errorf("proxy:%s: table configuration error", p.spec)
	}
	return fmt.Errorf("proxy:%s: proxymap service answers with status %d", p.spec, s)
}

// Store changes the table through the service.
func (p *proxied) Store(ctx context.Context, key, value string) error {
	reply, err := p.call(ctx, Request{Kind: "update", Key: key, Value: value})
	if err != nil {
		return fmt.Errorf("proxy:%s: %w", p.spec, err)
	}
	if reply.Status != OK {
		return p.refused(reply.Status)
	}
	return nil
}

// Delete removes a key through the service.
func (p *proxied) Delete(ctx context.Context, key string) (bool, error) {
	reply, err := p.call(ctx, Request{Kind: "delete", Key: key})
	if err != nil {
		return false, fmt.Errorf("proxy:%s: %w", p.spec, err)
	}
	switch reply.Status {
	case OK:
		return true, nil
	case NoKey:
		return false, nil
	}
	return false, p.refused(reply.Status)
}

// Walk asks the service for one entry after the other, each by the key before
// it, so that no state stays in the service when this process dies.
func (p *proxied) Walk(ctx context.Context, each func(key, value string) error) error {
	for key := ""; ; {
		reply, err := p.call(ctx, Request{Kind: "sequence", Key: key})
		if err != nil {
			return fmt.Errorf("proxy:%s: %w", p.spec, err)
		}
		switch {
		case reply.Status == NoKey:
			return nil
		case reply.Status != OK:
			return p.refused(reply.Status)
		case reply.Key == key:
			return fmt.Errorf("proxy:%s: the service repeats key %.100q", p.spec, key)
		}
		key = reply.Key
		if err := each(key, reply.Value); err != nil {
			return err
		}
	}
}

// Close does nothing: connections belong to the endpoint.
func (p *proxied) Close() error { return nil }
