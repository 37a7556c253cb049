package matchlist

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/table"
)

// Match looks for a host by name and address. An empty addr or host is not
// compared. (Postfix: namadr_list; mynetworks, client lists.)
func (l *List) Match(ctx context.Context, host, addr string) (bool, error) {
	host = table.Fold(host, true)
	addr = table.Fold(addr, false)
	return l.walk(func(it *item) (bool, error) {
		if host != "" {
			if ok, err := l.domain(ctx, it, host); ok || err != nil {
				return ok, err
			}
		}
		if addr == "" {
			return false, nil
		}
		return l.address(ctx, it, addr)
	})
}

// MatchDomain looks for a domain. (Postfix: domain_list; mydestination,
// relay_domains.)
func (l *List) MatchDomain(ctx context.Context, domain string) (bool, error) {
	domain = table.Fold(domain, true)
	if domain == "" {
		return false, nil
	}
	return l.walk(func(it *item) (bool, error) { return l.domain(ctx, it, domain) })
}

// MatchAddress looks for an address. (Postfix: addr_match_list.)
func (l *List) MatchAddress(ctx context.Context, addr string) (bool, error) {
	return l.Match(ctx, "", addr)
}

// MatchString looks for a word. (Postfix: string_list.)
func (l *List) MatchString(ctx context.Context, word string) (bool, error) {
	word = table.Fold(word, true)
	return l.walk(func(it *item) (bool, error) {
		if it.tab == nil {
			return it.pattern == word, nil
		}
		return l.lookup(ctx, it, word)
	})
}

// Empty says that the list has no items.
func (l *List) Empty() bool { return l == nil || len(l.items) == 0 }

// Networks returns the items that are plain patterns, for those who print them.
func (l *List) Networks() []string {
	var out []string
	for _, it := range l.items {
		if it.tab == nil && !it.negate {
			out = append(out, it.pattern)
		}
	}
	return out
}

func (l *List) walk(match func(*item) (bool, error)) (bool, error) {
	if l == nil {
		return false, nil
	}
	for i := range l.items {
		it := &l.items[i]
		ok, err := match(it)
		if err != nil {
			return false, fmt.Errorf("%s: %w", l.title, err)
		}
		if ok {
			return !it.negate, nil
		}
	}
	return false, nil
}

func (l *List) lookup(ctx context.Context, it *item, key string) (bool, error) {
	_, found, err := it.tab.Lookup(ctx, key)
	if err != nil {
		l.warn("%s: %s: table lookup problem", l.title, it.spec)
		return false, fmt.Errorf("%s: table lookup problem: %w", it.spec, err)
	}
	return found, nil
}

func (l *List) warn(format string, args ...any) {
	if l.log != nil {
		l.log.Warningf(format, args...)
	}
}

// domain compares name with one item: as it is, and its parents where the
// item asks for them.
func (l *List) domain(ctx context.Context, it *item, name string) (bool, error) {
	if it.tab != nil {
		return l.domainTable(ctx, it, name)
	}
	p := it.pattern
	if name == p {
		return true, nil
	}
	if l.flags&Parent != 0 {
		return len(name) > len(p) && strings.HasSuffix(name, p) && name[len(name)-len(p)-1] == '.', nil
	}
	return p[0] == '.' && len(name) > len(p) && strings.HasSuffix(name, p), nil
}

func (l *List) domainTable(ctx context.Context, it *item, name string) (bool, error) {
	partial := table.KeysOf(it.tab) == table.Fixed
	for key := name; key != ""; {
		if key == name || partial {
			if ok, err := l.lookup(ctx, it, key); ok || err != nil {
				return ok, err
			}
		}
		dot := strings.IndexByte(key[1:], '.')
		if dot < 0 {
			break
		}
		key = key[1+dot:]
		if l.flags&Parent != 0 {
			key = key[1:]
		}
	}
	return false, nil
}

// address compares an address with one item.
func (l *List) address(ctx context.Context, it *item, addr string) (bool, error) {
	if it.tab != nil {
		return l.lookup(ctx, it, addr)
	}
	p := it.pattern
	if addr == p {
		return true, nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(p, "["), "]")
	if addr == bare {
		return true, nil
	}
	// What cannot be an address of this family, or is a domain name, is passed over.
	if strings.Contains(addr, ":") != strings.Contains(p, ":") ||
		!strings.ContainsAny(p, ":/") ||
		strings.Trim(p, "0123456789abcdef.:[]/") != "" {
		return false, nil
	}
	net, err := netaddr.ParsePattern(p)
	if err != nil {
		l.warn("%s: %v", l.title, err)
		return false, err
	}
	a, err := netaddr.ParseAddr(addr)
	if err != nil {
		return false, nil
	}
	return net.Contains(a), nil
}
