// Package combine is tables made of tables: pipemap (the result of one is the
// key of the next), unionmap (all results together), randmap (one of several
// values by chance), and debug (another table, each of whose answers is logged).
package combine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"postern/internal/table"
	"postern/internal/table/source"
)

// Types returns the table types of this package.
func Types() []table.Type {
	return []table.Type{
		{Name: "pipemap", Open: func(name string, o *table.Opener) (table.Table, error) {
			t, err := members("pipemap", name, o)
			return pipe(t), err
		}},
		{Name: "unionmap", Open: func(name string, o *table.Opener) (table.Table, error) {
			t, err := members("unionmap", name, o)
			return union(t), err
		}},
		{Name: "randmap", Open: openRandom},
		{Name: "debug", Open: openDebug},
	}
}

// members opens the tables of "{type:name, …}".
func members(kind, name string, o *table.Opener) ([]table.Table, error) {
	body, err := table.Braced(name)
	if err != nil {
		return nil, syntax(kind, "type:name...", name, err)
	}
	var out []table.Table
	for _, spec := range table.Tokens(body) {
		if _, _, err := table.SplitSpec(spec); err != nil {
			return nil, syntax(kind, "type:name...", name, err)
		}
		t, err := o.Open(spec)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, syntax(kind, "type:name...", name, errors.New("no tables"))
	}
	return out, nil
}

func syntax(kind, form, name string, err error) error {
	return fmt.Errorf("bad syntax: \"%s:%s\"; need \"%s:{%s}\": %w", kind, name, kind, form, err)
}

func keysOf(tables []table.Table) table.Keys {
	for _, t := range tables {
		if table.KeysOf(t) == table.Fixed {
			return table.Fixed
		}
	}
	return table.Pattern
}

type pipe []table.Table

// Lookup passes key through all tables; one that does not have its key ends
// the search.
func (p pipe) Lookup(ctx context.Context, key string) (string, bool, error) {
	for _, t := range p {
		value, found, err := t.Lookup(ctx, key)
		if err != nil || !found {
			return "", false, err
		}
		key = value
	}
	return key, true, nil
}

func (p pipe) Keys() table.Keys { return keysOf(p) }
func (p pipe) Close() error     { return nil }

type union []table.Table

// Lookup returns the results of all tables that have key, joined with commas.
func (u union) Lookup(ctx context.Context, key string) (string, bool, error) {
	var all []string
	for _, t := range u {
		value, found, err := t.Lookup(ctx, key)
		if err != nil {
			return "", false, err
		}
		if found {
			all = append(all, value)
		}
	}
	return strings.Join(all, ","), len(all) > 0, nil
}

func (u union) Keys() table.Keys { return keysOf(u) }
func (u union) Close() error     { return nil }

type random []string

func openRandom(name string, o *table.Opener) (table.Table, error) {
	body, err := table.Braced(name)
	if err != nil {
		return nil, syntax("randmap", "value...", name, err)
	}
	var r random
	for _, tok := range table.Tokens(body) {
		if o.Flags&table.ValueIsFile != 0 {
			if tok, err = source.FileValue(tok); err != nil {
				return nil, err
			}
		}
		r = append(r, tok)
	}
	if len(r) == 0 {
		return nil, syntax("randmap", "value...", name, errors.New("no values"))
	}
	return r, nil
}

// Lookup returns one of the values, each with the same chance.
func (r random) Lookup(context.Context, string) (string, bool, error) {
	return r[rand.IntN(len(r))], true, nil
}

func (r random) Keys() table.Keys { return table.Pattern }
func (r random) Close() error     { return nil }
