package bdb

import (
	"os"

	"postern/internal/table"
)

// treeBig is the size from which an item of a btree file has its own pages:
// four items must fit on a page.
const treeBig = (pageSize-headerSize)/4 - 10

// A child is a page below an internal page, with a key that is not above its
// first and above all keys before it.
type child struct {
	key  string
	page uint32
}

// writeBtree writes a btree file, leaves first.
func writeBtree(f *os.File, list []table.Entry, nul int) error {
	table.SortByKey(list)
	w := newWriter(f, nul)
	w.Add(2) // page 0, and the root, which is written last
	level, root := w.leaves(list)
	for height := byte(2); len(level) > 1; height++ {
		level, root = w.internal(level, height)
	}
	root, free := w.placeRoot(root)
	m := w.meta(btreeMagic, pageBtreeMeta)
	le.PutUint32(m[28:], free)
	le.PutUint32(m[76:], 2)   // keys per page at least
	le.PutUint32(m[84:], ' ') // padding of records, unused
	le.PutUint32(m[88:], rootPage)
	if err := w.finish(m); err != nil {
		return err
	}
	return w.Rewrite(rootPage, root)
}

// rootPage is where Berkeley DB expects the root.
const rootPage = 1

// placeRoot makes the root, to which no page points, page 1 and leaves a free
// page where it was.
func (w *writer) placeRoot(b []byte) (root []byte, free uint32) {
	root = append([]byte{}, b...)
	free = le.Uint32(b[8:])
	le.PutUint32(root[8:], rootPage)
	clear(b)
	start(b, free, 0, 0)
	return root, free
}

func (w *writer) treeSize(s string) int {
	if len(s)+w.nul > treeBig {
		return 12
	}
	return align(3 + len(s) + w.nul)
}

func align(n int) int { return (n + 3) &^ 3 }

// leaves writes the leaf pages, each linked to its neighbours, and returns also
// the last.
func (w *writer) leaves(list []table.Entry) ([]child, []byte) {
	n, b := w.page(pageLeaf, 1)
	out := []child{{page: n}}
	for i, e := range list {
		if !room(b, 2, w.treeSize(e.Key)+w.treeSize(e.Value)) {
			next, nb := w.page(pageLeaf, 1)
			le.PutUint32(b[16:], next)
			le.PutUint32(nb[12:], n)
			out = append(out, child{separator(list[i-1].Key, e.Key), next})
			n, b = next, nb
			w.Done(uint64(n))
		}
		w.treeItem(b, e.Key)
		w.treeItem(b, e.Value)
	}
	return out, b
}

func (w *writer) treeItem(b []byte, s string) {
	item := put(b, w.treeSize(s))
	if len(s)+w.nul <= treeBig {
		le.PutUint16(item, uint16(len(s)+w.nul))
		item[2] = treeData
		copy(item[3:], s)
		return
	}
	w.reference(item, s)
}

func (w *writer) reference(item []byte, s string) {
	item[2] = treeOverflow
	le.PutUint32(item[4:], w.overflow(s))
	le.PutUint32(item[8:], uint32(len(s)+w.nul))
}

// separator returns the shortest text that is above last and not above first.
func separator(last, first string) string {
	n := 0
	for n < len(last) && n < len(first) && last[n] == first[n] {
		n++
	}
	return first[:min(n+1, len(first))]
}

// internal writes the pages above children, and returns also the last.
func (w *writer) internal(children []child, height byte) ([]child, []byte) {
	n, b := w.page(pageInternal, height)
	out := []child{{page: n}}
	for _, c := range children {
		key := c.key
		if !room(b, 1, align(12+keySize(key))) {
			n, b = w.page(pageInternal, height)
			out = append(out, child{key, n})
			key = "" // the first key of a page is never compared
		}
		size := keySize(key)
		item := put(b, align(12+size))
		le.PutUint16(item, uint16(size))
		item[2] = treeData
		le.PutUint32(item[4:], c.page)
		if len(key) == size {
			copy(item[12:], key)
			continue
		}
		item[2] = treeOverflow
		separate := &writer{Writer: w.Writer} // a separator ends where it ends
		separate.reference(item[12:], key)
	}
	return out, b
}

// keySize is what a key takes on an internal page.
func keySize(key string) int {
	if len(key) > treeBig-12 {
		return 12
	}
	return len(key)
}
