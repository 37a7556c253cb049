// Package check is header_checks and body_checks: tables that look at header
// fields and body lines and say what to do with them or with the message.
//
// Postfix: header_checks(5). The tables see one logical header field, its
// lines separated by "\n", or one body line. An empty line is in no table.
package check

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/mail/message"
	"postern/internal/table"
)

// An Action is the first word of a table's answer.
type Action int

// The actions. Dunno is also what "OK" means, and what is not understood.
const (
	Dunno    Action = iota
	BCC             // add a recipient
	Discard         // pretend to deliver the message
	Filter          // send the message to a content filter
	Hold            // place the message on hold
	Ignore          // drop the line
	Info            // log
	Pass            // no further checks of this message
	Prepend         // put a line before this one
	Redirect        // send the message to another address
	Reject          // refuse the message
	Replace         // put another line in the place of this one
	Strip           // drop the line and log
	Warn            // log a warning
)

var words = [...]struct {
	word   string // in configuration
	action Action
	logged string // in log lines; "" for what is not logged
}{
	{"REJECT", Reject, "reject"},
	{"WARN", Warn, "warning"},
	{"INFO", Info, "info"},
	{"FILTER", Filter, "filter"},
	{"PASS", Pass, "pass"},
	{"DISCARD", Discard, "discard"},
	{"HOLD", Hold, "hold"},
	{"PREPEND", Prepend, "prepend"},
	{"REPLACE", Replace, "replace"},
	{"REDIRECT", Redirect, "redirect"},
	{"BCC", BCC, "bcc"},
	{"STRIP", Strip, "strip"},
	{"IGNORE", Ignore, ""},
	{"DUNNO", Dunno, ""},
	{"OK", Dunno, ""},
}

// String returns the word of log lines.
func (a Action) String() string {
	for _, w := range words {
		if w.action == a {
			return w.logged
		}
	}
	return ""
}

// A Result is what to do.
type Result struct {
	Action Action
	Text   string // the rest of the answer
}

// Parse reads value, the answer of the tables called title. With header set,
// the texts of PREPEND and REPLACE must be header fields. An answer that makes
// no sense is Dunno, with an error that is to be logged as a warning.
func Parse(title, value string, header bool) (Result, error) {
	word, text := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		word, text = value[:i], strings.TrimLeft(value[i:], " \t\r\n\v\f")
	}
	for _, w := range words {
		if strings.EqualFold(w.word, word) {
			r := Result{w.action, text}
			if err := r.check(title, header); err != nil {
				return Result{}, err
			}
			return r, nil
		}
	}
	return Result{}, fmt.Errorf("unknown command in %s map: %s", title, value)
}

func (r Result) check(title string, header bool) error {
	badHeader := header && message.NameLength([]byte(r.Text)) == 0
	switch {
	case r.Action == Filter && r.Text == "":
		return fmt.Errorf("missing FILTER command argument in %s map", title)
	case r.Action == Filter && !strings.Contains(r.Text, ":"):
		return fmt.Errorf("bad FILTER command %s in %s -- need transport:destination", r.Text, title)
	case r.Action == Prepend && r.Text == "":
		return fmt.Errorf("PREPEND action without text in %s map", title)
	case r.Action == Prepend && badHeader:
		return fmt.Errorf("bad PREPEND header text \"%s\" in %s map -- need \"headername: headervalue\"", r.Text, title)
	case r.Action == Replace && r.Text == "":
		return fmt.Errorf("REPLACE action without text in %s map", title)
	case r.Action == Replace && badHeader:
		return fmt.Errorf("bad REPLACE header text \"%s\" in %s map -- need \"headername: headervalue\"", r.Text, title)
	case r.Action == Redirect && !strings.Contains(r.Text, "@"):
		return fmt.Errorf("bad REDIRECT target \"%s\" in %s map -- need user@domain", r.Text, title)
	case r.Action == BCC && !strings.Contains(r.Text, "@"):
		return fmt.Errorf("bad BCC address \"%s\" in %s map -- need user@domain", r.Text, title)
	}
	return nil
}

// Checks are the tables of one program. Nil Maps check nothing.
type Checks struct {
	Header, MIME, Nested, Body *table.Maps
	BodyLimit                  int64       // body_checks_size_limit: octets of each part
	Warn                       func(error) // called with what makes no sense
}

// TableFlags are how the tables of Checks are opened.
const TableFlags = table.KeepCase | table.AnyOctets

// Empty says that there is nothing to check.
func (c *Checks) Empty() bool { return c.Body.Empty() && c.NoHeader() }

// NoHeader says that no header field is checked.
func (c *Checks) NoHeader() bool { return c.Header.Empty() && c.MIME.Empty() && c.Nested.Empty() }

// Field checks a header field. name is nil for an unknown one. An error means
// that a table could not be asked.
func (c *Checks) Field(ctx context.Context, s message.Section, name *message.Name, field []byte) (Result, error) {
	return c.ask(ctx, c.fieldMaps(s, name), field, true)
}

func (c *Checks) fieldMaps(s message.Section, name *message.Name) *table.Maps {
	switch {
	case name != nil && name.Use&message.MIMEUse != 0, s == message.Part:
		return c.MIME
	case s == message.Nested:
		return c.Nested
	}
	return c.Header
}

// Line checks a body line that stands offset octets into its part.
func (c *Checks) Line(ctx context.Context, line []byte, offset int64) (Result, error) {
	if c.Body.Empty() || len(line) == 0 || c.BodyLimit > 0 && offset >= c.BodyLimit {
		return Result{}, nil
	}
	return c.ask(ctx, c.Body, line, false)
}

func (c *Checks) ask(ctx context.Context, maps *table.Maps, text []byte, header bool) (Result, error) {
	if maps.Empty() {
		return Result{}, nil
	}
	value, found, err := maps.Lookup(ctx, string(text))
	if err != nil || !found {
		return Result{}, err
	}
	r, err := Parse(maps.Title(), value, header)
	if err != nil && c.Warn != nil {
		c.Warn(err)
	}
	return r, nil
}
