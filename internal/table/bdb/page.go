package bdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"postern/internal/table/pagefile"
)

// Kinds of pages (Berkeley DB: dbinc/db_page.h).
const (
	pageHashUnsorted = 2
	pageInternal     = 3
	pageLeaf         = 5
	pageOverflow     = 7
	pageHashMeta     = 8
	pageBtreeMeta    = 9
	pageHash         = 13
)

const (
	hashMagic  = 0x061561
	btreeMagic = 0x053162
	metaSize   = 512
	headerSize = 26 // of a page without checksum: log position, number, previous, next, entries, free space, level, kind
)

// A meta is what page 0 says.
type meta struct {
	order    binary.ByteOrder
	big      bool // the byte order is not this machine's
	hash     bool
	pageSize int

	maxBucket, highMask, lowMask uint32
	spares                       [32]uint32

	root uint32
}

func parseMeta(b []byte) (meta, error) {
	var m meta
	switch {
	case binary.LittleEndian.Uint32(b[12:]) == hashMagic || binary.LittleEndian.Uint32(b[12:]) == btreeMagic:
		m.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b[12:]) == hashMagic || binary.BigEndian.Uint32(b[12:]) == btreeMagic:
		m.order, m.big = binary.BigEndian, true
	default:
		return m, errors.New("not a Berkeley DB hash or btree file")
	}
	o := m.order
	m.hash = o.Uint32(b[12:]) == hashMagic
	version := o.Uint32(b[16:])
	m.pageSize = int(o.Uint32(b[20:]))
	switch {
	case version < 8 || version > 10:
		return m, fmt.Errorf("unsupported version %d of the Berkeley DB format", version)
	case b[24] != 0:
		return m, errors.New("encrypted Berkeley DB files are not supported")
	case b[26]&1 != 0:
		return m, errors.New("Berkeley DB files with checksums are not supported")
	case m.pageSize < metaSize || m.pageSize > 65536 || m.pageSize&(m.pageSize-1) != 0:
		return m, errCorrupt
	}
	if m.hash {
		if b[25] != pageHashMeta || o.Uint32(b[48:])&^1 != 0 {
			return m, errors.New("unsupported kind of Berkeley DB hash file")
		}
		m.maxBucket, m.highMask, m.lowMask = o.Uint32(b[72:]), o.Uint32(b[76:]), o.Uint32(b[80:])
		if m.lowMask > m.maxBucket || m.maxBucket > m.highMask || m.highMask >= 1<<31 {
			return m, errCorrupt
		}
		for i := range m.spares {
			m.spares[i] = o.Uint32(b[96+4*i:])
		}
		return m, nil
	}
	if b[25] != pageBtreeMeta || o.Uint32(b[48:]) != 0 {
		return m, errors.New("unsupported kind of Berkeley DB btree file")
	}
	m.root = o.Uint32(b[88:])
	return m, nil
}

// lastPage bounds the length of a chain, whatever the file says of itself.
func (d *database) lastPage() uint32 {
	return uint32(min(d.file.Size()/int64(d.meta.pageSize), 1<<32-1))
}

// A page is one page; its numbers are in the byte order of the file.
type page struct {
	b      []byte
	number uint32
	big    bool
}

func (p page) u16(at int) uint16 {
	v := binary.LittleEndian.Uint16(p.b[at:])
	if p.big {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (p page) u32(at int) uint32 {
	v := binary.LittleEndian.Uint32(p.b[at:])
	if p.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (d *database) page(n uint32) (page, error) {
	size := int64(d.meta.pageSize)
	pg := page{number: n, big: d.meta.big}
	if n == 0 {
		return pg, corrupt(n, "no such page")
	}
	b, err := d.file.Slice(int64(n)*size, size)
	if errors.Is(err, pagefile.ErrShort) {
		err = corrupt(n, "no such page")
	}
	pg.b = b
	return pg, err
}

func (p page) next() uint32 { return p.u32(16) }
func (p page) entries() int { return int(p.u16(20)) }
func (p page) kind() byte   { return p.b[25] }

// offset returns where item i begins.
func (p page) offset(i int) (int, error) {
	at := headerSize + 2*i
	if i < 0 || i >= p.entries() || at+2 > len(p.b) {
		return 0, corrupt(p.number, "no such item")
	}
	off := int(p.u16(at))
	if off < headerSize || off >= len(p.b) {
		return 0, corrupt(p.number, "item outside of the page")
	}
	return off, nil
}

// maxItem bounds what is read from overflow pages for one item.
const maxItem = 64 << 20

// overflow returns the item of size octets that begins on page n.
func (d *database) overflow(n, size uint32) ([]byte, error) {
	if size > maxItem {
		return nil, corrupt(n, "item is too large")
	}
	var out []byte
	for seen := uint32(0); uint32(len(out)) < size; seen++ {
		if seen > d.lastPage() {
			return nil, corrupt(n, "pages in a circle")
		}
		p, err := d.page(n)
		if err != nil {
			return nil, err
		}
		used := int(p.u16(22))
		if p.kind() != pageOverflow || used == 0 || headerSize+used > len(p.b) {
			return nil, corrupt(n, "bad overflow page")
		}
		out = append(out, p.b[headerSize:headerSize+used]...)
		n = p.next()
	}
	return out[:size], nil
}
