package bdb

import (
	"bytes"
	"slices"
	"strings"

	"postern/internal/table"
)

// treeBig is the size from which an item of a btree file has its own pages:
// four items must fit on a page.
const treeBig = (pageSize-headerSize)/4 - 10

// A child is a page below an internal page, with a key that is not above its
// first and above all keys before it.
type child struct {
	key  []byte
	page uint32
}

// writeBtree writes a btree file, leaves first.
func writeBtree(t table.Target, list []table.Entry) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b table.Entry) int { return strings.Compare(a.Key, b.Key) })
	w := &writer{}
	w.page(pageBtreeMeta, 0)
	w.page(0, 0) // for the root
	level := w.leaves(list)
	for height := byte(2); len(level) > 1; height++ {
		level = w.internal(level, height)
	}
	free := w.placeRoot(level[0].page)
	m := w.meta(btreeMagic, pageBtreeMeta)
	le.PutUint32(m[28:], free)
	le.PutUint32(m[76:], 2)   // keys per page at least
	le.PutUint32(m[84:], ' ') // padding of records, unused
	le.PutUint32(m[88:], rootPage)
	return w.replace(t)
}

// rootPage is where Berkeley DB expects the root.
const rootPage = 1

// placeRoot moves the root, to which no page points, and returns the page that
// is free now; 0 for none.
func (w *writer) placeRoot(n uint32) uint32 {
	b := w.pages[n]
	le.PutUint32(b[8:], rootPage)
	w.pages[rootPage] = b
	if int(n) == len(w.pages)-1 {
		w.pages = w.pages[:n]
		return 0
	}
	empty := make([]byte, pageSize)
	le.PutUint32(empty[4:], 1)
	le.PutUint32(empty[8:], n)
	le.PutUint16(empty[22:], pageSize)
	w.pages[n] = empty
	return n
}

func treeSize(s string) int {
	if len(s) > treeBig {
		return 12
	}
	return align(3 + len(s))
}

func align(n int) int { return (n + 3) &^ 3 }

// leaves writes the leaf pages, each linked to its neighbours.
func (w *writer) leaves(list []table.Entry) []child {
	n, b := w.page(pageLeaf, 1)
	out := []child{{page: n}}
	for i, e := range list {
		if !room(b, 2, treeSize(e.Key)+treeSize(e.Value)) {
			next, nb := w.page(pageLeaf, 1)
			le.PutUint32(b[16:], next)
			le.PutUint32(nb[12:], n)
			out = append(out, child{separator(list[i-1].Key, e.Key), next})
			n, b = next, nb
		}
		w.treeItem(b, e.Key)
		w.treeItem(b, e.Value)
	}
	return out
}

func (w *writer) treeItem(b []byte, s string) {
	item := put(b, treeSize(s))
	if len(s) <= treeBig {
		le.PutUint16(item, uint16(len(s)))
		item[2] = treeData
		copy(item[3:], s)
		return
	}
	w.reference(item, []byte(s))
}

func (w *writer) reference(item, data []byte) {
	item[2] = treeOverflow
	le.PutUint32(item[4:], w.overflow(data))
	le.PutUint32(item[8:], uint32(len(data)))
}

// separator returns the shortest text that is above last and not above first.
func separator(last, first string) []byte {
	n := 0
	for n < len(last) && n < len(first) && last[n] == first[n] {
		n++
	}
	return bytes.Clone([]byte(first[:min(n+1, len(first))]))
}

// internal writes the pages above children.
func (w *writer) internal(children []child, height byte) []child {
	n, b := w.page(pageInternal, height)
	out := []child{{page: n}}
	for i, c := range children {
		size := len(c.key)
		if size > treeBig-12 {
			size = 12
		}
		if !room(b, 1, align(12+size)) {
			n, b = w.page(pageInternal, height)
			out = append(out, child{children[i].key, n})
			c.key, size = nil, 0 // the first key of a page is never compared
		}
		item := put(b, align(12+size))
		le.PutUint16(item, uint16(size))
		item[2] = treeData
		le.PutUint32(item[4:], c.page)
		if len(c.key) == size {
			copy(item[12:], c.key)
			continue
		}
		item[2] = treeOverflow
		w.reference(item[12:], c.key)
	}
	return out
}
