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
	for _, l := range []struct {
		list  *matchlist.List
		class Class
	}{{k.alias, Alias}, {k.virtual, Virtual}, {k.relay, Relay}} {
		if ok, err := l.list.MatchDomain(ctx, domain); ok || err != nil {
			return l.class, err
		}
	}
	return Default, nil
}

// Local says whether domain is delivered by local_transport: it is in
// mydestination, or it is an address of this machine in brackets.
func (k *Classes) Local(ctx context.Context, domain string) (bool, error) {
	domain = strings.TrimSuffix(domain, ".")
	if ok, err := k.mydestination.MatchString(ctx, domain); ok || err != nil {
		return ok, err
	}
	return k.Own(domain), nil
}

// Own says whether domain is "[1.2.3.4]" or "[ipv6:…]" with an address of
// inet_interfaces or proxy_interfaces.
func (k *Classes) Own(domain string) bool {
	if len(domain) < 2 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return false
	}
	lit := domain[1 : len(domain)-1]
	if len(lit) > 5 && strings.EqualFold(lit[:5], "ipv6:") {
		lit = lit[5:]
	}
	a, err := netaddr.ParseAddr(lit)
	return err == nil && k.addrs[a]
}
