package bdb

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"os"
	"slices"
	"strings"

	"postern/internal/table"
	"postern/internal/table/pagefile"
)

// pageSize of the files that are written; Berkeley DB takes the file system's
// block size, which is this.
const pageSize = 4096

const formatVersion = 9 // of both formats in Berkeley DB 5.3

var le = binary.LittleEndian

// A writer writes the pages of a file.
type writer struct {
	*pagefile.Writer
	nul    int      // 1: keys and values have a trailing NUL
	beyond uint32   // hash: the first page after those of the buckets
	extra  [][]byte // the pages from there on
}

func newWriter(f *os.File, nul int) *writer {
	return &writer{Writer: pagefile.NewWriter(f, pageSize), nul: nul}
}

// page adds an empty page.
func (w *writer) page(kind, level byte) (uint32, []byte) {
	if w.beyond > 0 {
		n, b := w.beyond+uint32(len(w.extra)), make([]byte, pageSize)
		start(b, n, kind, level)
		w.extra = append(w.extra, b)
		return n, b
	}
	n, b := w.Add(1)
	start(b, uint32(n), kind, level)
	return uint32(n), b
}

// start makes b the empty page n.
func start(b []byte, n uint32, kind, level byte) {
	le.PutUint32(b[4:], 1) // log position of a file without a log
	le.PutUint32(b[8:], n)
	le.PutUint16(b[22:], pageSize)
	b[24], b[25] = level, kind
}

// overflow writes s to pages of its own and returns the first.
func (w *writer) overflow(s string) uint32 {
	data := append([]byte(s), make([]byte, w.nul)...)
	var first, prev uint32
	var before []byte
	for len(data) > 0 {
		n, b := w.page(pageOverflow, 0)
		used := min(len(data), pageSize-headerSize)
		copy(b[headerSize:], data[:used])
		data = data[used:]
		le.PutUint16(b[20:], 1) // references
		le.PutUint16(b[22:], uint16(used))
		if before == nil {
			first = n
		} else {
			le.PutUint32(before[16:], n)
			le.PutUint32(b[12:], prev)
		}
		prev, before = n, b
	}
	return first
}

// meta returns page 0 with the part that both formats share.
func (w *writer) meta(magic uint32, kind byte) []byte {
	b := make([]byte, pageSize)
	start(b, 0, kind, 0)
	le.PutUint16(b[22:], 0)
	le.PutUint32(b[12:], magic)
	le.PutUint32(b[16:], formatVersion)
	le.PutUint32(b[20:], pageSize)
	le.PutUint32(b[32:], uint32(w.Count()-1))
	rand.Read(b[52:72]) // unique name of the file in a cache
	return b
}

// finish writes the pages that are left, and page 0.
func (w *writer) finish(meta []byte) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.Rewrite(0, meta)
}

// room says whether an item and its index entries fit between the index and
// the items of a page.
func room(b []byte, items, size int) bool {
	index := headerSize + 2*(int(le.Uint16(b[20:]))+items)
	return int(le.Uint16(b[22:]))-size >= index
}

// put adds an item at the low end of the free space.
func put(b []byte, size int) []byte {
	n, at := int(le.Uint16(b[20:])), int(le.Uint16(b[22:]))-size
	if at < headerSize+2*(n+1) {
		panic("bdb: item does not fit")
	}
	le.PutUint16(b[headerSize+2*n:], uint16(at))
	le.PutUint16(b[20:], uint16(n+1))
	le.PutUint16(b[22:], uint16(at))
	return b[at : at+size]
}

// hashBig is the size from which an item of a hash file has its own pages.
const hashBig = pageSize / 4

// writeHash writes a hash file.
func writeHash(f *os.File, list []table.Entry, nul int) error {
	w := newWriter(f, nul)
	total := 0
	for _, e := range list {
		total += w.hashSize(e.Key) + w.hashSize(e.Value) + 4
	}
	// A power of two of buckets that are three quarters full on average; two
	// at least, as Berkeley DB begins with.
	buckets := uint32(2)
	for int(buckets)*(pageSize-headerSize)*3/4 < total {
		buckets *= 2
	}
	w.Add(1)
	w.buckets(list, buckets)
	m := w.meta(hashMagic, pageHashMeta)
	le.PutUint32(m[72:], buckets-1)
	le.PutUint32(m[76:], buckets-1)
	le.PutUint32(m[80:], buckets/2-1)
	le.PutUint32(m[88:], uint32(len(list)))
	le.PutUint32(m[92:], hashOf("%$sniglet^&\x00")) // tells readers the hash function
	for i := range bits.Len32(buckets-1) + 1 {
		le.PutUint32(m[96+4*i:], 1)
	}
	return w.finish(m)
}

// buckets writes the pages of the buckets: the first ones of all, which begin
// at page 1, and after them what did not fit.
func (w *writer) buckets(list []table.Entry, buckets uint32) {
	where := make([]uint32, len(list))
	first := make([]uint32, buckets+1) // where each bucket begins in order
	for i, e := range list {
		h := hashOf(e.Key)
		if w.nul > 0 {
			h = nextHash(h, 0)
		}
		where[i] = h & (buckets - 1)
		first[where[i]+1]++
	}
	for b := range buckets {
		first[b+1] += first[b]
	}
	order := make([]uint32, len(list))
	fill := slices.Clone(first)
	for i, b := range where {
		order[fill[b]] = uint32(i)
		fill[b]++
	}
	w.beyond = buckets + 1
	content := make([]table.Entry, 0, 256)
	for b := range buckets {
		content = content[:0]
		for _, i := range order[first[b]:first[b+1]] {
			content = append(content, list[i])
		}
		n, page := w.Add(1)
		start(page, uint32(n), pageHash, 0)
		w.Done(n)
		w.chain(uint32(n), page, content)
	}
	for _, b := range w.extra {
		_, page := w.Add(1)
		copy(page, b)
	}
}

func (w *writer) hashSize(s string) int {
	if len(s)+w.nul > hashBig {
		return 12
	}
	return 1 + len(s) + w.nul
}

// chain writes the entries of one bucket, sorted by key on each page.
func (w *writer) chain(n uint32, b []byte, list []table.Entry) {
	slices.SortFunc(list, func(a, b table.Entry) int { return strings.Compare(a.Key, b.Key) })
	for _, e := range list {
		if !room(b, 2, w.hashSize(e.Key)+w.hashSize(e.Value)) {
			next, nb := w.page(pageHash, 0)
			le.PutUint32(b[16:], next)
			le.PutUint32(nb[12:], n)
			n, b = next, nb
		}
		w.hashItem(b, e.Key)
		w.hashItem(b, e.Value)
	}
}

func (w *writer) hashItem(b []byte, s string) {
	item := put(b, w.hashSize(s))
	if len(s)+w.nul <= hashBig {
		item[0] = itemData
		copy(item[1:], s)
		return
	}
	item[0] = itemOffPage
	le.PutUint32(item[4:], w.overflow(s))
	le.PutUint32(item[8:], uint32(len(s)+w.nul))
}
