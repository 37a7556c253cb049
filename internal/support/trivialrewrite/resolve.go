package trivialrewrite

import (
	"context"
	"errors"
	"strings"

	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrclass"
)

// Names of the transports whose next hop is a text.
const (
	errorTransport = "error"
	retryTransport = "retry"
)

// Resolve says how mail from sender to addr is delivered, both in internal
// form. What fails for now has the flag Fail.
func (s *Server) Resolve(ctx context.Context, r *router, sender, addr string) rewrite.Resolved {
	// Postfix sends these words when it has no answer.
	res := rewrite.Resolved{
		Transport: "CHANNEL NOT UPDATED",
		Nexthop:   "NEXTHOP NOT UPDATED",
		Recipient: "NEXTRCPT NOT UPDATED",
	}
	d, err := s.destination(ctx, addr)
	if err != nil {
		s.warn(err)
		res.Flags |= rewrite.Fail
		return res
	}
	res.Recipient = d.recipient
	if d.bad {
		res.Flags |= rewrite.Error | rewrite.ClassDefault
		return res
	}
	if d.routed {
		res.Flags |= rewrite.Routed
	}
	if err := s.route(ctx, r, sender, d, &res); err != nil {
		s.warn(err)
		res.Flags |= rewrite.Fail
		return res
	}
	// A recipient that looks like an option of a command must not get as far
	// as one.
	if !s.config.AllowMinUser && strings.HasPrefix(res.Recipient, "-") {
		res.Flags |= rewrite.Error
	}
	return res
}

func (s *Server) warn(err error) {
	var list *addrclass.ListError
	if errors.As(err, &list) {
		s.log.Warningf("%s lookup failure", list.List)
		return
	}
	s.log.Warningf("%v", err)
}

// route chooses transport and next hop: by the address class, by
// transport_maps, and for those who have moved.
func (s *Server) route(ctx context.Context, r *router, sender string, d destination, res *rewrite.Resolved) error {
	class := addrclass.Local
	if !d.local {
		var err error
		if class, err = s.classes.Foreign(ctx, d.domain); err != nil {
			return err
		}
	}
	if s.config.HelpfulWarnings {
		s.nag(ctx, d.domain, class)
	}
	param, err := r.byClass(ctx, class, sender, d.domain, res)
	if err != nil {
		return err
	}
	// An explicit transport:nexthop in main.cf has the last word on the next hop.
	transport, nexthop, _ := strings.Cut(res.Transport, ":")
	if class != addrclass.Alias {
		res.Transport = transport
		if nexthop != "" {
			res.Nexthop = nexthop
		}
	}
	if res.Transport == "" {
		return errors.New("parameter " + param + ": null transport is not allowed")
	}
	if class != addrclass.Alias {
		if err := r.override(ctx, d, res); err != nil {
			return err
		}
	}
	return s.moved(ctx, res)
}

// nag complains about a domain in two lists.
func (s *Server) nag(ctx context.Context, domain string, class addrclass.Class) {
	first := map[addrclass.Class]string{
		addrclass.Local:   "mydestination",
		addrclass.Alias:   "virtual_alias_domains",
		addrclass.Virtual: "virtual_mailbox_domains",
	}[class]
	if first == "" {
		return
	}
	for _, other := range s.classes.Overlap(ctx, domain, class) {
		s.log.Warningf("do not list domain %s in BOTH %s and %s", domain, first, other)
	}
}

// moved sends mail for recipients in relocated_maps back.
func (s *Server) moved(ctx context.Context, res *rewrite.Resolved) error {
	where, found, err := s.find.find(ctx, s.relocated, res.Recipient)
	if err != nil {
		return errors.New("relocated_maps lookup failure")
	}
	if !found {
		return nil
	}
	res.Transport = errorTransport
	res.Nexthop = where
	if s.config.RelocatedPrefixEnable {
		res.Nexthop = "5.1.6 User has moved to " + where
	}
	return nil
}
