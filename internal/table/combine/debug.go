package combine

import (
	"context"
	"fmt"

	"postern/internal/table"
)

// A debugged table logs what the table in it is asked and answers.
//
// Postfix: the type "debug" of 3.11, "debug:type:name".
type debugged struct {
	table.Table
	spec string
	log  table.Logger
}

func openDebug(spec string, o *table.Opener) (table.Table, error) {
	if _, _, err := table.SplitSpec(spec); err != nil {
		return nil, fmt.Errorf("bad syntax: \"debug:%s\"; need \"debug:type:name\": %w", spec, err)
	}
	t, err := o.Open(spec)
	if err != nil || o.Log == nil {
		return t, err
	}
	return &debugged{t, spec, o.Log}, nil
}

// Lookup asks the table and logs the outcome.
func (d *debugged) Lookup(ctx context.Context, key string) (string, bool, error) {
	value, found, err := d.Table.Lookup(ctx, key)
	switch {
	case err != nil:
		d.log.Infof("%s lookup: %q: error: %v", d.spec, key, err)
	case found:
		d.log.Infof("%s lookup: %q: found: %q", d.spec, key, value)
	default:
		d.log.Infof("%s lookup: %q: not found", d.spec, key)
	}
	return value, found, err
}

// Keys is what the table says.
func (d *debugged) Keys() table.Keys { return table.KeysOf(d.Table) }

// Close leaves the table to its opener.
func (d *debugged) Close() error { return nil }
