package trivialrewrite

import (
	"context"
	"strings"

	"postern/internal/mail/addrclass"
	"postern/internal/mail/address"
	"postern/internal/table"
)

// A finder looks an address up in the forms of canonical(5): whole, without
// extension, the local part alone if the domain is ours, and @domain.
type finder struct {
	classes    *addrclass.Classes
	myorigin   string
	extensions address.Extensions
}

func (f *finder) find(ctx context.Context, m *table.Maps, addr string) (string, bool, error) {
	if m.Empty() {
		return "", false, nil
	}
	value, found, err := m.Lookup(ctx, addr)
	if found || err != nil {
		return value, found, err
	}
	stripped, ext, extended := f.extensions.Strip(addr)
	local, domain := address.Split(addr)
	var keys []string
	if extended {
		keys = append(keys, stripped)
	}
	if domain != "" {
		ours := strings.EqualFold(domain, f.myorigin)
		if !ours {
			if ours, err = f.classes.Local(ctx, domain); err != nil {
				return "", false, err
			}
		}
		if ours {
			keys = append(keys, local)
			if extended {
				keys = append(keys, strings.TrimSuffix(local, ext))
			}
		}
		keys = append(keys, "@"+domain)
	}
	for _, key := range keys {
		value, found, err = m.LookupFixed(ctx, key)
		if found || err != nil {
			return value, found, err
		}
	}
	return "", false, nil
}
