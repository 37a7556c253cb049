package dns

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// maxAliases is how many CNAME records one lookup follows (Postfix: 10).
const maxAliases = 10

// A Client is a Resolver that sends queries to servers. It caches nothing:
// that is the work of the resolver it asks.
type Client struct {
	// Warn is told of names in answers that cannot be used; nil for nobody.
	Warn func(format string, args ...any)

	conf Config
	next atomic.Uint32 // the server to begin with, when rotating
}

// NewClient returns a resolver that asks as c says.
func NewClient(c Config) *Client { return &Client{conf: c} }

// Lookup implements Resolver.
func (c *Client) Lookup(ctx context.Context, name string, t Type) Answer {
	name = trimDot(name)
	if name != "" && CheckName(name) != nil {
		return Answer{Class: NotFound, Name: name,
			Reason: fmt.Sprintf("Name service error for %s: invalid host or domain name", name)}
	}
	asked := name
	secure := true
	for range maxAliases {
		m, class := c.query(ctx, name, t)
		if m == nil {
			return failure(class, name, t, failureText(class))
		}
		a, alias := c.read(m, name, t)
		secure = secure && a.AD
		a.AD = secure
		if alias == "" {
			return a
		}
		name = alias
	}
	return Answer{Class: NotFound, Name: asked, Reason: fmt.Sprintf("dns_lookup: Name server loop for %s", asked)}
}

func failureText(class Class) string {
	if class == Retry {
		return tryAgain
	}
	return noRecovery
}

// query asks the servers in turn until one answers that there is something or
// that there is nothing. Without such an answer m is nil.
func (c *Client) query(ctx context.Context, name string, t Type) (m *wire.Msg, class Class) {
	first := uint32(0)
	if c.conf.Rotate {
		first = c.next.Add(1) - 1
	}
	n := uint32(len(c.conf.Servers))
	class = Retry
	for round := 0; round < c.conf.Attempts; round++ {
		for i := range n {
			if ctx.Err() != nil {
				return nil, Retry
			}
			reply, err := c.ask(ctx, c.conf.Servers[(first+i)%n], name, t)
			if err != nil {
				continue
			}
			switch reply.Rcode {
			case wire.RcodeSuccess, wire.RcodeNameError:
				return reply, OK
			case wire.RcodeServerFailure, wire.RcodeRefused, wire.RcodeNotImplemented:
				// Another server may do better.
			default:
				return nil, Fail
			}
		}
	}
	return nil, class
}

// ask sends one query to one server: over UDP, over TCP when the answer was
// cut, and without EDNS when the server does not understand it.
func (c *Client) ask(ctx context.Context, server, name string, t Type) (*wire.Msg, error) {
	q := new(wire.Msg)
	q.SetQuestion(wire.Fqdn(name), uint16(t))
	q.AuthenticatedData = true
	q.SetEdns0(udpSize, false)
	reply, err := c.exchange(ctx, server, q)
	if err == nil && (reply.Rcode == wire.RcodeFormatError || reply.Rcode == wire.RcodeNotImplemented) && reply.IsEdns0() == nil {
		q.Id = wire.Id()
		q.Extra = nil
		reply, err = c.exchange(ctx, server, q)
	}
	return reply, err
}

func (c *Client) exchange(ctx context.Context, server string, q *wire.Msg) (*wire.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.conf.Timeout)
	defer cancel()
	if !c.conf.UseTCP {
		reply, err := exchangeUDP(ctx, server, q)
		if err != nil || !reply.Truncated {
			return reply, err
		}
	}
	return exchangeTCP(ctx, server, q)
}

// read takes what was asked for out of a reply. When the reply ends in an
// alias whose records it does not hold, alias is the name to ask for next.
func (c *Client) read(m *wire.Msg, name string, t Type) (a Answer, alias string) {
	a = Answer{Name: name, AD: m.AuthenticatedData && c.conf.TrustAD}
	ttl, aliases := uint32(1<<31-1), 0
	if t != CNAME {
		for target, left := canonical(m, a.Name, &ttl); target != ""; target, left = canonical(m, a.Name, &ttl) {
			if aliases++; aliases > maxAliases || !left {
				a.Class, a.Reason = NotFound, fmt.Sprintf("dns_lookup: Name server loop for %s", name)
				return a, ""
			}
			a.Name = target
		}
	}
	class, seen := NotFound, false
	for _, rr := range m.Answer {
		if Type(rr.Header().Rrtype) != t || !sameName(rr.Header().Name, a.Name) {
			continue
		}
		seen = true
		r, rc := c.record(rr)
		switch {
		case rc == NullMX:
			a.Class, a.Records = NullMX, nil
			a.Reason = fmt.Sprintf("Domain %s does not accept mail (nullMX)", name)
			return a, ""
		case rc != OK:
			class = rc
		default:
			a.Records = append(a.Records, r)
			ttl = min(ttl, r.TTL)
		}
	}
	switch {
	case len(a.Records) > 0:
		a.TTL = time.Duration(ttl) * time.Second
		return a, ""
	case !seen && !sameName(a.Name, name) && m.Rcode == wire.RcodeSuccess && !authoritativeEnd(m):
		return a, a.Name
	}
	return c.negative(m, a, class, t), ""
}

// negative completes an answer without records.
func (c *Client) negative(m *wire.Msg, a Answer, class Class, t Type) Answer {
	f := Answer{Class: class, Name: a.Name, Reason: fmt.Sprintf(
		"Name service error for name=%s type=%s: Malformed or unexpected name server reply", a.Name, t)}
	if class == NotFound {
		text := noData
		if m.Rcode == wire.RcodeNameError {
			text = hostNotFound
		}
		f = failure(NotFound, a.Name, t, text)
	}
	f.AD = a.AD
	for _, rr := range m.Ns {
		if soa, ok := rr.(*wire.SOA); ok { // RFC 2308 section 5
			f.TTL = time.Duration(min(soa.Minttl, soa.Hdr.Ttl)) * time.Second
		}
	}
	return f
}

// authoritativeEnd says whether a reply that ends in an alias also says that
// the alias has no such records, so that asking again is useless.
func authoritativeEnd(m *wire.Msg) bool {
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == wire.TypeSOA {
			return true
		}
	}
	return false
}

// canonical returns the target of the alias that the reply has for name, or
// "". ok is false when the target is not a usable name.
func canonical(m *wire.Msg, name string, ttl *uint32) (target string, ok bool) {
	for _, rr := range m.Answer {
		if c, is := rr.(*wire.CNAME); is && sameName(c.Hdr.Name, name) {
			*ttl = min(*ttl, c.Hdr.Ttl)
			target = trimDot(c.Target)
			return target, CheckName(target) == nil
		}
	}
	return "", true
}

// record converts one record and checks its name.
func (c *Client) record(rr wire.RR) (Record, Class) {
	h := rr.Header()
	r := Record{Type: Type(h.Rrtype), Name: trimDot(h.Name), TTL: h.Ttl}
	switch v := rr.(type) {
	case *wire.A:
		r.Addr = addrOf(v.A)
	case *wire.AAAA:
		r.Addr = addrOf(v.AAAA)
	case *wire.MX:
		r.Pref, r.Host = v.Preference, trimDot(v.Mx)
		if r.Host == "" {
			return r, NullMX
		}
		return r, c.checkData(&r)
	case *wire.PTR:
		r.Host = trimDot(v.Ptr)
		return r, c.checkData(&r)
	case *wire.NS:
		r.Host = trimDot(v.Ns)
		return r, c.checkData(&r)
	case *wire.CNAME:
		r.Host = trimDot(v.Target)
		return r, c.checkData(&r)
	case *wire.SRV:
		r.Pref, r.Weight, r.Port, r.Host = v.Priority, v.Weight, v.Port, trimDot(v.Target)
		return r, c.checkData(&r)
	case *wire.SOA:
		r.Host = trimDot(v.Ns)
	case *wire.TXT:
		r.Text = text(v.Txt)
	case *wire.TLSA:
		r.Data = tlsaData(v)
	}
	if (r.Type == A || r.Type == AAAA) && !r.Addr.IsValid() {
		return r, Invalid
	}
	return r, OK
}

// checkData refuses a record whose data is not a usable name. A name that is
// an address passes with a warning (Postfix: valid_rr_name).
func (c *Client) checkData(r *Record) Class {
	gripe, class := "", OK
	if isAddress(r.Host) {
		gripe = "numeric domain name"
	} else if CheckName(r.Host) != nil {
		gripe, class = "malformed domain name", Invalid
	}
	if gripe != "" && c.Warn != nil {
		c.Warn("%s in resource data of %s record for %s: %.100s", gripe, r.Type, r.Name, r.Host)
	}
	return class
}
