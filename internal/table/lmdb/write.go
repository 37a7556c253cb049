package lmdb

import (
	"fmt"
	"os"

	"postern/internal/table"
	"postern/internal/table/pagefile"
)

const (
	pageSize = 4096
	maxKey   = 511                              // LMDB's own limit
	maxNode  = ((pageSize-headerSize)/2)&^1 - 2 // two nodes must fit on a page
	firstMap = 16 << 20                         // default of lmdb_map_size
	dbFlags  = 0x4008                           // what LMDB keeps in the first table's flags: one file, integer keys
)

// encoder returns what writes a file. Keys and values have the trailing NUL
// that Postfix stores on this system, unless the administrator says otherwise.
func encoder(o *table.Opener) table.Encoder {
	nul := 1
	if o.Flags&table.KeyNoNUL != 0 {
		nul = 0
	}
	mapSize, wrong := o.Number("lmdb_map_size", firstMap, 1)
	return func(t table.Target, list []table.Entry) error {
		if wrong != nil {
			return wrong
		}
		for _, e := range list {
			if len(e.Key)+nul > maxKey {
				return fmt.Errorf("%s: key is longer than %d octets: %.100q", t.Path, maxKey, e.Key)
			}
		}
		table.SortByKey(list)
		return t.Replace(func(f *os.File) error { return write(f, list, nul, mapSize) })
	}
}

// A writer writes the pages of a file.
type writer struct {
	*pagefile.Writer
	nul                        int // 1: keys and values have a trailing NUL
	branches, leaves, overflow uint64
}

// add adds n empty pages and returns the first with its number.
func (w *writer) add(flags uint16, n int) (uint64, []byte) {
	number, p := w.Add(n)
	start(p, number, flags)
	return number, p
}

func start(p []byte, number uint64, flags uint16) {
	le.PutUint64(p, number)
	le.PutUint16(p[10:], flags)
	le.PutUint16(p[12:], headerSize)
	le.PutUint16(p[14:], pageSize)
}

func write(f *os.File, list []table.Entry, nul int, mapSize int64) error {
	w := &writer{Writer: pagefile.NewWriter(f, pageSize), nul: nul}
	w.Add(2)
	root, depth := noPage, 0
	if len(list) > 0 {
		level := w.leafPages(list)
		for depth = 1; len(level) > 1; depth++ {
			level = w.branchPages(level)
		}
		root = level[0].page
	}
	for mapSize < 3*int64(w.Count())*pageSize {
		mapSize *= 2 // room for the next who changes the file in place
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.Rewrite(0, w.meta(0, mapSize, noPage, 0, 0)); err != nil {
		return err
	}
	return w.Rewrite(1, w.meta(1, mapSize, root, depth, len(list)))
}

// meta returns page n, which is 0 for the empty table and 1 for the first
// transaction.
func (w *writer) meta(n uint64, mapSize int64, root uint64, depth, entries int) []byte {
	b := make([]byte, pageSize)
	start(b, n, 0x08)
	le.PutUint16(b[12:], 0)
	le.PutUint16(b[14:], 0)
	le.PutUint32(b[16:], magic)
	le.PutUint32(b[20:], version)
	le.PutUint64(b[32:], uint64(mapSize))
	le.PutUint32(b[40:], pageSize)
	le.PutUint16(b[44:], dbFlags)
	le.PutUint64(b[80:], noPage)
	last := uint64(1)
	if n == 1 {
		last = w.Count() - 1
		le.PutUint16(b[94:], uint16(depth))
		le.PutUint64(b[96:], w.branches)
		le.PutUint64(b[104:], w.leaves)
		le.PutUint64(b[112:], w.overflow)
		le.PutUint64(b[120:], uint64(entries))
	}
	le.PutUint64(b[128:], root)
	le.PutUint64(b[136:], last)
	le.PutUint64(b[144:], n) // transaction
	return b
}

func even(n int) int { return (n + 1) &^ 1 }

// room says whether a node fits.
func room(p []byte, size int) bool {
	return int(le.Uint16(p[14:]))-int(le.Uint16(p[12:])) >= size+2
}

// A child is a page below a branch and its first key; nul says how many NULs
// the key ends with beyond what is written.
type child struct {
	key  string
	nul  int
	page uint64
}

// node adds a node with key and returns what follows the key.
func node(p []byte, size int, key string, nul int) (head, rest []byte) {
	lower, upper := le.Uint16(p[12:]), le.Uint16(p[14:])-uint16(size)
	le.PutUint16(p[lower:], upper)
	le.PutUint16(p[12:], lower+2)
	le.PutUint16(p[14:], upper)
	head = p[upper : int(upper)+size]
	le.PutUint16(head[6:], uint16(len(key)+nul))
	copy(head[nodeSize:], key)
	return head, head[nodeSize+len(key)+nul:]
}

func (w *writer) leafPages(list []table.Entry) []child {
	var out []child
	var leaf []byte
	for i, e := range list {
		size := nodeSize + len(e.Key) + len(e.Value) + 2*w.nul
		big := size > maxNode
		if big {
			size = nodeSize + len(e.Key) + w.nul + 8
		}
		size = even(size)
		if i == 0 || !room(leaf, size) {
			var at uint64
			at, leaf = w.add(leafFlag, 1)
			w.leaves++
			w.Done(at)
			out = append(out, child{e.Key, w.nul, at})
		}
		head, rest := node(leaf, size, e.Key, w.nul)
		le.PutUint32(head, uint32(len(e.Value)+w.nul))
		if big {
			le.PutUint16(head[4:], bigData)
			le.PutUint64(rest, w.bigValue(e.Value))
		} else {
			copy(rest, e.Value)
		}
	}
	return out
}

// bigValue writes a value to pages of its own, which follow each other.
func (w *writer) bigValue(v string) uint64 {
	n := (headerSize-1+len(v)+w.nul)/pageSize + 1
	number, p := w.add(overflowFlag, n)
	le.PutUint32(p[12:], uint32(n))
	copy(p[headerSize:], v)
	w.overflow += uint64(n)
	return number
}

func (w *writer) branchPages(children []child) []child {
	var out []child
	var branch []byte
	for i, c := range children {
		if i == 0 || !room(branch, even(nodeSize+len(c.key)+c.nul)) {
			var at uint64
			at, branch = w.add(branchFlag, 1)
			w.branches++
			out = append(out, child{c.key, c.nul, at})
			c.key, c.nul = "", 0 // the first key of a branch is never compared
		}
		head, _ := node(branch, even(nodeSize+len(c.key)+c.nul), c.key, c.nul)
		le.PutUint32(head, uint32(c.page))
		le.PutUint16(head[4:], uint16(c.page>>32))
	}
	return out
}
