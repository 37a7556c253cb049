// Package showq is the listing of the mail queue as the showq service sends it
// to postqueue, and to other programs that read the same stream.
//
// After the protocol announcement there is a list of attributes per message:
// its own, then two for each recipient; an empty list is the end. It is the
// form of Postfix 3.7; of a newer form a Reader passes over what is new.
package showq

import (
	"bufio"
	"fmt"
	"io"
	"strconv"

	"postern/internal/ipc/attr"
)

// Protocol is what the service announces.
const Protocol = "mail_queue_list_protocol"

// A Message is one message in the queue. Addresses are in external form.
type Message struct {
	Queue        string
	ID           string
	Arrival      int64 // seconds since 1970
	Size         int64 // octets of the content; of the file in maildrop
	ForcedExpire bool
	Sender       string
}

// A Recipient is one that the message is still for.
type Recipient struct {
	Address string
	Reason  string // of the delay; may be empty
}

// A Writer sends a listing.
type Writer struct {
	c *attr.Codec
}

// NewWriter returns a Writer on w, which the caller flushes. It sends the
// protocol announcement.
func NewWriter(w *bufio.Writer) *Writer {
	l := &Writer{c: attr.NewWriter(w)}
	p := attr.Protocol(Protocol)
	l.c.Do(&p)
	return l
}

// Begin sends a message's own attributes. Recipients and EndMessage follow.
func (l *Writer) Begin(m *Message) error {
	expire := 0
	if m.ForcedExpire {
		expire = 8 // Postfix: the permission bit that stands for it
	}
	l.c.Str("queue_name", &m.Queue)
	l.c.Str("queue_id", &m.ID)
	l.c.Long("time", &m.Arrival)
	l.c.Long("size", &m.Size)
	l.c.Int("forced_expire", &expire)
	l.c.Str("sender", &m.Sender)
	return l.c.Err()
}

// Recipient sends a recipient of the message that was begun.
func (l *Writer) Recipient(r Recipient) error {
	l.c.Str("recipient", &r.Address)
	l.c.Str("reason", &r.Reason)
	return l.c.Err()
}

// EndMessage ends the message that was begun.
func (l *Writer) EndMessage() error {
	l.c.End()
	return l.c.Err()
}

// End ends the listing.
func (l *Writer) End() error { return l.EndMessage() }

// A Reader receives a listing.
type Reader struct {
	c       *attr.Codec
	pending *Recipient // begun by an attribute that was read already
	ended   bool       // the message's list has ended
}

// NewReader returns a Reader of r, and has read the announcement.
func NewReader(r *bufio.Reader) (*Reader, error) {
	l := &Reader{c: attr.NewReader(r), ended: true}
	p := attr.Protocol(Protocol)
	return l, l.c.Do(&p)
}

// Next returns the next message, and io.EOF after the last one. Recipients of
// the message before that were not asked for are passed over.
func (l *Reader) Next() (*Message, error) {
	for !l.ended {
		if _, err := l.NextRecipient(); err != nil && err != io.EOF {
			return nil, err
		}
	}
	name, value := l.c.Peek()
	if l.c.Err() != nil {
		return nil, l.error()
	}
	if name == "" {
		return nil, io.EOF
	}
	m := &Message{}
	seen := 0
	for ; ; name, value = l.c.Peek() {
		if l.c.Err() != nil {
			return nil, l.error()
		}
		switch name {
		case "queue_name":
			m.Queue = value
		case "queue_id":
			m.ID = value
		case "time":
			m.Arrival = l.number(name, value)
		case "size":
			m.Size = l.number(name, value)
		case "forced_expire":
			m.ForcedExpire = l.number(name, value) != 0
		case "sender":
			m.Sender = value
			l.ended, l.pending = false, nil
			if seen != 5 {
				return nil, fmt.Errorf("malformed queue listing: sender after %d attributes", seen)
			}
			return m, l.c.Err()
		default:
			return nil, fmt.Errorf("malformed queue listing: unexpected attribute %.100q", name)
		}
		seen++
	}
}

// NextRecipient returns the next recipient of the message that Next returned,
// and io.EOF after the last one.
func (l *Reader) NextRecipient() (Recipient, error) {
	r := l.pending
	l.pending = nil
	for !l.ended {
		name, value := l.c.Peek()
		if l.c.Err() != nil {
			l.ended = true
			return Recipient{}, l.error()
		}
		switch name {
		case "":
			l.ended = true
		case "recipient":
			if r != nil {
				l.pending = &Recipient{Address: value}
				return *r, nil
			}
			r = &Recipient{Address: value}
		case "reason":
			if r != nil {
				r.Reason = value
				return *r, nil
			}
		}
	}
	if r != nil {
		return *r, nil
	}
	return Recipient{}, io.EOF
}

func (l *Reader) number(name, value string) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		l.c.Fail(fmt.Errorf("malformed queue listing: %s: %.100q", name, value))
	}
	return n
}

func (l *Reader) error() error {
	err := l.c.Err()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("malformed queue listing: %w", err)
}
