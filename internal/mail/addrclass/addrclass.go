// Package addrclass is the address class of a domain: who answers for it, and
// so which recipient table, transport and reply code apply.
//
// Postfix: ADDRESS_CLASS_README.
package addrclass

import (
	"context"
	"net/netip"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A Class is an address class.
type Class int

const (
	Default Class = iota // none of the others: mail for the rest of the world
	Local                // mydestination, or [address] of inet_interfaces and proxy_interfaces
	Alias                // virtual_alias_domains
	Virtual              // virtual_mailbox_domains
	Relay                // relay_domains
)

func (c Class) String() string {
	return [...]string{"default", "local", "virtual alias", "virtual mailbox", "relay"}[c]
}

// Config is the parameters that make the classes, expanded.
type Config struct {
	MyDestination                 string // mydestination
	RelayDomains                  string // relay_domains
	VirtualAliasDomains           string // virtual_alias_domains
	VirtualMailboxDomains         string // virtual_mailbox_domains
	ParentDomainMatchesSubdomains string
	OwnAddresses                  []netip.Addr // inet_interfaces
	ProxyAddresses                []netip.Addr // proxy_interfaces
}

// Classes decides about domains.
type Classes struct {
	mydestination *matchlist.List
	relay         *matchlist.List
	alias         *matchlist.List
	virtual       *matchlist.List
	addrs         map[netip.Addr]bool
}

// New opens the lists of c.
func New(c Config, o *table.Opener) (*Classes, error) {
	k := &Classes{addrs: map[netip.Addr]bool{}}
	var err error
	open := func(title, value string) *matchlist.List {
		if err != nil {
			return nil
		}
		var l *matchlist.List
		l, err = matchlist.New(title, value, o, matchlist.ParentStyle(title, c.ParentDomainMatchesSubdomains))
		return l
	}
	k.mydestination = open("mydestination", c.MyDestination)
	k.relay = open("relay_domains", c.RelayDomains)
	k.alias = open("virtual_alias_domains", c.VirtualAliasDomains)
	k.virtual = open("virtual_mailbox_domains", c.VirtualMailboxDomains)
	for _, a := range append(append([]netip.Addr{}, c.OwnAddresses...), c.ProxyAddresses...) {
		k.addrs[a.Unmap()] = true
	}
	return k, err
}

// Of returns the class of domain. An error is a table that could not be asked.
func (k *Classes) Of(ctx context.Context, domain string) (Class, error) {
	if ok, err := k.Local(ctx, domain); ok || err != nil {
		return Local, err
	}
	return k.Foreign(ctx, domain)
}

// Foreign is Of for a domain that is known not to be local.
func (k *Classes) Foreign(ctx context.Context, domain string) (Class, error) {
	if ok, err := k.alias.MatchString(ctx, domain); err != nil {
		return Alias, &ListError{"virtual_alias_domains", err}
	} else if ok {
		return Alias, nil
	}
	if ok, err := k.virtual.MatchString(ctx, domain); err != nil {
		return Virtual, &ListError{"virtual_mailbox_domains", err}
	} else if ok {
		return Virtual, nil
	}
	if ok, err := k.relay.MatchDomain(ctx, domain); err != nil {
		return Relay, &ListError{"relay_domains", err}
	} else if ok {
		return Relay, nil
	}
	return Default, nil
}

// Local says whether domain is delivered by local_transport: it is in
// mydestination, or it is an address of this machine in brackets.
func (k *Classes) Local(ctx context.Context, domain string) (bool, error) {
	domain = strings.TrimSuffix(domain, ".")
	if ok, err := k.mydestination.MatchString(ctx, domain); err != nil {
		return false, &ListError{"mydestination", err}
	} else if ok {
		return true, nil
	}
	return k.Own(domain), nil
}

// Own says whether domain is "[1.2.3.4]" or "[ipv6:…]" with an address of
// inet_interfaces or proxy_interfaces.
func (k *Classes) Own(domain string) bool {
	a, ok := netaddr.Literal(domain)
	return ok && k.addrs[a]
}

// Overlap returns the lists, besides that of class, that have domain too: a
// mistake that makes one of them useless.
func (k *Classes) Overlap(ctx context.Context, domain string, class Class) []string {
	var out []string
	if ok, _ := k.alias.MatchString(ctx, domain); ok && class == Local {
		out = append(out, "virtual_alias_domains")
	}
	if ok, _ := k.virtual.MatchString(ctx, domain); ok && (class == Local || class == Alias) {
		out = append(out, "virtual_mailbox_domains")
	}
	if ok, _ := k.relay.MatchDomain(ctx, domain); ok && (class == Alias || class == Virtual) {
		out = append(out, "relay_domains")
	}
	return out
}

// A ListError is a class's list that could not be asked.
type ListError struct {
	List string // the parameter's name
	Err  error
}

func (e *ListError) Error() string { return e.List + " lookup failure: " + e.Err.Error() }
func (e *ListError) Unwrap() error { return e.Err }
