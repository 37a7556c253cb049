package bdb

import (
	"bytes"
	"math/bits"
)

// Kinds of items on a hash page.
const (
	itemData    = 1
	itemOffPage = 3
)

// hashOf is the hash function of the format: FNV-1 with a zero start.
func hashOf(key string) uint32 {
	var h uint32
	for i := range len(key) {
		h = nextHash(h, key[i])
	}
	return h
}

func nextHash(h uint32, c byte) uint32 { return h*16777619 ^ uint32(c) }

// bucketPage returns the first page of a bucket: buckets that were added in
// one doubling of the file lie together.
func (m *meta) bucketPage(bucket uint32) uint32 {
	return bucket + m.spares[bits.Len32(bucket)]
}

func (m *meta) bucketOf(key []byte) uint32 {
	var h uint32
	for _, c := range key {
		h = nextHash(h, c)
	}
	b := h & m.highMask
	if b > m.maxBucket {
		b &= m.lowMask
	}
	return b
}

func (d *database) hashGet(key []byte) ([]byte, bool, error) {
	var value []byte
	found := false
	err := d.chain(d.meta.bucketPage(d.meta.bucketOf(key)), func(p page) (bool, error) {
		i, err := d.find(p, key)
		if err != nil || i < 0 {
			return err == nil, err
		}
		value, err = d.hashItem(p, i+1)
		found = err == nil
		return false, err
	})
	return value, found, err
}

// find returns the item of a page that is key, or -1. Most items have another
// length, which the index of the page tells.
func (d *database) find(p page, key []byte) (int, error) {
	n := p.entries()
	if headerSize+2*n > len(p.b) {
		return -1, corrupt(p.number, "too many items")
	}
	end := len(p.b)
	for i := 0; i+1 < n; i += 2 {
		start := int(p.u16(headerSize + 2*i))
		if start < headerSize || start >= end {
			return -1, corrupt(p.number, "items overlap")
		}
		if end-start == 1+len(key) || p.b[start] != itemData {
			same, err := d.sameItem(p, i, key)
			if err != nil || same {
				return i, err
			}
		}
		end = int(p.u16(headerSize + 2*i + 2))
		if end < headerSize || end >= start {
			return -1, corrupt(p.number, "items overlap")
		}
	}
	return -1, nil
}

// chain calls each with the pages of a bucket until it returns false.
func (d *database) chain(n uint32, each func(page) (bool, error)) error {
	for seen := uint32(0); n != 0; seen++ {
		if seen > d.lastPage() {
			return corrupt(n, "pages in a circle")
		}
		p, err := d.page(n)
		if err != nil {
			return err
		}
		switch p.kind() {
		case pageHash, pageHashUnsorted:
		case 0: // allocated, never used
			return nil
		default:
			return corrupt(n, "not a hash page")
		}
		more, err := each(p)
		if err != nil || !more {
			return err
		}
		n = p.next()
	}
	return nil
}

// rawItem returns the octets of an item, which end where the one before begins.
func (p page) rawItem(i int) ([]byte, error) {
	start, err := p.offset(i)
	if err != nil {
		return nil, err
	}
	end := len(p.b)
	if i > 0 {
		if end, err = p.offset(i - 1); err != nil {
			return nil, err
		}
	}
	if end <= start {
		return nil, corrupt(p.number, "items overlap")
	}
	return p.b[start:end], nil
}

func (d *database) hashItem(p page, i int) ([]byte, error) {
	raw, err := p.rawItem(i)
	if err != nil {
		return nil, err
	}
	switch raw[0] {
	case itemData:
		return raw[1:], nil
	case itemOffPage:
		if len(raw) < 12 {
			return nil, corrupt(p.number, "short reference")
		}
		return d.overflow(d.meta.order.Uint32(raw[4:]), d.meta.order.Uint32(raw[8:]))
	}
	return nil, corrupt(p.number, "several values for one key are not supported")
}

// sameItem compares without reading overflow pages of another length.
func (d *database) sameItem(p page, i int, key []byte) (bool, error) {
	raw, err := p.rawItem(i)
	if err != nil {
		return false, err
	}
	switch raw[0] {
	case itemData:
		return bytes.Equal(raw[1:], key), nil
	case itemOffPage:
		if len(raw) < 12 {
			return false, corrupt(p.number, "short reference")
		}
		if d.meta.order.Uint32(raw[8:]) != uint32(len(key)) {
			return false, nil
		}
		got, err := d.hashItem(p, i)
		return bytes.Equal(got, key), err
	}
	return false, corrupt(p.number, "unknown kind of key")
}

func (d *database) hashWalk(each func(key, value []byte) error) error {
	if d.meta.maxBucket > d.lastPage() {
		return corrupt(0, "more buckets than pages")
	}
	for b := uint32(0); ; b++ {
		err := d.chain(d.meta.bucketPage(b), func(p page) (bool, error) {
			for i := 0; i+1 < p.entries(); i += 2 {
				key, err := d.hashItem(p, i)
				if err != nil {
					return false, err
				}
				value, err := d.hashItem(p, i+1)
				if err != nil {
					return false, err
				}
				if err := each(key, value); err != nil {
					return false, err
				}
			}
			return true, nil
		})
		if err != nil || b == d.meta.maxBucket {
			return err
		}
	}
}
