package dns

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"strings"
)

// A Native looks up names and addresses as the host's own library does: in the
// hosts file, then in the domain name system (Postfix: host lookup "native",
// and the names of SMTP clients).
type Native struct {
	Hosts string // path of the hosts file; "" for none
	DNS   Resolver
}

// Host returns the addresses of a name, those of the types asked for. The
// hosts file is read each time, so that a change counts at once.
func (n *Native) Host(ctx context.Context, name string, types ...Type) Answer {
	a := Answer{Name: name}
	n.each(func(addr netip.Addr, names []string) {
		for _, h := range names {
			if !strings.EqualFold(strings.TrimSuffix(h, "."), strings.TrimSuffix(name, ".")) {
				continue
			}
			for _, t := range types {
				if (t == A) == addr.Is4() {
					a.Records = append(a.Records, Record{Type: t, Name: name, Addr: addr})
				}
			}
			return
		}
	})
	if len(a.Records) > 0 {
		return a
	}
	return Addresses(ctx, n.DNS, name, types...)
}

// Addr returns the names of an address as PTR records.
func (n *Native) Addr(ctx context.Context, addr netip.Addr) Answer {
	addr = addr.Unmap()
	a := Answer{Name: ReverseName(addr)}
	n.each(func(file netip.Addr, names []string) {
		if file == addr && len(names) > 0 {
			a.Records = append(a.Records, Record{Type: PTR, Name: a.Name, Host: names[0]})
		}
	})
	if len(a.Records) > 0 {
		a.Records = a.Records[:1]
		return a
	}
	return Reverse(ctx, n.DNS, addr)
}

// each calls f for every line of the hosts file.
func (n *Native) each(f func(addr netip.Addr, names []string)) {
	if n.Hosts == "" {
		return
	}
	file, err := os.Open(n.Hosts)
	if err != nil {
		return
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		f(addr.Unmap(), words[1:])
	}
}

// LookupText is what the host's library says of an answer without records
// (gai_strerror); logs of client names end with it.
func LookupText(a *Answer) string {
	switch {
	case a.Class == Retry:
		return "Temporary failure in name resolution"
	case a.Class == NotFound && a.NoData:
		return "No address associated with hostname"
	case a.Class == NotFound:
		return "Name or service not known"
	}
	return "Non-recoverable failure in name resolution"
}
