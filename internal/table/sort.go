package table

import (
	"encoding/binary"
	"slices"
	"strings"
)

// few is up to how many entries comparing is faster than distributing.
const few = 4096

// SortByKey sorts list by the octets of the keys.
func SortByKey(list []Entry) {
	if len(list) < few {
		slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
		return
	}
	skip := len(commonPrefix(list))
	from, to := make([]place, len(list)), make([]place, len(list))
	for i, e := range list {
		from[i] = place{octets(e.Key[skip:]), uint32(i)}
	}
	for shift := 0; shift < 64; shift += 16 {
		if distribute(from, to, shift) {
			from, to = to, from
		}
	}
	sorted := make([]Entry, len(list))
	for i, p := range from {
		sorted[i] = list[p.at]
	}
	sortEqual(sorted, from, skip)
	copy(list, sorted)
}

// A place is the beginning of a key, as a number, and where its entry is.
type place struct {
	head uint64
	at   uint32
}

// octets returns the first eight octets of s as a number of the same order.
func octets(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

func commonPrefix(list []Entry) string {
	prefix := list[0].Key
	for _, e := range list {
		n := 0
		for n < len(prefix) && n < len(e.Key) && prefix[n] == e.Key[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return prefix
}

// distribute sorts by 16 bits of the heads, and keeps the order of what is
// equal; false means that they are all the same and nothing was done.
func distribute(from, to []place, shift int) bool {
	counts := make([]uint32, 1<<16)
	for _, p := range from {
		counts[uint16(p.head>>shift)]++
	}
	if counts[uint16(from[0].head>>shift)] == uint32(len(from)) {
		return false
	}
	sum := uint32(0)
	for i, n := range counts {
		counts[i] = sum
		sum += n
	}
	for _, p := range from {
		d := uint16(p.head >> shift)
		to[counts[d]] = p
		counts[d]++
	}
	return true
}

// sortEqual sorts the runs whose heads are equal by what follows.
func sortEqual(sorted []Entry, places []place, skip int) {
	for i := 0; i < len(places); {
		j := i + 1
		for j < len(places) && places[j].head == places[i].head {
			j++
		}
		if j-i > 1 {
			slices.SortFunc(sorted[i:j], func(a, b Entry) int { return strings.Compare(a.Key[skip:], b.Key[skip:]) })
		}
		i = j
	}
}
