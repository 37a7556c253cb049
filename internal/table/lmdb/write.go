package lmdb

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"postern/internal/table"
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
	nul := "\x00"
	if o.Flags&table.KeyNoNUL != 0 {
		nul = ""
	}
	mapSize := int64(firstMap)
	if o.Param != nil {
		if n, err := strconv.ParseInt(o.Param("lmdb_map_size"), 10, 64); err == nil {
			mapSize = n
		}
	}
	return func(t table.Target, list []table.Entry) error {
		out := make([]table.Entry, len(list))
		for i, e := range list {
			out[i] = table.Entry{Key: e.Key + nul, Value: e.Value + nul}
			if len(out[i].Key) > maxKey {
				return fmt.Errorf("%s: key is longer than %d octets: %.100q", t.Path, maxKey, e.Key)
			}
		}
		return write(t, out, mapSize)
	}
}

// A writer collects pages in memory.
type writer struct {
	b                          []byte
	branches, leaves, overflow uint64
}

func (w *writer) count() uint64 { return uint64(len(w.b) / pageSize) }

// add adds n empty pages and returns the first with its number.
func (w *writer) add(flags uint16, n int) (uint64, []byte) {
	number := w.count()
	w.b = append(w.b, make([]byte, n*pageSize)...)
	p := w.b[number*pageSize:]
	le.PutUint64(p, number)
	le.PutUint16(p[10:], flags)
	le.PutUint16(p[12:], headerSize)
	le.PutUint16(p[14:], pageSize)
	return number, p
}

// A child is a page below a branch and its first key.
type child struct {
	key  string
	page uint64
}

func write(t table.Target, list []table.Entry, mapSize int64) error {
	slices.SortFunc(list, func(a, b table.Entry) int { return strings.Compare(a.Key, b.Key) })
	w := &writer{}
	w.add(0x08, 1)
	w.add(0x08, 1)
	root, depth := noPage, 0
	if len(list) > 0 {
		level := w.leafPages(list)
		for depth = 1; len(level) > 1; depth++ {
			level = w.branchPages(level)
		}
		root = level[0].page
	}
	for mapSize < 3*int64(len(w.b)) {
		mapSize *= 2 // room for the next who changes the file in place
	}
	w.meta(0, mapSize, noPage, 0, 0)
	w.meta(1, mapSize, root, depth, len(list))
	return t.Replace(func(f *os.File) error {
		_, err := f.Write(w.b)
		return err
	})
}

// meta fills page n, which is 0 for the empty table and 1 for the first
// transaction.
func (w *writer) meta(n uint64, mapSize int64, root uint64, depth, entries int) {
	b := w.b[n*pageSize:]
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
		last = w.count() - 1
		le.PutUint16(b[94:], uint16(depth))
		le.PutUint64(b[96:], w.branches)
		le.PutUint64(b[104:], w.leaves)
		le.PutUint64(b[112:], w.overflow)
		le.PutUint64(b[120:], uint64(entries))
	}
	le.PutUint64(b[128:], root)
	le.PutUint64(b[136:], last)
	le.PutUint64(b[144:], n) // transaction
}

func even(n int) int { return (n + 1) &^ 1 }

// room says whether a node fits.
func room(p []byte, size int) bool {
	return int(le.Uint16(p[14:]))-int(le.Uint16(p[12:])) >= size+2
}

// node adds a node with key and returns what follows the key.
func node(p []byte, size int, key string) (head, rest []byte) {
	lower, upper := le.Uint16(p[12:]), le.Uint16(p[14:])-uint16(size)
	le.PutUint16(p[lower:], upper)
	le.PutUint16(p[12:], lower+2)
	le.PutUint16(p[14:], upper)
	head = p[upper : int(upper)+size]
	le.PutUint16(head[6:], uint16(len(key)))
	copy(head[nodeSize:], key)
	return head, head[nodeSize+len(key):]
}

func (w *writer) leafPages(list []table.Entry) []child {
	var out []child
	var at uint64
	for i, e := range list {
		size := nodeSize + len(e.Key) + len(e.Value)
		big := size > maxNode
		if big {
			size = nodeSize + len(e.Key) + 8
		}
		size = even(size)
		if i == 0 || !room(w.b[at*pageSize:][:pageSize], size) {
			at, _ = w.add(leafFlag, 1)
			w.leaves++
			out = append(out, child{e.Key, at})
		}
		var reference uint64
		if big {
			reference = w.bigValue(e.Value)
		}
		head, rest := node(w.b[at*pageSize:][:pageSize], size, e.Key)
		le.PutUint32(head, uint32(len(e.Value)))
		if big {
			le.PutUint16(head[4:], bigData)
			le.PutUint64(rest, reference)
		} else {
			copy(rest, e.Value)
		}
	}
	return out
}

// bigValue writes a value to pages of its own, which follow each other.
func (w *writer) bigValue(v string) uint64 {
	n := (headerSize-1+len(v))/pageSize + 1
	number, p := w.add(overflowFlag, n)
	le.PutUint32(p[12:], uint32(n))
	copy(p[headerSize:], v)
	w.overflow += uint64(n)
	return number
}

func (w *writer) branchPages(children []child) []child {
	var out []child
	var at uint64
	for i, c := range children {
		key := c.key
		if i == 0 || !room(w.b[at*pageSize:][:pageSize], even(nodeSize+len(key))) {
			at, _ = w.add(branchFlag, 1)
			w.branches++
			out = append(out, child{key, at})
			key = "" // the first key of a branch is never compared
		}
		head, _ := node(w.b[at*pageSize:][:pageSize], even(nodeSize+len(key)), key)
		le.PutUint32(head, uint32(c.page))
		le.PutUint16(head[4:], uint16(c.page>>32))
	}
	return out
}
