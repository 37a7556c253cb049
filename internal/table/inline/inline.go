// Package inline is tables whose entries stand in the configuration itself:
// "inline:{ key=value, { key = value with spaces } }".
package inline

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"postern/internal/table"
	"postern/internal/table/source"
)

// Type returns the table type "inline".
func Type() table.Type { return table.Type{Name: "inline", Fold: true, Open: open} }

// A Map is a table in memory.
type Map map[string]string

func open(name string, o *table.Opener) (table.Table, error) {
	m, err := parse(name, o)
	if err != nil {
		form := "value"
		if o.Flags&table.ValueIsFile != 0 {
			form = "filename"
		}
		return nil, fmt.Errorf("%w: \"inline:%s\"; need \"inline:{name=%s...}\"", err, name, form)
	}
	return m, nil
}

func parse(name string, o *table.Opener) (Map, error) {
	body, err := table.Braced(name)
	if err != nil || name == "{}" {
		return nil, errors.New("bad syntax")
	}
	m := Map{}
	for _, tok := range table.Tokens(body) {
		key, value, err := table.Pair(tok)
		if err != nil {
			return nil, err
		}
		if o.Flags&table.KeepCase == 0 {
			key = table.Fold(key, o.UTF8)
		}
		if o.Flags&table.ValueIsFile != 0 {
			if value, err = source.FileValue(value); err != nil {
				return nil, err
			}
		}
		m[key] = value // Postfix: the last one counts
	}
	if len(m) == 0 {
		return nil, errors.New("empty table")
	}
	return m, nil
}

// Lookup returns the value of key.
func (m Map) Lookup(_ context.Context, key string) (string, bool, error) {
	v, ok := m[key]
	return v, ok, nil
}

// Walk lists the entries sorted by key.
func (m Map) Walk(_ context.Context, each func(key, value string) error) error {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if err := each(k, m[k]); err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing.
func (m Map) Close() error { return nil }
