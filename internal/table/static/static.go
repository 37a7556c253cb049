// Package static is tables with one answer for every key: "static:value" and
// "static:{ value with spaces }".
package static

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/table"
	"postern/internal/table/source"
)

// Type returns the table type "static".
func Type() table.Type { return table.Type{Name: "static", Open: open} }

type static string

func open(name string, o *table.Opener) (table.Table, error) {
	if strings.HasPrefix(name, "{") {
		inner, err := table.Braced(name)
		if err != nil && !strings.HasPrefix(err.Error(), "syntax error") {
			err = fmt.Errorf("%w in %q", err, name)
		}
		if err != nil {
			return nil, fmt.Errorf("bad static:name syntax: %w", err)
		}
		name = inner
	}
	if o.Flags&table.ValueIsFile != 0 {
		var err error
		if name, err = source.FileValue(name); err != nil {
			return nil, err
		}
	}
	return static(name), nil
}

func (s static) Lookup(context.Context, string) (string, bool, error) { return string(s), true, nil }
func (s static) Close() error                                         { return nil }
