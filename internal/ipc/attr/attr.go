// Package attr is the form in which Postern's services talk to each other:
// lists of named values on a stream.
//
// A list is a sequence of "name NUL value NUL" pairs that an empty name ends
// (Postfix: the attr0 encoding). Numbers are decimal, octets are base64,
// booleans are 0 and 1. A message type declares its attributes once, by a
// method Attrs that both sends and receives it.
package attr

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of what is read from a peer: a name, a value, and the whole list.
const (
	MaxName  = 100
	MaxValue = 100_000
)

// A Message is a list of attributes. Attrs names them in the order of the wire
// and ends with c.End; it serves both directions.
type Message interface {
	Attrs(c *Codec)
}

// A Codec writes or reads one list at a time and keeps the first error; after
// an error its calls do nothing.
type Codec struct {
	r       *bufio.Reader
	w       *bufio.Writer
	scratch []byte
	err     error
}

// NewReader returns a codec that receives from r.
func NewReader(r *bufio.Reader) *Codec { return &Codec{r: r} }

// NewWriter returns a codec that sends to w. The caller flushes w.
func NewWriter(w *bufio.Writer) *Codec { return &Codec{w: w} }

// Reading says whether the codec receives.
func (c *Codec) Reading() bool { return c.r != nil }

// Err returns the first error, io.EOF when the peer closed before the first
// octet of a list.
func (c *Codec) Err() error { return c.err }

// Fail keeps err as the codec's error unless it has one already.
func (c *Codec) Fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Do sends or receives one message and returns the codec's error.
func (c *Codec) Do(m Message) error {
	if c.err == nil {
		m.Attrs(c)
	}
	return c.err
}

// Str is a text attribute. A NUL in a text that is sent is an error.
func (c *Codec) Str(name string, v *string) {
	if c.err != nil {
		return
	}
	if c.r == nil {
		c.put(name, *v)
		return
	}
	if s, ok := c.take(name); ok {
		*v = string(s)
	}
}

// Int is a decimal attribute.
func (c *Codec) Int(name string, v *int) {
	n := int64(*v)
	c.Long(name, &n)
	if c.r != nil {
		*v = int(n)
	}
}

// Long is a decimal attribute of 64 bits.
func (c *Codec) Long(name string, v *int64) {
	if c.err != nil {
		return
	}
	if c.r == nil {
		c.put(name, strconv.FormatInt(*v, 10))
		return
	}
	s, ok := c.take(name)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil {
		c.Fail(fmt.Errorf("attribute %s: not a number: %.100q", name, s))
		return
	}
	*v = n
}

// Bool is an attribute of 0 or 1.
func (c *Codec) Bool(name string, v *bool) {
	n := 0
	if *v {
		n = 1
	}
	c.Int(name, &n)
	if c.r != nil {
		*v = n != 0
	}
}

// Bytes is an attribute of arbitrary octets, base64 on the wire.
func (c *Codec) Bytes(name string, v *[]byte) {
	if c.err != nil {
		return
	}
	if c.r == nil {
		c.put(name, base64.StdEncoding.EncodeToString(*v))
		return
	}
	s, ok := c.take(name)
	if !ok {
		return
	}
	b, err := base64.StdEncoding.DecodeString(string(s))
	if err != nil {
		c.Fail(fmt.Errorf("attribute %s: %w", name, err))
		return
	}
	*v = b
}

// Peek reads the next attribute's name and value without a declared order; it
// serves requests whose form depends on their first attribute. An empty name
// is the end of the list. It is for reading only.
func (c *Codec) Peek() (name, value string) {
	if c.err != nil {
		return "", ""
	}
	n, err := c.token(MaxName)
	if err != nil {
		c.err = err
		return "", ""
	}
	name = string(n)
	if name == "" {
		return "", ""
	}
	v, err := c.token(MaxValue)
	if err != nil {
		c.err = unexpected(err)
		return "", ""
	}
	return name, string(v)
}

// End ends the list. A reader refuses attributes that were not declared.
func (c *Codec) End() {
	if c.err != nil {
		return
	}
	if c.r == nil {
		c.fail(c.w.WriteByte(0))
		return
	}
	s, err := c.token(MaxName)
	if err != nil {
		c.err = unexpected(err)
	} else if len(s) != 0 {
		c.err = fmt.Errorf("unexpected attribute %.100q at the end of a list", s)
	}
}

func (c *Codec) put(name, value string) {
	for i := 0; i < len(value); i++ {
		if value[i] == 0 {
			c.err = fmt.Errorf("attribute %s: value contains a NUL octet", name)
			return
		}
	}
	c.w.WriteString(name)
	c.w.WriteByte(0)
	c.w.WriteString(value)
	c.fail(c.w.WriteByte(0))
}

func (c *Codec) take(name string) ([]byte, bool) {
	got, err := c.token(MaxName)
	if err != nil {
		c.err = err
		return nil, false
	}
	if string(got) != name {
		c.err = fmt.Errorf("attribute %s expected, got %.100q", name, got)
		return nil, false
	}
	value, err := c.token(MaxValue)
	if err != nil {
		c.err = unexpected(err)
		return nil, false
	}
	return value, true
}

// token reads up to the next NUL. Its result is valid until the next call.
func (c *Codec) token(limit int) ([]byte, error) {
	s, err := c.r.ReadSlice(0)
	if err == nil {
		if len(s)-1 > limit {
			return nil, errTooLong
		}
		return s[:len(s)-1], nil
	}
	c.scratch = c.scratch[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		c.scratch = append(c.scratch, s...)
		if len(c.scratch) > limit {
			return nil, errTooLong
		}
		s, err = c.r.ReadSlice(0)
	}
	c.scratch = append(c.scratch, s...)
	if err != nil {
		if len(c.scratch) > 0 {
			err = unexpected(err)
		}
		return nil, err
	}
	if len(c.scratch)-1 > limit {
		return nil, errTooLong
	}
	return c.scratch[:len(c.scratch)-1], nil
}

var errTooLong = errors.New("attribute is too long")

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Codec) fail(err error) {
	if err != nil && c.err == nil {
		c.err = err
	}
}
