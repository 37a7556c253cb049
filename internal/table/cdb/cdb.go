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
	"math"
	"os"
	"strings"

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
	t, err := table.OpenFile(path+suffix, o, func(f *os.File) (table.Table, error) { return load(f) })
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = fmt.Errorf("open database %s: %w", pe.Path, errno.LibC(pe.Err))
	}
	return t, err
}

type database struct {
	file *pagefile.File
	head [headerSize]byte
}

func load(f *os.File) (*database, error) {
	d := &database{}
	var err error
	d.file, err = pagefile.Open(f, headerSize, func(b []byte) error { copy(d.head[:], b); return nil })
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", f.Name(), err)
	}
	return d, nil
}

func hashOf(key []byte) uint32 {
	h := uint32(5381)
	for _, c := range key {
		h = h<<5 + h ^ uint32(c)
	}
	return h
}

// Lookup returns the value of key, which may be stored with or without a
// trailing NUL.
func (d *database) Lookup(_ context.Context, key string) (string, bool, error) {
	for _, k := range []string{key + "\x00", key} {
		value, found, err := d.get([]byte(k))
		if err != nil {
			return "", false, fmt.Errorf("%s: the database is corrupt: %w", d.file.Name(), err)
		}
		if found {
			return chop(value), true, nil
		}
	}
	return "", false, nil
}

func (d *database) get(key []byte) ([]byte, bool, error) {
	h := hashOf(key)
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
		if err != nil || bytes.Equal(k, key) {
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
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// encoder returns what writes a file, with a trailing NUL if the administrator
// asks for it (postmap -N).
func encoder(o *table.Opener) table.Encoder {
	nul := ""
	if o.Flags&table.KeyNUL != 0 {
		nul = "\x00"
	}
	return func(t table.Target, list []table.Entry) error {
		b, err := encode(list, nul)
		if err != nil {
			return fmt.Errorf("write %s: %w", t.Path, err)
		}
		return t.Replace(func(f *os.File) error {
			_, err := f.Write(b)
			return err
		})
	}
}

type slot struct{ hash, pos uint32 }

func encode(list []table.Entry, nul string) ([]byte, error) {
	b := make([]byte, headerSize)
	var tables [256][]slot
	for _, e := range list {
		k, v := e.Key+nul, e.Value+nul
		if len(b)+len(k)+len(v)+24 > math.MaxUint32 {
			return nil, errors.New("the table is too large for the format")
		}
		h := hashOf([]byte(k))
		tables[h&255] = append(tables[h&255], slot{h, uint32(len(b))})
		b = le.AppendUint32(b, uint32(len(k)))
		b = le.AppendUint32(b, uint32(len(v)))
		b = append(append(b, k...), v...)
	}
	if len(b)+16*len(list) > math.MaxUint32 {
		return nil, errors.New("the table is too large for the format")
	}
	for i, t := range tables {
		le.PutUint32(b[8*i:], uint32(len(b)))
		le.PutUint32(b[8*i+4:], uint32(2*len(t)))
		full := make([]slot, 2*len(t))
		for _, s := range t {
			n := s.hash >> 8 % uint32(len(full))
			for full[n].pos != 0 {
				n = (n + 1) % uint32(len(full))
			}
			full[n] = s
		}
		for _, s := range full {
			b = le.AppendUint32(le.AppendUint32(b, s.hash), s.pos)
		}
	}
	return b, nil
}
