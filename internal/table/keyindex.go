package table

import (
	"hash/maphash"
	"math"
)

// A keyIndex says where keys are in a list of entries, for lists of millions.
//
// A small filter, which stays in the processor's cache, tells most keys that
// are new. They get their slot of the hash table later, many at a time: the
// processor then waits for memory once and not for each.
type keyIndex struct {
	seed   maphash.Seed
	filter []uint64 // two bits for each key that is there
	slots  []slot   // a hash table, at most half full
	used   int      // slots that are in use or were
	late   []uint32 // hashes of the last entries of the list, which have no slot yet
}

// A slot says that the key with that hash is entry at-1. 0 was never used,
// gone is free again.
type slot struct{ hash, at uint32 }

const gone = math.MaxUint32

// maxLate bounds how many entries have no slot.
const maxLate = 4096

// resize makes room for n keys; there are none yet.
func (x *keyIndex) resize(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	x.seed = maphash.MakeSeed()
	x.slots = make([]slot, size)
	x.filter = make([]uint64, max(size/16, 4)) // eight bits or more for each key
}

// bits returns the places of h in the filter.
func (x *keyIndex) bits(h uint64) (word, mask uint64) {
	return h >> 32 & uint64(len(x.filter)-1), 1<<(h&63) | 1<<(h>>6&63)
}

// add says where key is. If it is not in list, it gets the next place.
func (x *keyIndex) add(list []Entry, key string) (at int, found bool) {
	h := maphash.String(x.seed, key)
	word, mask := x.bits(h)
	if x.filter[word]&mask == mask {
		if at, found = x.find(list, key); found {
			return at, true
		}
	}
	x.filter[word] |= mask
	if x.late = append(x.late, uint32(h)); len(x.late) >= maxLate {
		x.catchUp(len(list) + 1)
	}
	return 0, false
}

// catchUp gives slots to the last of n entries.
func (x *keyIndex) catchUp(n int) {
	if 2*(x.used+len(x.late)) > len(x.slots) {
		x.grow()
	}
	mask := uint32(len(x.slots) - 1)
	first := n - len(x.late)
	for i, h := range x.late {
		at := h & mask
		for x.slots[at].at != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = slot{h, uint32(first + i + 1)}
	}
	x.used += len(x.late)
	x.late = x.late[:0]
}

// grow makes the table larger. The filter keeps its size: what it lets through
// is looked for in the table.
func (x *keyIndex) grow() {
	old := x.slots
	x.slots = make([]slot, 4*max(len(old), maxLate))
	x.used = 0
	mask := uint32(len(x.slots) - 1)
	for _, s := range old {
		if s.at == 0 || s.at == gone {
			continue
		}
		at := s.hash & mask
		for x.slots[at].at != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = s
		x.used++
	}
}

// find says where key is in list.
func (x *keyIndex) find(list []Entry, key string) (at int, found bool) {
	if s := x.slot(list, key); s != nil {
		return int(s.at - 1), true
	}
	return 0, false
}

func (x *keyIndex) slot(list []Entry, key string) *slot {
	x.catchUp(len(list))
	h := uint32(maphash.String(x.seed, key))
	mask := uint32(len(x.slots) - 1)
	for i := h & mask; x.slots[i].at != 0; i = (i + 1) & mask {
		s := &x.slots[i]
		if s.hash == h && s.at != gone && list[s.at-1].Key == key {
			return s
		}
	}
	return nil
}

// remove forgets key and says where it was; the last entry takes its place.
func (x *keyIndex) remove(list []Entry, key string) (at int, found bool) {
	s := x.slot(list, key)
	if s == nil {
		return 0, false
	}
	at = int(s.at - 1)
	moved := x.slot(list, list[len(list)-1].Key)
	moved.at = s.at
	s.at = gone
	return at, true
}
