// Package bdb is the tables "hash" and "btree": files of Berkeley DB 5.3, as
// Postfix and other programs of the host read and write them.
//
// A file is a sequence of pages. Page 0 says what the file is; a hash file has
// one chain of pages per bucket, a btree file a tree of sorted pages; what does
// not fit on a quarter of a page has overflow pages of its own. Files are read
// in place. They are written as a whole, in one go, and replace the old file.
package bdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"postern/internal/base/errno"
	"postern/internal/table"
	"postern/internal/table/pagefile"
)

// suffix is what postmap adds to the name of the source.
const suffix = ".db"

// Types returns the table types of this package.
func Types() []table.Type {
	return []table.Type{kind("hash", writeHash), kind("btree", writeBtree)}
}

func kind(name string, write format) table.Type {
	return table.Type{
		Name: name,
		Fold: true,
		Open: func(path string, o *table.Opener) (table.Table, error) {
			t, err := table.OpenFile(path+suffix, o, func(f *os.File) (table.Table, error) { return load(f, name, o.Flags) })
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = fmt.Errorf("open database %s: %w", pe.Path, errno.LibC(pe.Err))
			}
			return t, err
		},
		Create: func(path string, o *table.Opener) (table.Builder, error) {
			return table.CreateFile(path+suffix, path+suffix, o, encoder(o, write)), nil
		},
		Change: func(path string, o *table.Opener) (table.Changer, error) {
			return table.ChangeFile(path+suffix, path+suffix, o, loadAll, encoder(o, write))
		},
	}
}

// A format writes entries to a new file.
type format func(f *os.File, list []table.Entry, nul int) error

// encoder adds the trailing NUL that Postfix stores with keys and values on
// this system, unless the administrator says otherwise (postmap -n).
func encoder(o *table.Opener, write format) table.Encoder {
	nul := 1
	if o.Flags&table.KeyNoNUL != 0 {
		nul = 0
	}
	return func(t table.Target, list []table.Entry) error {
		return t.Replace(func(f *os.File) error { return write(f, list, nul) })
	}
}

func loadAll(f *os.File, e *table.Entries) error {
	t, err := newDatabase(f)
	if err != nil {
		return err
	}
	return t.Walk(context.Background(), e.Load)
}

// load opens the database in f for lookups. A file of the other kind is
// opened as what it is, as long as it is Berkeley DB.
func load(f *os.File, want string, flags table.Flags) (table.Table, error) {
	d, err := newDatabase(f)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", f.Name(), err)
	}
	if got := d.kindName(); got != want {
		return nil, fmt.Errorf("open database %s: the file is of type %s, not %s", f.Name(), got, want)
	}
	d.nul, d.plain = flags.NULs()
	return d, nil
}

// A database answers lookups in one file.
type database struct {
	file       *pagefile.File
	meta       meta
	nul, plain bool // keys with and without a trailing NUL are looked for
}

func newDatabase(f *os.File) (*database, error) {
	d := &database{}
	var err error
	d.file, err = pagefile.Open(f, metaSize, true, func(head []byte) (err error) {
		d.meta, err = parseMeta(head)
		return err
	})
	return d, err
}

func (d *database) kindName() string {
	if d.meta.hash {
		return "hash"
	}
	return "btree"
}

// Lookup returns the value of key, which may be stored with or without a
// trailing NUL where the flags of the table do not say how.
func (d *database) Lookup(_ context.Context, key string) (value string, found bool, err error) {
	err = d.file.Use(func() error {
		k := append(append(make([]byte, 0, 256), key...), 0)
		var v []byte
		var ok bool
		var err error
		if d.nul {
			v, ok, err = d.get(k)
		}
		if err == nil && !ok && d.plain {
			v, ok, err = d.get(k[:len(key)])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.file.Name(), err)
		}
		value, found = chop(v), ok
		return nil
	})
	return value, found, err
}

func (d *database) get(key []byte) ([]byte, bool, error) {
	if d.meta.hash {
		return d.hashGet(key)
	}
	return d.treeGet(key)
}

// Walk lists the entries in the order of the file.
func (d *database) Walk(_ context.Context, each func(key, value string) error) error {
	visit := func(key, value []byte) error { return each(chop(key), chop(value)) }
	return d.file.Use(func() error {
		if d.meta.hash {
			return d.hashWalk(visit)
		}
		return d.treeWalk(visit)
	})
}

// Close closes the file.
func (d *database) Close() error { return d.file.Close() }

// chop ends a text at its NUL.
func chop(b []byte) string {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

var errCorrupt = errors.New("the database is corrupt")

func corrupt(page uint32, what string) error {
	return fmt.Errorf("%w: page %d: %s", errCorrupt, page, what)
}

// OpenHash opens a hash file whose name has no ".db": another program's.
func OpenHash(path string, o *table.Opener) (table.Table, error) {
	return table.OpenFile(path, o, func(f *os.File) (table.Table, error) { return load(f, "hash", o.Flags) })
}
