// Package cdb is tables in constant database files ("name.cdb", D. J.
// Bernstein's format): 256 hash tables at the end of a list of records. A file
// is never changed, only replaced.
package cdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"postern/internal/base/errno"
	"postern/internal/table"
	"postern/internal/table/pagefile"
)

const (
	suffix     = ".cdb"
	headerSize = 256 * 8 // where each hash table is and how many slots it has
)

var le = binary.LittleEndian

// Type returns the table type "cdb".
func Type() table.Type {
	return table.Type{
		Name: "cdb",
		Fold: true,
		Open: open,
		Create: func(path string, o *table.Opener) (table.Builder, error) {
			f := table.CreateFile(path+suffix, path, o, encoder(o))
			f.Fresh = true // Postfix: the other formats are overwritten, this one is replaced
			return f, nil
		},
		Change: func(path string, o *table.Opener) (table.Changer, error) {
			return table.ChangeFile(path+suffix, path, o, func(f *os.File, e *table.Entries) error {
				d, err := load(f)
				if err != nil {
					return err
				}
				return d.Walk(context.Background(), e.Load)
			}, encoder(o))
		},
	}
}

func open(path string, o *table.Opener) (table.Table, error) {
	t, err := table.OpenFile(path+suffix, o, func(f *os.File) (table.Table, error) {
		d, err := load(f)
		if err != nil {
			return nil, err
		}
		d.nul, d.plain = o.Flags.NULs()
		return d, nil
	})
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = fmt.Errorf("open database %s: %w", pe.Path, errno.LibC(pe.Err))
	}
	return t, err
}

type database struct {
	file       *pagefile.File
	head       [headerSize]byte
	nul, plain bool // keys with and without a trailing NUL are looked for
}

func load(f *os.File) (*database, error) {
	d := &database{}
	var err error
	d.file, err = pagefile.Open(f, headerSize, false, func(b []byte) error { copy(d.head[:], b); return nil })
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", f.Name(), err)
	}
	return d, nil
}

func hashOf(key string) uint32 {
	h := uint32(5381)
	for i := range len(key) {
		h = next(h, key[i])
	}
	return h
}

func next(h uint32, c byte) uint32 { return h<<5 + h ^ uint32(c) }

// Lookup returns the value of key, which may be stored with or without a
// trailing NUL where the flags of the table do not say how.
func (d *database) Lookup(_ context.Context, key string) (value string, found bool, err error) {
	err = d.file.Use(func() error {
		h := hashOf(key)
		var v []byte
		var ok bool
		var err error
		if d.plain {
			v, ok, err = d.get(key, h, false)
		}
		if err == nil && !ok && d.nul {
			v, ok, err = d.get(key, next(h, 0), true)
		}
		if err != nil {
			return fmt.Errorf("%s: the database is corrupt: %w", d.file.Name(), err)
		}
		value, found = chop(v), ok
		return nil
	})
	return value, found, err
}

// get looks for key, or for key with a NUL.
func (d *database) get(key string, h uint32, nul bool) ([]byte, bool, error) {
	at, slots := d.table(int(h & 255))
	for i := range slots {
		slot := (h>>8 + i) % slots
		b, err := d.file.Slice(int64(at)+8*int64(slot), 8)
		if err != nil {
			return nil, false, err
		}
		pos := le.Uint32(b[4:])
		if pos == 0 {
			return nil, false, nil
		}
		if le.Uint32(b) != h {
			continue
		}
		k, v, _, err := d.record(int64(pos))
		if nul && err == nil && len(k) > 0 && k[len(k)-1] == 0 {
			k = k[:len(k)-1]
		} else if nul {
			k = nil
		}
		if err != nil || len(k) == len(key) && string(k) == key {
			return v, err == nil, err
		}
	}
	return nil, false, nil
}

func (d *database) table(i int) (at, slots uint32) {
	return le.Uint32(d.head[8*i:]), le.Uint32(d.head[8*i+4:])
}

// record returns the record at pos and where the next one is.
func (d *database) record(pos int64) (key, value []byte, next int64, err error) {
	b, err := d.file.Slice(pos, 8)
	if err != nil {
		return nil, nil, 0, err
	}
	nk, nv := int64(le.Uint32(b)), int64(le.Uint32(b[4:]))
	if key, err = d.file.Slice(pos+8, nk); err != nil {
		return nil, nil, 0, err
	}
	value, err = d.file.Slice(pos+8+nk, nv)
	return key, value, pos + 8 + nk + nv, err
}

// Walk lists the entries in the order of the file.
func (d *database) Walk(_ context.Context, each func(key, value string) error) error {
	return d.file.Use(func() error { return d.walk(each) })
}

func (d *database) walk(each func(key, value string) error) error {
	end := d.file.Size()
	for i := range 256 {
		if at, slots := d.table(i); slots > 0 {
			end = min(end, int64(at))
		}
	}
	if at, _ := d.table(0); int64(at) < end {
		end = int64(at)
	}
	for pos := int64(headerSize); pos < end; {
		k, v, next, err := d.record(pos)
		if err != nil {
			return fmt.Errorf("%s: the database is corrupt: %w", d.file.Name(), err)
		}
		if err := each(chop(k), chop(v)); err != nil {
			return err
		}
		pos = next
	}
	return nil
}

// Close closes the file.
func (d *database) Close() error { return d.file.Close() }

func chop(b []byte) string {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}
