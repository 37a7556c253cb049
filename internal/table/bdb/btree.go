package bdb

import "bytes"

// Kinds of items on a btree page; deletedItem is a flag.
const (
	treeData     = 1
	treeOverflow = 3
	deletedItem  = 0x80
)

// maxDepth bounds the height of a tree.
const maxDepth = 64

// treeItem returns the octets of a leaf's item; ok is false for a deleted one.
func (d *database) treeItem(p page, i int) (data []byte, ok bool, err error) {
	off, err := p.offset(i)
	if err != nil || off+3 > len(p.b) {
		return nil, false, corrupt(p.number, "item outside of the page")
	}
	b := p.b[off:]
	kind := b[2]
	switch kind &^ deletedItem {
	case treeData:
		n := int(p.u16(off))
		if 3+n > len(b) {
			return nil, false, corrupt(p.number, "item outside of the page")
		}
		data = b[3 : 3+n]
	case treeOverflow:
		if len(b) < 12 {
			return nil, false, corrupt(p.number, "short reference")
		}
		data, err = d.overflow(p.u32(off+4), p.u32(off+8))
	default:
		return nil, false, corrupt(p.number, "several values for one key are not supported")
	}
	return data, kind&deletedItem == 0, err
}

// internalItem returns the key of an internal page's item and the page below.
func (d *database) internalItem(p page, i int) (key []byte, child uint32, err error) {
	off, err := p.offset(i)
	if err != nil || off+12 > len(p.b) {
		return nil, 0, corrupt(p.number, "item outside of the page")
	}
	b := p.b[off:]
	n := int(p.u16(off))
	child = p.u32(off + 4)
	if 12+n > len(b) {
		return nil, 0, corrupt(p.number, "item outside of the page")
	}
	switch key = b[12 : 12+n]; {
	case b[2]&^deletedItem == treeData:
	case b[2]&^deletedItem == treeOverflow && n >= 12:
		key, err = d.overflow(d.meta.order.Uint32(key[4:]), d.meta.order.Uint32(key[8:]))
	default:
		err = corrupt(p.number, "unknown kind of key")
	}
	return key, child, err
}

// leaf goes down to the leaf where key belongs; a nil key means the first.
func (d *database) leaf(key []byte) (page, error) {
	n := d.meta.root
	for depth := 0; depth < maxDepth; depth++ {
		p, err := d.page(n)
		if err != nil {
			return p, err
		}
		switch p.kind() {
		case pageLeaf:
			return p, nil
		case pageInternal:
			if n, err = d.descend(p, key); err != nil {
				return p, err
			}
		default:
			return p, corrupt(n, "not a btree page")
		}
	}
	return page{}, corrupt(n, "the tree is too deep")
}

// descend returns the child for key: the last whose key is not above it. The
// first key of a page counts as smaller than all.
func (d *database) descend(p page, key []byte) (uint32, error) {
	lo, hi := 1, p.entries() // the child is lo-1 at the end
	if hi == 0 {
		return 0, corrupt(p.number, "empty internal page")
	}
	for key != nil && lo < hi {
		mid := (lo + hi) / 2
		k, _, err := d.internalItem(p, mid)
		if err != nil {
			return 0, err
		}
		if bytes.Compare(k, key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	_, child, err := d.internalItem(p, lo-1)
	return child, err
}

func (d *database) treeGet(key []byte) ([]byte, bool, error) {
	p, err := d.leaf(key)
	if err != nil {
		return nil, false, err
	}
	lo, hi := 0, p.entries()/2
	for lo < hi {
		mid := (lo + hi) / 2
		k, ok, err := d.treeItem(p, 2*mid)
		if err != nil {
			return nil, false, err
		}
		switch c := bytes.Compare(k, key); {
		case c == 0 && ok:
			value, ok, err := d.treeItem(p, 2*mid+1)
			return value, ok, err
		case c == 0:
			return nil, false, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return nil, false, nil
}

func (d *database) treeWalk(each func(key, value []byte) error) error {
	p, err := d.leaf(nil)
	for seen := uint32(0); err == nil; seen++ {
		if seen > d.lastPage() {
			return corrupt(p.number, "pages in a circle")
		}
		if p.kind() != pageLeaf {
			return corrupt(p.number, "not a leaf")
		}
		for i := 0; i+1 < p.entries(); i += 2 {
			key, ok1, err := d.treeItem(p, i)
			if err != nil {
				return err
			}
			value, ok2, err := d.treeItem(p, i+1)
			if err != nil {
				return err
			}
			if ok1 && ok2 {
				if err := each(key, value); err != nil {
					return err
				}
			}
		}
		if p.next() == 0 {
			return nil
		}
		p, err = d.page(p.next())
	}
	return err
}
