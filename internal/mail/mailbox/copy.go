// Package mailbox is where mail ends: a file in mbox form or a Maildir, written
// so that a crash at any moment loses nothing.
//
// A Copy is the form in which a message leaves the queue for a mailbox, a file
// or a command: which header fields are put before it, how lines end, what is
// quoted. Its result goes to an Mbox or a Maildir, or to the standard input of
// a command. Errors say by their status whether the mail is to be tried again;
// what is wrong with the system never is the sender's fault.
package mailbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"postern/internal/mail/address"
	"postern/internal/mail/record"
)

// Content is the records of a message's content; they end with record.Xtra.
type Content interface {
	Next() (record.Type, []byte, error)
}

// A Copy says in what form a message is written.
type Copy struct {
	From       bool   // a line "From sender date" comes first
	ReturnPath bool   // a field Return-Path: with the sender
	OrigTo     string // a field X-Original-To: with this address; "" for none
	Delivered  string // a field Delivered-To: with this address; "" for none
	QuoteFrom  bool   // lines "From …" get a ">" before them
	QuoteDots  bool   // lines that start with "." get another (pipe flags=.)
	BlankEnd   bool   // an empty line ends the message
	EOL        string // line end; "" for "\n"

	Sender string    // internal form
	Time   time.Time // of the From line
	Fields []string  // further header fields, "Name: value", after those above
}

// Mbox returns the form of mbox files.
func Mbox(sender, origTo, delivered string, now time.Time) Copy {
	return Copy{
		From: true, ReturnPath: true, OrigTo: origTo, Delivered: delivered,
		QuoteFrom: true, BlankEnd: true, Sender: sender, Time: now,
	}
}

// Maildir returns the form of files in a Maildir.
func Maildir(sender, origTo, delivered string) Copy {
	return Copy{ReturnPath: true, OrigTo: origTo, Delivered: delivered, Sender: sender}
}

// A ReadError is a message that cannot be read from the queue; whatever was
// written is of no use.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return fmt.Sprintf("error reading message: %v", e.Err) }
func (e *ReadError) Unwrap() error { return e.Err }

// A WriteError is a message that cannot be written.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return "error writing message: " + systemText(e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// outBuffers holds the buffers of copies: most messages are one write.
var outBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 32<<10) }}

// To writes the message to w. Its errors are of type *ReadError or *WriteError.
func (c *Copy) To(w io.Writer, content Content) error {
	out := outBuffers.Get().(*bufio.Writer)
	out.Reset(w)
	defer func() {
		out.Reset(nil) // neither the destination nor what was not written
		outBuffers.Put(out)
	}()
	eol := c.EOL
	if eol == "" {
		eol = "\n"
	}
	c.head(out, eol)
	if err := c.lines(out, eol, content); err != nil {
		return err
	}
	if c.BlankEnd {
		out.WriteString(eol)
	}
	if err := out.Flush(); err != nil {
		return &WriteError{err}
	}
	return nil
}

func (c *Copy) head(out *bufio.Writer, eol string) {
	sender := address.Quote822(c.Sender)
	if c.From {
		from := sender
		if from == "" {
			from = "MAILER-DAEMON"
		}
		fmt.Fprintf(out, "From %s  %s%s", clean(from), c.Time.Format(time.ANSIC), eol)
	}
	if c.ReturnPath {
		out.WriteString("Return-Path: <" + clean(sender) + ">" + eol)
	}
	if c.OrigTo != "" {
		out.WriteString("X-Original-To: " + clean(address.Quote822(c.OrigTo)) + eol)
	}
	if c.Delivered != "" {
		out.WriteString("Delivered-To: " + clean(address.Quote822(c.Delivered)) + eol)
	}
	for _, f := range c.Fields {
		out.WriteString(clean(f) + eol)
	}
}

// clean keeps an address from breaking the line that it stands in.
func clean(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return '?'
		}
		return r
	}, s)
}

func (c *Copy) lines(out *bufio.Writer, eol string, content Content) error {
	partial := false // the last record was the piece of a line
	for {
		t, data, err := content.Next()
		if err == nil && t != record.Norm && t != record.Cont && t != record.Xtra {
			err = fmt.Errorf("bad record type %d in message content", t)
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return &ReadError{err}
		}
		if t == record.Xtra {
			if partial {
				out.WriteString(eol)
			}
			return nil
		}
		if !partial && len(data) > 0 {
			if c.QuoteFrom && data[0] == 'F' && strings.HasPrefix(string(data[:min(len(data), 5)]), "From ") {
				out.WriteByte('>')
			}
			if c.QuoteDots && data[0] == '.' {
				out.WriteByte('.')
			}
		}
		partial = t == record.Cont
		if b := out.AvailableBuffer(); !partial && cap(b) >= len(data)+len(eol) {
			_, err = out.Write(append(append(b, data...), eol...))
		} else if _, err = out.Write(data); !partial {
			_, err = out.WriteString(eol)
		}
		if err != nil {
			return &WriteError{err}
		}
	}
}

// IsReadError says that the message could not be read from the queue.
func IsReadError(err error) bool {
	var e *ReadError
	return errors.As(err, &e)
}
