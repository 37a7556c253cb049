package addrmap

import (
	"context"
	"strings"

	"postern/internal/mail/address"
)

// A Masquerade strips the host part off the domains of addresses: with
// "example.com", user@host.example.com becomes user@example.com.
type Masquerade struct {
	domains []masqueraded
	except  func(ctx context.Context, local string) (bool, error)
}

type masqueraded struct {
	domain string
	strip  bool
}

// NewMasquerade takes masquerade_domains, in the order given ("!domain"
// protects a domain and what is below it), and a test for the local parts of
// masquerade_exceptions, which may be nil.
func NewMasquerade(domains []string, except func(context.Context, string) (bool, error)) *Masquerade {
	q := &Masquerade{except: except}
	for _, d := range domains {
		strip := true
		for strings.HasPrefix(d, "!") {
			d, strip = d[1:], !strip
		}
		if d != "" {
			q.domains = append(q.domains, masqueraded{strings.ToLower(d), strip})
		}
	}
	return q
}

// Empty says that nothing is masqueraded.
func (q *Masquerade) Empty() bool { return q == nil || len(q.domains) == 0 }

// Apply returns the masqueraded form of addr, which is addr in most cases.
func (q *Masquerade) Apply(ctx context.Context, addr string) (string, error) {
	local, domain := address.Split(addr)
	if q.Empty() || domain == "" {
		return addr, nil
	}
	if q.except != nil {
		excepted, err := q.except(ctx, strings.ToLower(local))
		if excepted || err != nil {
			return addr, err
		}
	}
	folded := strings.ToLower(domain)
	for _, m := range q.domains {
		switch {
		case folded == m.domain:
			return addr, nil
		case strings.HasSuffix(folded, "."+m.domain):
			if m.strip {
				return local + "@" + m.domain, nil
			}
			return addr, nil
		}
	}
	return addr, nil
}
