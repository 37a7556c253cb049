package cdb

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"

	"postern/internal/table"
)

// encoder returns what writes a file, with a trailing NUL if the administrator
// asks for it (postmap -N).
func encoder(o *table.Opener) table.Encoder {
	nul := ""
	if o.Flags&table.KeyNUL != 0 {
		nul = "\x00"
	}
	return func(t table.Target, list []table.Entry) error {
		size := headerSize
		for _, e := range list {
			size += 8 + len(e.Key) + len(e.Value) + 2*len(nul) + 16
		}
		if size > math.MaxUint32 {
			return fmt.Errorf("write %s: %w", t.Path, errors.New("the table is too large for the format"))
		}
		return t.Replace(func(f *os.File) error { return write(f, list, nul) })
	}
}

type slot struct{ hash, pos uint32 }

// write writes the records, the hash tables, and last the header, which says
// where these are.
func write(f *os.File, list []table.Entry, nul string) error {
	w := bufio.NewWriterSize(f, 1<<18)
	var head [headerSize]byte
	w.Write(head[:])
	pos := uint32(headerSize)
	slots := make([]slot, len(list))
	var counts [256]int
	var b [8]byte
	for i, e := range list {
		h := hashOf(e.Key)
		if nul != "" {
			h = next(h, 0)
		}
		slots[i] = slot{h, pos}
		counts[h&255]++
		nk, nv := len(e.Key)+len(nul), len(e.Value)+len(nul)
		le.PutUint32(b[:], uint32(nk))
		le.PutUint32(b[4:], uint32(nv))
		w.Write(b[:])
		w.WriteString(e.Key)
		w.WriteString(nul)
		w.WriteString(e.Value)
		w.WriteString(nul)
		pos += uint32(8 + nk + nv)
	}
	for i, t := range distribute(slots, counts) {
		le.PutUint32(head[8*i:], pos)
		le.PutUint32(head[8*i+4:], uint32(2*len(t)))
		for _, s := range place(t) {
			le.PutUint32(b[:], s.hash)
			le.PutUint32(b[4:], s.pos)
			w.Write(b[:])
			pos += 8
		}
	}
	if err := w.Flush(); err != nil { // has every error before it
		return err
	}
	_, err := f.WriteAt(head[:], 0)
	return err
}

// distribute sorts slots into the 256 tables.
func distribute(slots []slot, counts [256]int) (tables [256][]slot) {
	all := make([]slot, len(slots))
	for i, n := range counts {
		tables[i], all = all[:0:n], all[n:]
	}
	for _, s := range slots {
		tables[s.hash&255] = append(tables[s.hash&255], s)
	}
	return tables
}

// place returns a hash table of twice as many slots as there are.
func place(t []slot) []slot {
	full := make([]slot, 2*len(t))
	for _, s := range t {
		n := s.hash >> 8 % uint32(len(full))
		for full[n].pos != 0 {
			if n++; n == uint32(len(full)) {
				n = 0
			}
		}
		full[n] = s
	}
	return full
}
