// Package lmdb is tables in files of the Lightning Memory-Mapped Database,
// version 0.9, as Postfix writes them: one file ("name.lmdb") without a lock
// file of its own, guarded by fcntl locks.
//
// A file is pages of 4096 octets: two that say where the tree's root is (the
// newer one counts), branch and leaf pages of a B+tree, and runs of overflow
// pages for large values. Files are read in place and written as a whole.
package lmdb

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

const suffix = ".lmdb"

// Type returns the table type "lmdb".
func Type() table.Type {
	return table.Type{Name: "lmdb", Fold: true, Open: open, Create: create, Change: change}
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

func create(path string, o *table.Opener) (table.Builder, error) {
	return table.CreateFile(path+suffix, "lmdb:"+path, o, encoder(o)), nil
}

func change(path string, o *table.Opener) (table.Changer, error) {
	return table.ChangeFile(path+suffix, "lmdb:"+path, o, func(f *os.File, e *table.Entries) error {
		d, err := load(f)
		if err != nil {
			return err
		}
		return d.Walk(context.Background(), e.Load)
	}, encoder(o))
}

// Layout of a file.
const (
	magic      = 0xBEEFC0DE
	version    = 1
	metaSize   = 152
	headerSize = 16 // of a page: number (8), unused (2), flags (2), end of the index (2), start of the nodes (2)
	nodeSize   = 8  // of a node before its key: size or page (4), flags or page (2), length of the key (2)
	noPage     = ^uint64(0)

	branchFlag   = 0x01
	leafFlag     = 0x02
	overflowFlag = 0x04

	bigData = 0x01 // flag of a node whose value is on overflow pages
)

var le = binary.LittleEndian

var errCorrupt = errors.New("the database is corrupt")

// A database answers lookups in one file.
type database struct {
	file       *pagefile.File
	pageSize   int64
	nul, plain bool // keys with and without a trailing NUL are looked for
}

// A meta is what page 0 or 1 says.
type meta struct {
	root uint64
	txn  uint64
}

func load(f *os.File) (*database, error) {
	d := &database{}
	var err error
	d.file, err = pagefile.Open(f, headerSize+metaSize, true, d.checkHead)
	if err == nil {
		_, err = d.readMeta()
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", f.Name(), err)
	}
	return d, nil
}

func (d *database) checkHead(b []byte) error {
	if le.Uint32(b[16:]) != magic {
		return errors.New("not an LMDB file of this byte order")
	}
	if v := le.Uint32(b[20:]); v != version {
		return fmt.Errorf("unsupported version %d of the LMDB format", v)
	}
	d.pageSize = int64(le.Uint32(b[40:]))
	if d.pageSize < 512 || d.pageSize > 65536 || d.pageSize&(d.pageSize-1) != 0 {
		return errCorrupt
	}
	return nil
}

// readMeta takes the newer one of the first two pages. A file that is read
// in place changes under us, so this is done for each lookup.
func (d *database) readMeta() (newest meta, err error) {
	found := false
	for n := int64(0); n < 2; n++ {
		b, err := d.file.Slice(n*d.pageSize, headerSize+metaSize)
		if err != nil {
			return newest, err
		}
		if le.Uint32(b[16:]) != magic || le.Uint16(b[92:])&^0x08 != 0 {
			continue
		}
		m := meta{root: le.Uint64(b[128:]), txn: le.Uint64(b[144:])}
		if !found || m.txn > newest.txn {
			found, newest = true, m
		}
	}
	if !found {
		err = errors.New("unsupported kind of LMDB file")
	}
	return newest, err
}

// Lookup returns the value of key, which may be stored with or without a
// trailing NUL where the flags of the table do not say how.
func (d *database) Lookup(_ context.Context, key string) (value string, found bool, err error) {
	err = d.file.Use(func() error {
		m, err := d.readMeta()
		if err != nil {
			return err
		}
		k := append(append(make([]byte, 0, 256), key...), 0)
		var v []byte
		var ok bool
		if d.nul {
			v, ok, err = d.get(m.root, k)
		}
		if err == nil && !ok && d.plain {
			v, ok, err = d.get(m.root, k[:len(key)])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.file.Name(), err)
		}
		value, found = chop(v), ok
		return nil
	})
	return value, found, err
}

// Walk lists the entries sorted by key.
func (d *database) Walk(_ context.Context, each func(key, value string) error) error {
	return d.file.Use(func() error {
		m, err := d.readMeta()
		if err != nil || m.root == noPage {
			return err
		}
		budget := d.file.Size() / d.pageSize
		return d.walk(m.root, 0, &budget, func(k, v []byte) error { return each(chop(k), chop(v)) })
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

func corrupt(page uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", errCorrupt, page, what)
}

// A page is a branch or a leaf.
type page struct {
	b      []byte
	number uint64
}

func (d *database) page(n uint64) (page, error) {
	if n > uint64(d.file.Size()) {
		return page{}, corrupt(n, "no such page")
	}
	b, err := d.file.Slice(int64(n)*d.pageSize, d.pageSize)
	if errors.Is(err, pagefile.ErrShort) {
		err = corrupt(n, "no such page")
	}
	return page{b, n}, err
}

func (p page) flags() uint16 { return le.Uint16(p.b[10:]) }

func (p page) nodes() int {
	lower := int(le.Uint16(p.b[12:]))
	if lower < headerSize || lower > len(p.b) {
		return 0
	}
	return (lower - headerSize) / 2
}

// node returns node i from its header on, and its key.
func (p page) node(i int) (node, key []byte, err error) {
	off := int(le.Uint16(p.b[headerSize+2*i:]))
	if off < headerSize || off+nodeSize > len(p.b) {
		return nil, nil, corrupt(p.number, "node outside of the page")
	}
	node = p.b[off:]
	n := int(le.Uint16(node[6:]))
	if nodeSize+n > len(node) {
		return nil, nil, corrupt(p.number, "node outside of the page")
	}
	return node, node[nodeSize : nodeSize+n], nil
}

func childOf(node []byte) uint64 {
	return uint64(le.Uint32(node)) | uint64(le.Uint16(node[4:]))<<32
}

// value returns the value of a leaf's node.
func (d *database) value(p page, node, key []byte) ([]byte, error) {
	size := int64(le.Uint32(node))
	data := node[nodeSize+len(key):]
	switch flags := le.Uint16(node[4:]); {
	case flags == bigData:
		if len(data) < 8 {
			return nil, corrupt(p.number, "short reference")
		}
		n := le.Uint64(data)
		if n > uint64(d.file.Size()) {
			return nil, corrupt(p.number, "value beyond the end")
		}
		b, err := d.file.Slice(int64(n)*d.pageSize+headerSize, size)
		if errors.Is(err, pagefile.ErrShort) {
			err = corrupt(p.number, "value beyond the end")
		}
		return b, err
	case flags != 0:
		return nil, corrupt(p.number, "several values for one key are not supported")
	case size > int64(len(data)):
		return nil, corrupt(p.number, "value outside of the page")
	}
	return data[:size], nil
}

// maxDepth bounds the height of a tree.
const maxDepth = 64

func (d *database) get(root uint64, key []byte) ([]byte, bool, error) {
	n := root
	for depth := 0; n != noPage; depth++ {
		p, err := d.page(n)
		if err != nil {
			return nil, false, err
		}
		if depth > maxDepth || p.nodes() == 0 {
			return nil, false, corrupt(n, "bad page of the tree")
		}
		at, same, err := search(p, key)
		if err != nil {
			return nil, false, err
		}
		node, k, err := p.node(at)
		if err != nil {
			return nil, false, err
		}
		switch p.flags() {
		case branchFlag:
			n = childOf(node)
		case leafFlag:
			if !same {
				return nil, false, nil
			}
			value, err := d.value(p, node, k)
			return value, err == nil, err
		default:
			return nil, false, corrupt(n, "unknown kind of page")
		}
	}
	return nil, false, nil
}

// search returns the last node whose key is not above key, and whether it is
// key. The first key of a branch counts as smaller than all.
func search(p page, key []byte) (at int, same bool, err error) {
	lo, hi := 0, p.nodes()
	if p.flags() == branchFlag {
		lo = 1
	}
	for lo < hi {
		mid := (lo + hi) / 2
		_, k, err := p.node(mid)
		if err != nil {
			return 0, false, err
		}
		switch c := bytes.Compare(k, key); {
		case c == 0:
			return mid, true, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return max(lo-1, 0), false, nil
}

// walk visits the pages below n; budget is how many pages there can be.
func (d *database) walk(n uint64, depth int, budget *int64, each func(k, v []byte) error) error {
	p, err := d.page(n)
	if err != nil {
		return err
	}
	if *budget--; *budget < 0 || depth > maxDepth {
		return corrupt(n, "pages in a circle")
	}
	for i := range p.nodes() {
		node, key, err := p.node(i)
		if err != nil {
			return err
		}
		if p.flags() == branchFlag {
			err = d.walk(childOf(node), depth+1, budget, each)
		} else {
			var value []byte
			if value, err = d.value(p, node, key); err == nil {
				err = each(key, value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
