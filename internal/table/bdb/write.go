package bdb

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"os"
	"slices"

	"postern/internal/table"
)

// pageSize of the files that are written; Berkeley DB takes the file system's
// block size, which is this.
const pageSize = 4096

const formatVersion = 9 // of both formats in Berkeley DB 5.3

var le = binary.LittleEndian

// A writer collects pages in memory.
type writer struct {
	pages [][]byte // page 0 first
}

// page adds an empty page.
func (w *writer) page(kind, level byte) (uint32, []byte) {
	b := make([]byte, pageSize)
	n := uint32(len(w.pages))
	w.pages = append(w.pages, b)
	le.PutUint32(b[4:], 1) // log position of a file without a log
	le.PutUint32(b[8:], n)
	le.PutUint16(b[22:], pageSize)
	b[24], b[25] = level, kind
	return n, b
}

// overflow writes data to pages of its own and returns the first.
func (w *writer) overflow(data []byte) uint32 {
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

// meta fills the part of page 0 that both formats share.
func (w *writer) meta(magic uint32, kind byte) []byte {
	b := w.pages[0]
	le.PutUint16(b[22:], 0)
	le.PutUint32(b[12:], magic)
	le.PutUint32(b[16:], formatVersion)
	le.PutUint32(b[20:], pageSize)
	b[24], b[25] = 0, kind
	le.PutUint32(b[32:], uint32(len(w.pages)-1))
	rand.Read(b[52:72]) // unique name of the file in a cache
	return b
}

func (w *writer) replace(t table.Target) error {
	return t.Replace(func(f *os.File) error {
		out := bufio.NewWriterSize(f, 1<<18)
		for _, b := range w.pages {
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		return out.Flush()
	})
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
func writeHash(t table.Target, list []table.Entry) error {
	w := &writer{}
	w.page(pageHashMeta, 0)
	total := 0
	for _, e := range list {
		total += hashSize(e.Key) + hashSize(e.Value) + 4
	}
	// A power of two of buckets that are three quarters full on average; two
	// at least, as Berkeley DB begins with.
	buckets := uint32(2)
	for int(buckets)*(pageSize-headerSize)*3/4 < total {
		buckets *= 2
	}
	content := make([][]table.Entry, buckets)
	for _, e := range list {
		b := hashOf([]byte(e.Key)) & (buckets - 1)
		content[b] = append(content[b], e)
	}
	for range buckets {
		w.page(pageHash, 0)
	}
	for b, entries := range content {
		w.bucket(uint32(b)+1, entries)
	}
	m := w.meta(hashMagic, pageHashMeta)
	le.PutUint32(m[72:], buckets-1)
	le.PutUint32(m[76:], buckets-1)
	le.PutUint32(m[80:], buckets/2-1)
	le.PutUint32(m[88:], uint32(len(list)))
	le.PutUint32(m[92:], hashOf([]byte("%$sniglet^&\x00"))) // tells readers the hash function
	for i := range bits.Len32(buckets-1) + 1 {
		le.PutUint32(m[96+4*i:], 1)
	}
	return w.replace(t)
}

func hashSize(s string) int {
	if len(s) > hashBig {
		return 12
	}
	return 1 + len(s)
}

// bucket writes the entries of one bucket, sorted by key on each page.
func (w *writer) bucket(n uint32, list []table.Entry) {
	slices.SortFunc(list, func(a, b table.Entry) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	b := w.pages[n]
	for _, e := range list {
		if !room(b, 2, hashSize(e.Key)+hashSize(e.Value)) {
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
	item := put(b, hashSize(s))
	if len(s) <= hashBig {
		item[0] = itemData
		copy(item[1:], s)
		return
	}
	item[0] = itemOffPage
	le.PutUint32(item[4:], w.overflow([]byte(s)))
	le.PutUint32(item[8:], uint32(len(s)))
}
