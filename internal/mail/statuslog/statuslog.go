// Package statuslog is the form of the logs that tell, for each recipient of a
// message, why it bounced or was deferred, or how it was delivered: the files in
// the queue directories bounce, defer and trace.
//
// A log is text. Each recipient is a paragraph of "name=value" lines between
// empty lines; a line "<address>: reason" before them is for readers from before
// Postfix 2.1. Addresses are in external form, "<>" is the empty one. What is
// garbled is passed over, so that as much as possible can be told.
package statuslog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
)

// A Record is what a log has on one recipient. Addresses are in internal form.
type Record struct {
	Address     string
	OrigAddr    string // "" when it is the same or not known
	Offset      int64  // of the recipient's record in the queue file; 0: not known
	DSNOrigRcpt string // "type;address"
	Notify      int
	Result      dsn.Result
}

// Append appends the record to b as a paragraph. old adds the line for readers
// of the old form, backwards_bounce_logfile_compatibility.
func (r *Record) Append(b []byte, old bool) []byte {
	addr := external(r.Address)
	reason := printable(r.Result.Reason)
	b = append(b, '\n')
	if old {
		if addr == "<>" {
			addr = ""
		}
		b = append(b, '<')
		b = append(b, addr...)
		b = append(b, ">: "...)
		b = append(b, reason...)
		b = append(b, '\n')
		addr = external(r.Address)
	}
	line := func(name, value string) {
		b = append(b, name...)
		b = append(b, '=')
		b = append(b, printable(value)...)
		b = append(b, '\n')
	}
	line("recipient", addr)
	if r.OrigAddr != "" && !strings.EqualFold(r.OrigAddr, r.Address) {
		line("original_recipient", external(r.OrigAddr))
	}
	if r.Offset > 0 {
		line("offset", strconv.FormatInt(r.Offset, 10))
	}
	if r.DSNOrigRcpt != "" {
		line("dsn_orig_rcpt", r.DSNOrigRcpt)
	}
	if r.Notify != 0 {
		line("notify_flags", strconv.Itoa(r.Notify))
	}
	d := &r.Result
	if d.Status != "" {
		line("status", string(d.Status))
	}
	if d.Action != "" {
		line("action", d.Action)
	}
	if d.DiagType != "" && d.DiagText != "" {
		line("diag_type", d.DiagType)
		line("diag_text", d.DiagText)
	}
	if d.MTAType != "" && d.MTAName != "" {
		line("mta_type", d.MTAType)
		line("mta_mname", d.MTAName)
	}
	if d.Reason != "" {
		line("reason", reason)
	}
	return append(b, '\n')
}

func external(addr string) string {
	if addr == "" {
		return "<>"
	}
	return printable(address.Quote822(addr))
}

// printable keeps a value on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// maxLine bounds what is read of a line; the rest of it is passed over.
const maxLine = 100_000

// A Reader takes records out of a log.
type Reader struct {
	r *bufio.Reader
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 4096)} }

// Next returns the next record, io.EOF after the last one. A record that another
// one follows without an empty line was not written to its end, by a machine that
// lost its power: nobody was told that it is there, and it says nothing.
func (r *Reader) Next() (Record, error) {
	var rec Record
	seen, named := false, false // something; the recipient
	for {
		line, err := r.line()
		if err != nil {
			if errors.Is(err, io.EOF) && seen {
				return rec.finish(), nil
			}
			return Record{}, err
		}
		if len(line) == 0 {
			if seen {
				return rec.finish(), nil
			}
			continue
		}
		name := bytes.HasPrefix(line, []byte("recipient="))
		if name && named || line[0] == '<' && seen {
			rec, named = Record{}, false
		}
		if rec.take(string(line)) {
			seen, named = true, named || name
		}
	}
}

// take puts one line in its place; false is a line that says nothing.
func (r *Record) take(line string) bool {
	if line[0] == '<' {
		addr, reason, ok := strings.Cut(line[1:], ">: ")
		if ok {
			r.Address = address.Unquote822(addr)
			r.Result.Reason = reason
		}
		return ok
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return false
	}
	d := &r.Result
	switch name {
	case "recipient":
		r.Address = internal(value)
	case "original_recipient":
		r.OrigAddr = internal(value)
	case "offset":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			r.Offset = n
		}
	case "dsn_orig_rcpt":
		r.DSNOrigRcpt = value
	case "notify_flags":
		if n, err := strconv.Atoi(value); err == nil && n > 0 && n < 16 {
			r.Notify = n
		}
	case "status":
		d.Status = dsn.Status(value)
	case "action":
		d.Action = value
	case "diag_type":
		d.DiagType = value
	case "diag_text":
		d.DiagText = value
	case "mta_type":
		d.MTAType = value
	case "mta_mname":
		d.MTAName = value
	case "reason":
		d.Reason = value
	default:
		return false
	}
	return true
}

func internal(addr string) string {
	if addr == "<>" {
		return ""
	}
	return address.Unquote822(addr)
}

// finish fills in what an old or garbled record lacks.
func (r Record) finish() Record {
	if r.Result.Reason == "" {
		r.Result.Reason = "(unavailable)"
	}
	return r
}

// line returns the next line without its end.
func (r *Reader) line() ([]byte, error) {
	var b []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(b)+len(part) <= maxLine {
			b = append(b, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && len(b) == 0 {
			return nil, err
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		return bytes.TrimRight(b, " \t\n\v\f\r"), nil
	}
}
