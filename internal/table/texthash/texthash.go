// Package texthash is tables in the source form of postmap, read into memory:
// they need no compilation.
package texthash

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"postern/internal/base/errno"
	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/source"
)

// Type returns the table type "texthash".
func Type() table.Type { return table.Type{Name: "texthash", Fold: true, Open: open} }

func open(path string, o *table.Opener) (table.Table, error) {
	t, err := table.OpenFile(path, o, func(f *os.File) (table.Table, error) {
		m, err := read(f, path, o)
		if err != nil {
			return nil, err
		}
		f.Close()
		return m, nil
	})
	if pe := (*os.PathError)(nil); errors.As(err, &pe) && pe.Op == "open" {
		err = fmt.Errorf("open database %s: %w", path, errno.LibC(pe.Err))
	}
	return t, err
}

// read collects the entries; the first one of a key counts, as in Postfix.
func read(r io.Reader, path string, o *table.Opener) (inline.Map, error) {
	lines := source.NewReader(r)
	lines.Warn = func(text string) { o.Warningf("%s: %s", path, text) }
	m := inline.Map{}
	for {
		l, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, errno.LibC(err))
		}
		if err := add(m, l.Text, o); err != nil {
			o.Warningf("%s, line %d: %v", path, l.First, err)
		}
	}
}

func add(m inline.Map, text string, o *table.Opener) error {
	if o.UTF8 && o.Flags&table.AnyOctets == 0 && !utf8.ValidString(text) {
		return fmt.Errorf("non-UTF-8 input \"%s\" -- ignoring this line", text)
	}
	key, value, warning, ok := source.Split(text)
	if !ok {
		return withHint(warning)
	}
	if o.Flags&table.ValueIsFile != 0 {
		v, err := source.FileValue(value)
		if err != nil {
			return fmt.Errorf("%w: skipping this entry", err)
		}
		value = v
	}
	folded := key
	if o.Flags&table.KeepCase == 0 {
		folded = table.Fold(key, o.UTF8)
	}
	if _, have := m[folded]; have {
		return fmt.Errorf("duplicate entry: %q", key)
	}
	m[folded] = value
	if warning != "" {
		return errors.New(string(warning))
	}
	return nil
}

func withHint(w source.Warning) error {
	const hint = " -- ignoring this line"
	return errors.New(strings.TrimSuffix(string(w), hint) + hint)
}
