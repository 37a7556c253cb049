package table

import (
	"context"
	"fmt"
)

// Maps is the value of a parameter that is a list of tables; a lookup asks one
// after the other. A nil Maps has no tables.
type Maps struct {
	title string
	specs []string
	maps  []Table
	log   Logger
}

// Maps opens the tables that value, the value of the parameter title, names.
func (o *Opener) Maps(title, value string, f Flags) (*Maps, error) {
	m := &Maps{title: title, log: o.logger()}
	opener := o.With(f)
	for _, spec := range Tokens(value) {
		t, err := opener.Open(spec)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		m.specs = append(m.specs, spec)
		m.maps = append(m.maps, t)
	}
	return m, nil
}

// Title returns the parameter's name.
func (m *Maps) Title() string {
	if m == nil {
		return ""
	}
	return m.title
}

// Empty says that there is no table.
func (m *Maps) Empty() bool { return m == nil || len(m.maps) == 0 }

// Lookup returns the value in the first table that has key. An error of one
// table ends the search.
func (m *Maps) Lookup(ctx context.Context, key string) (string, bool, error) {
	return m.find(ctx, key, false)
}

// LookupFixed is Lookup for a partial key (a domain, a local part): pattern
// tables, which see whole keys only, are passed over.
func (m *Maps) LookupFixed(ctx context.Context, key string) (string, bool, error) {
	return m.find(ctx, key, true)
}

// LookupIn returns also which table ("type:name") answered or failed.
func (m *Maps) LookupIn(ctx context.Context, key string, fixed bool) (value, spec string, found bool, err error) {
	if m == nil || key == "" {
		return "", "", false, nil // Postfix: the empty key is in no table
	}
	for i, t := range m.maps {
		if fixed && KeysOf(t) == Pattern {
			continue
		}
		value, found, err := t.Lookup(ctx, key)
		if err != nil {
			m.log.Warningf("%s lookup error for \"%s\"", m.specs[i], printable(key))
			return "", m.specs[i], false, fmt.Errorf("%s: %w", m.title, err)
		}
		if !found {
			continue
		}
		if value == "" {
			m.log.Warningf("%s lookup of %s returns an empty string result", m.title, printable(key))
			m.log.Warningf("%s should return NO RESULT in case of NOT FOUND", m.title)
			return "", m.specs[i], false, fmt.Errorf("%s: %s: the result for %q is empty", m.title, m.specs[i], printable(key))
		}
		return value, m.specs[i], true, nil
	}
	return "", "", false, nil
}

func (m *Maps) find(ctx context.Context, key string, fixed bool) (string, bool, error) {
	value, _, found, err := m.LookupIn(ctx, key, fixed)
	return value, found, err
}

// printable shortens a key for a log line.
func printable(key string) string {
	const limit = 100
	if len(key) > limit {
		return key[:limit]
	}
	return key
}
