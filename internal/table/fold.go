package table

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// opened is a table with what its user asked for, folded keys and UTF-8 only,
// and what holds for all.
type opened struct {
	Table
	spec string
	fold bool
	utf8 bool
	log  Logger
}

// wrap puts the common rules before t.
func (o *Opener) wrap(spec string, t Type, tab Table) Table {
	w := &opened{
		Table: tab,
		spec:  FileName(spec),
		fold:  t.Fold && o.Flags&KeepCase == 0,
		utf8:  o.UTF8 && o.Flags&AnyOctets == 0,
		log:   o.logger(),
	}
	return w
}

// Lookup folds and checks the key, and checks the value, which ends at a NUL as
// in Postfix: between services it would end there, too, and what follows would
// be read as something else.
func (t *opened) Lookup(ctx context.Context, key string) (string, bool, error) {
	if t.utf8 && !utf8.ValidString(key) {
		t.log.Warningf("%s: non-UTF-8 key \"%s\": malformed UTF-8 or invalid codepoint", t.spec, key)
		return "", false, nil // Postfix: such a key cannot be there
	}
	if t.fold {
		key = Fold(key, t.utf8)
	}
	value, found, err := t.Table.Lookup(ctx, key)
	value, _, _ = strings.Cut(value, "\x00")
	if found && t.utf8 && !utf8.ValidString(value) {
		t.log.Warningf("%s: key \"%s\": non-UTF-8 value \"%s\": ignoring this entry", t.spec, key, value)
		return "", false, fmt.Errorf("%s: key %q: value is not UTF-8", t.spec, key)
	}
	return value, found, err
}

// Keys passes on what the table says.
func (t *opened) Keys() Keys { return KeysOf(t.Table) }

// KeysOf returns the kind of keys that t takes.
func KeysOf(t Table) Keys {
	if k, ok := t.(Keyed); ok {
		return k.Keys()
	}
	return Fixed
}

// Base returns the table below the common rules: postmap needs its add-ons.
func Base(t Table) Table {
	if o, ok := t.(*opened); ok {
		return o.Table
	}
	return t
}

// Fold returns key in lower case: ASCII letters only, or with Unicode case
// folding where keys are UTF-8.
func Fold(key string, unicode bool) string {
	upper := false
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c >= utf8.RuneSelf && unicode {
			return cases.Fold().String(key)
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if !upper {
		return key
	}
	b := []byte(key)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
