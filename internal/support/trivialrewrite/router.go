package trivialrewrite

import (
	"context"
	"errors"
	"strings"

	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrclass"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A router chooses transport and next hop with one set of parameters.
type router struct {
	Routing
	s                               *Server
	transports                      *table.Maps // transport_maps
	senderRelayhosts, senderDefault *table.Maps
	parent                          bool // transport_maps is in parent_domain_matches_subdomains
}

func (s *Server) newRouter(c Routing, o *table.Opener, parentStyle string) (*router, error) {
	r := &router{Routing: c, s: s}
	r.parent = matchlist.ParentStyle("transport_maps", parentStyle) != 0
	for _, m := range []struct {
		maps        **table.Maps
		title, list string
	}{
		{&r.transports, "transport_maps", c.TransportMaps},
		{&r.senderRelayhosts, "sender_dependent_relayhost_maps", c.SenderRelayhostMaps},
		{&r.senderDefault, "sender_dependent_default_transport_maps", c.SenderTransportMaps},
	} {
		var err error
		if *m.maps, err = o.Maps(c.prefix+m.title, m.list, table.NoRegexpSubst); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// byClass sets transport and next hop as the address class says, and returns
// the parameter that named the transport.
func (r *router) byClass(ctx context.Context, class addrclass.Class, sender, domain string, res *rewrite.Resolved) (string, error) {
	res.Nexthop = domain
	switch class {
	case addrclass.Local:
		res.Flags |= rewrite.ClassLocal
		res.Transport = r.LocalTransport
		return r.prefix + "local_transport", nil
	case addrclass.Alias:
		// Aliases that have an entry are replaced before mail is queued.
		res.Flags |= rewrite.ClassAlias
		res.Transport = errorTransport
		res.Nexthop = "5.1.1 User unknown"
		if r.s.config.ShowUserUnknownTable {
			res.Nexthop += " in virtual alias table"
		}
		return "", nil
	case addrclass.Virtual:
		res.Flags |= rewrite.ClassVirtual
		res.Transport = r.VirtualTransport
		return r.prefix + "virtual_transport", nil
	}
	param := r.prefix + "relay_transport"
	if class == addrclass.Relay {
		res.Flags |= rewrite.ClassRelay
		res.Transport = r.RelayTransport
	} else {
		res.Flags |= rewrite.ClassDefault
		var err error
		if param, err = r.defaultTransport(ctx, sender, res); err != nil {
			return "", err
		}
	}
	return param, r.relay(ctx, sender, domain, res)
}

// dunno is the result that means: as if there were no entry.
const dunno = "DUNNO"

// defaultTransport sets the transport for the rest of the world.
func (r *router) defaultTransport(ctx context.Context, sender string, res *rewrite.Resolved) (string, error) {
	title := r.prefix + "sender_dependent_default_transport_maps"
	res.Transport = r.DefaultTransport
	value, found, err := r.bySender(ctx, r.senderDefault, sender, r.s.config.NullDefaultTransportKey)
	switch {
	case err != nil:
		return "", errors.New(title + " lookup failure")
	case !found:
		return r.prefix + "default_transport", nil
	case !strings.EqualFold(value, dunno):
		res.Transport = value
	}
	return title, nil
}

// relay sets the next hop for mail that leaves: the sender's relayhost, the
// relayhost, or the recipient's domain.
func (r *router) relay(ctx context.Context, sender, domain string, res *rewrite.Resolved) error {
	value, found, err := r.bySender(ctx, r.senderRelayhosts, sender, r.s.config.NullRelayhostKey)
	switch {
	case err != nil:
		return errors.New(r.prefix + "sender_dependent_relayhost_maps lookup failure")
	case found && !strings.EqualFold(value, dunno):
		res.Nexthop = value
	case r.Relayhost != "":
		res.Nexthop = r.Relayhost
	}
	return nil
}

func (r *router) bySender(ctx context.Context, m *table.Maps, sender, null string) (string, bool, error) {
	if sender == "" {
		sender = null
	}
	return r.s.find.find(ctx, m, sender)
}

// override asks transport_maps for the recipient, its domain and the parents
// of that, and for "*".
func (r *router) override(ctx context.Context, d destination, res *rewrite.Resolved) error {
	if r.transports.Empty() {
		return nil
	}
	failed := errors.New(r.prefix + "transport_maps lookup failure")
	value, found, err := r.lookup(ctx, d)
	if err != nil {
		return failed
	}
	if found {
		apply(value, d.domain, res)
		return nil
	}
	if value, found, err = r.transports.Lookup(ctx, "*"); err != nil {
		return failed
	}
	if found {
		apply(value, d.domain, res)
	}
	return nil
}

func (r *router) lookup(ctx context.Context, d destination) (string, bool, error) {
	value, found, err := r.transports.Lookup(ctx, d.recipient)
	if found || err != nil {
		return value, found, err
	}
	if stripped, _, ok := r.s.find.extensions.Strip(d.recipient); ok {
		value, found, err = r.transports.LookupFixed(ctx, stripped)
		if found || err != nil {
			return value, found, err
		}
	}
	for key := d.domain; key != ""; {
		value, found, err = r.transports.LookupFixed(ctx, key)
		if found || err != nil {
			return value, found, err
		}
		dot := strings.IndexByte(key[1:], '.')
		if dot < 0 {
			break
		}
		key = key[1+dot:]
		if r.parent {
			key = key[1:]
		}
	}
	return "", false, nil
}

// apply changes transport and next hop as an entry of transport_maps says:
// ":" changes nothing, ":nexthop" the next hop only, and "transport:" resets
// the next hop to the recipient's domain.
func apply(value, domain string, res *rewrite.Resolved) {
	transport, nexthop, _ := strings.Cut(value, ":")
	switch {
	case transport == "" && nexthop == "":
		return
	case transport == "":
		res.Nexthop = nexthop
		return
	}
	res.Transport = transport
	switch {
	case nexthop != "":
		res.Nexthop = nexthop
	case transport == errorTransport || transport == retryTransport:
		res.Nexthop = "Address is undeliverable"
	default:
		res.Nexthop = domain
	}
}
