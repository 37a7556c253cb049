package cleanup

import (
	"errors"
	"fmt"

	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// A layout is where a queue file that milters may change has its pointers.
//
// What is changed is written behind the record End and ends with a pointer back;
// then a pointer to it overwrites the record whose place it takes, or one of the
// pointers that cleanup has put where something may be added. So that a record can
// be overwritten, it is followed by padding when it is shorter than a pointer. The
// file is not complete before the commit: a change that was made by half is never
// seen.
type layout struct {
	on       bool
	inHeader bool // what is written belongs to the primary header

	sender, afterSender int64 // the sender's record, and what follows its padding
	recipients          int64 // the pointer behind the recipients
	afterRecipients     int64
	header              int64 // the pointer behind the header
	afterHeader         int64
	body                int64 // the pointer in front of the empty line
	meta                int64 // the pointer in front of the record End
	newBody             int64 // the pointer at the end of a new body, 0 without one

	edits int
	delta int64 // how much longer the content has become
}

// maxEdits bounds the changes of a message: readers follow a limited number of
// pointers that lead backwards.
const maxEdits = 4000

var (
	errEdits = errors.New("too many changes of a message by milters")
	errSize  = errors.New("what milters add to a message is too large")
	errBody  = errors.New("a milter's new body exceeds message_size_limit")
)

// pad fills the record that begins at offset at up to the length of a pointer.
func (t *transaction) pad(at int64) {
	if n := t.w.Offset() - at; n < record.PointerSize && t.ok() {
		t.written(t.w.PutString(record.Pad, padding[:max(0, record.PointerSize-2-n)]))
	}
}

const padding = "000000000000000"

// pointer writes a pointer that can be changed later, and returns its offset.
func (t *transaction) pointer(to int64) int64 {
	at := t.w.Offset()
	if t.ok() {
		t.written(t.w.Pointer(to))
	}
	return at
}

// jump overwrites what is at offset at with a pointer.
func (t *transaction) jump(at, to int64) {
	t.line = record.AppendPointer(t.line[:0], to)
	_, err := t.draft.WriteAt(t.line, at)
	t.written(err)
}

// markSender notes where the sender's record is; at is its offset.
func (t *transaction) markSender(at int64) {
	if t.layout.on {
		t.pad(at)
		t.layout.sender, t.layout.afterSender = at, t.w.Offset()
	}
}

// markRecipients writes the pointer behind the recipients.
func (t *transaction) markRecipients() {
	if t.layout.on {
		t.layout.recipients = t.pointer(0)
		t.layout.afterRecipients = t.w.Offset()
		t.layout.inHeader = true // after the record Mesg
	}
}

// markHeader writes the pointers behind the header.
func (t *transaction) markHeader() {
	if t.layout.on {
		t.layout.inHeader = false
		t.layout.header = t.pointer(0)
		t.layout.afterHeader = t.w.Offset()
		t.layout.body = t.pointer(0)
	}
}

// markMeta writes the pointer behind what was extracted.
func (t *transaction) markMeta() {
	if t.layout.on {
		t.layout.meta = t.pointer(0)
	}
}

// beginEdit starts a change and returns the offset of what will be written.
func (t *transaction) beginEdit() (int64, error) {
	if t.layout.edits++; t.layout.edits > maxEdits {
		t.failed(errEdits)
		return 0, errEdits
	}
	return t.w.Offset(), nil
}

// edited returns the error of a change. What changes add is bounded: a few
// milters may each write a new body.
func (t *transaction) edited() error {
	limit := t.s.common.MessageSizeLimit
	if added := t.w.Offset() - t.layout.meta; limit > 0 && added > 4*limit+1<<20 && t.errs == 0 {
		t.failed(errSize)
	}
	if t.errs != 0 {
		return fmt.Errorf("edit queue file: %v", t.errs)
	}
	return nil
}

// A fieldPlace is where a header field is in the file.
type fieldPlace struct {
	number    int    // counted from 0
	at, next  int64  // the first record, and what follows it and its padding
	end       int64  // where reading goes on after the field
	first     []byte // data of the first record
	firstType record.Type
	size      int64 // of all its records
	open      bool  // end is the end of the last record, not another place
}

// fields calls see for each field of the primary header until it returns false.
func (t *transaction) fields(see func(f *fieldPlace) bool) error {
	r := record.NewFileReader(t.draft, t.contentOff)
	r.Raw = true
	var f fieldPlace
	have, partial, n := false, false, 0
	for {
		typ, data, err := r.Next()
		if err != nil {
			return fmt.Errorf("read queue file: %w", err)
		}
		switch typ {
		case record.Pad:
			if have && f.open {
				f.end = r.Offset()
				if f.next == r.At() {
					f.next = r.Offset()
				}
			}
			continue
		case record.Ptr:
			f.open = false
			if err := r.Follow(data); err != nil {
				return err
			}
			continue
		case record.Norm, record.Cont:
		default:
			if have {
				see(&f)
			}
			return nil
		}
		if have && (partial || len(data) > 0 && (data[0] == ' ' || data[0] == '\t')) {
			f.end, f.open, partial = r.Offset(), true, typ == record.Cont
			f.size += r.Offset() - r.At()
			continue
		}
		if have && !see(&f) {
			return nil
		}
		if message.NameLength(data) == 0 {
			return nil
		}
		f = fieldPlace{number: n, at: r.At(), next: r.Offset(), end: r.Offset(), size: r.Offset() - r.At(),
			first: append(f.first[:0], data...), firstType: typ, open: true}
		have, partial = true, typ == record.Cont
		n++
	}
}

// ownReceived says whether a field is the Received: field that Postern has
// added, which milters do not see: the first one of the message.
func ownReceived(field []byte, seen *bool) bool {
	if *seen || !isReceived(field) {
		return false
	}
	*seen = true
	return true
}

func isReceived(field []byte) bool {
	n := message.Lookup(field)
	return n != nil && n.ID == message.Received
}
