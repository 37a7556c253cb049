package record

import (
	"bytes"
	"fmt"
	"strconv"
)

// Lengths of the records that are rewritten in place.
const (
	SizesData   = 95              // data of a Size record
	PointerData = 15              // data of a Ptr record
	PointerSize = 2 + PointerData // a whole Ptr record
)

// Hints of a Size record for the queue manager.
const (
	// MixedRecipients: recipients stand between other records, so that the
	// envelope must be read to its end.
	MixedRecipients = 1
)

// Sizes is what a Size record says of a message.
type Sizes struct {
	Content       int64 // octets between the records Mesg and Xtra
	ContentOffset int64 // offset of the first record of the content
	Recipients    int   // number of recipients
	Flags         int   // MixedRecipients and, in bits 1 to 4, the notifications wanted
	Length        int64 // length of the content after edits; 0 in old files
	SendOpts      int   // SMTPUTF8 and other needs of the message
}

// Append appends the data of a Size record: six right-aligned numbers of 15
// columns, separated by a blank.
func (s Sizes) Append(b []byte) []byte {
	for i, n := range [...]int64{s.Content, s.ContentOffset, int64(s.Recipients), int64(s.Flags), s.Length, int64(s.SendOpts)} {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendPadded(b, n)
	}
	return b
}

// ParseSizes reads the data of a Size record. Old files have fewer numbers, at
// least two; the rest is 0.
func ParseSizes(data []byte) (Sizes, error) {
	var v [6]int64
	n := 0
	for f := range bytes.FieldsSeq(data) {
		if n == len(v) {
			break
		}
		x, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil || x < 0 {
			return Sizes{}, fmt.Errorf("bad size record: %.100q", data)
		}
		v[n] = x
		n++
	}
	const most = 1 << 31
	if n < 2 || v[2] >= most || v[3] >= most || v[5] >= most {
		return Sizes{}, fmt.Errorf("bad size record: %.100q", data)
	}
	s := Sizes{v[0], v[1], int(v[2]), int(v[3]), v[4], int(v[5])}
	if n < 5 {
		s.Length = s.Content
	}
	return s, nil
}

// ContentEnd returns the offset of the record Xtra, and whether the sizes have
// it: it must lie behind at, the offset behind the record Mesg.
func (s *Sizes) ContentEnd(at int64) (int64, bool) {
	if s == nil || s.ContentOffset <= 0 || s.Content < 0 {
		return 0, false
	}
	end := s.ContentOffset + s.Content
	return end, end >= at
}

// ParsePointer reads the data of a Ptr record.
func ParsePointer(data []byte) (int64, error) {
	n, err := strconv.ParseInt(string(bytes.TrimLeft(data, " ")), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %.100q", ErrPointer, data)
	}
	return n, nil
}

// AppendPointer appends a whole Ptr record that leads to offset to.
func AppendPointer(b []byte, to int64) []byte {
	return appendPadded(append(b, byte(Ptr), PointerData), to)
}

func appendPadded(b []byte, n int64) []byte {
	var d [20]byte
	s := strconv.AppendInt(d[:0], n, 10)
	for i := len(s); i < PointerData; i++ {
		b = append(b, ' ')
	}
	return append(b, s...)
}
