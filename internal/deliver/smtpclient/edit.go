package smtpclient

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrclass"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/check"
	"postern/internal/mail/message"
	"postern/internal/table"
)

// openEdits opens what changes messages on their way out.
func (c *Client) openEdits() (err error) {
	conf, o := &c.config, c.env.Tables
	c.checks.Warn = func(err error) { c.env.Log.Warningf("%v", err) }
	for _, m := range []struct {
		field             **table.Maps
		smtp, lmtp, value string
		flags             table.Flags
	}{
		{&c.checks.Header, "smtp_header_checks", "lmtp_header_checks", conf.HeaderChecks, check.TableFlags},
		{&c.checks.MIME, "smtp_mime_header_checks", "lmtp_mime_header_checks", conf.MIMEHeaderChecks, check.TableFlags},
		{&c.checks.Nested, "smtp_nested_header_checks", "lmtp_nested_header_checks", conf.NestedHeaderChecks, check.TableFlags},
		{&c.checks.Body, "smtp_body_checks", "lmtp_body_checks", conf.BodyChecks, check.TableFlags},
		{&c.genericMaps, "smtp_generic_maps", "lmtp_generic_maps", conf.GenericMaps, 0},
	} {
		if *m.field, err = o.Maps(c.param(m.smtp, m.lmtp), m.value, m.flags); err != nil {
			return err
		}
	}
	if c.genericMaps.Empty() {
		return nil
	}
	return c.openGeneric()
}

// openGeneric prepares smtp_generic_maps.
func (c *Client) openGeneric() error {
	common := c.env.Common
	classes, err := addrclass.New(addrclass.Config{MyDestination: common.MyDestination, OwnAddresses: c.own}, c.env.Tables)
	if err != nil {
		return err
	}
	client := rewrite.New(c.env.Endpoint("private", common.RewriteServiceName, rewrite.Protocol))
	for _, w := range splitNexthop(c.config.PropagateExtensions) {
		c.propagate = c.propagate || w == "generic"
	}
	c.generic = &addrmap.Mapper{
		Extensions: address.Extensions{
			Delimiters:          common.RecipientDelimiter,
			OwnerRequestSpecial: common.OwnerRequestSpecial,
			DoubleBounceSender:  common.DoubleBounceSender,
		},
		Local: func(ctx context.Context, domain string) (bool, error) {
			if strings.EqualFold(domain, common.MyOrigin) {
				return true, nil
			}
			return classes.Local(ctx, domain)
		},
		Rewrite: func(ctx context.Context, addr string) (string, error) { return client.Rewrite(ctx, "local", addr) },
	}
	return nil
}

// rewritten is an address after smtp_generic_maps.
func (d *delivering) rewritten(addr string) (string, error) {
	c := d.client
	if c.generic == nil || addr == "" {
		return addr, nil
	}
	return c.generic.One(d.ctx, c.genericMaps, addr, c.propagate, func(err error) {
		d.req.Log.Warningf("%s: %v", d.req.QueueID, err)
	})
}

// path is an address as SMTP commands have it.
func (c *Client) path(addr string) string {
	if !c.config.QuoteEnvelope {
		return addr
	}
	return address.Quote821(addr)
}

// An editor changes the lines of a message before they are written: header
// and body checks, generic maps, and what a server needs that takes only 7-bit
// text.
type editor struct {
	t         *transaction
	out       *lineWriter
	machine   *message.Machine
	downgrade bool // encode 8-bit parts
	checks    bool
	maps      bool

	list      address.List
	buf       []byte
	skipping  bool // the rest of a line that was dropped
	composite bool // the part holds parts
	pending   bool // the part is 8-bit, so that its header gets another encoding
	blank     bool // the line that ends the header comes next
	quoting   bool // the part's lines are encoded
	qp        []byte
	err       error
}

// editor returns what changes the message for this server, nil for nothing.
func (t *transaction) editor(out *lineWriter) *editor {
	c := t.client
	e := &editor{t: t, out: out, checks: !c.checks.Empty(), maps: c.generic != nil}
	e.downgrade = t.downgrades()
	if !e.downgrade && !e.checks && !e.maps {
		return nil
	}
	e.machine = message.New(message.Options{
		NoMIME:        c.config.DisableMIMEInput && !e.downgrade,
		FieldLimit:    c.config.HeaderSizeLimit,
		BoundaryLimit: c.config.MIMEBoundaryLimit,
		NestingLimit:  c.config.MIMENestingLimit,
	}, e)
	return e
}

// downgrades says whether the message may have to be encoded for a server that
// takes only 7-bit text.
func (t *transaction) downgrades() bool {
	return t.req.Encoding != "7bit" && !t.s.has(feat8BitMIME) && !t.client.config.DisableMIMEConversion
}

// Line takes a line of the message, or a piece of one.
func (e *editor) Line(p []byte, whole bool) error {
	e.machine.Line(p, !whole)
	return e.err
}

// End ends the message.
func (e *editor) End() error {
	e.machine.End()
	e.flush()
	return e.err
}

func (e *editor) write(p []byte, whole bool) {
	if e.err == nil {
		e.err = e.out.Line(p, whole)
	}
}

// lines writes a header field, whose lines are separated by "\n".
func (e *editor) lines(field []byte) {
	for more := true; more; {
		var line []byte
		line, field, more = bytes.Cut(field, []byte{'\n'})
		e.write(line, true)
	}
}

// Field implements message.Handler.
func (e *editor) Field(s message.Section, name *message.Name, field []byte) {
	if e.err != nil {
		return
	}
	if e.checks {
		if field = e.check("header", field, func() (check.Result, error) {
			return e.t.client.checks.Field(e.t.ctx, s, name, field)
		}); field == nil {
			return
		}
	}
	if e.maps && s == message.Primary && name != nil && name.Use&(message.SenderUse|message.RecipientUse) != 0 {
		field = e.mapped(name, field)
	}
	if e.downgrade && name != nil && e.encoding(name, field) {
		return
	}
	e.lines(field)
}

// encoding takes note of the fields that say how a part is encoded. It returns
// whether the field is replaced when the header ends.
func (e *editor) encoding(name *message.Name, field []byte) bool {
	switch name.ID {
	case message.ContentType:
		value := strings.ToLower(string(message.Value(field)))
		e.composite = strings.HasPrefix(value, "multipart/") || strings.HasPrefix(value, "message/")
	case message.ContentTransferEncoding:
		value := message.Value(field)
		if bytes.EqualFold(value, []byte("8bit")) || bytes.EqualFold(value, []byte("binary")) {
			e.pending = true
			return true
		}
	}
	return false
}

// HeaderEnd implements message.Handler.
func (e *editor) HeaderEnd() { e.endHeader() }

// endHeader writes the encoding that a part gets.
func (e *editor) endHeader() {
	if e.pending {
		text := "Content-Transfer-Encoding: quoted-printable"
		if e.composite {
			text = "Content-Transfer-Encoding: 7bit"
		}
		e.write([]byte(text), true)
		e.blank = !e.composite
	}
	e.pending, e.composite = false, false
}

// Body implements message.Handler.
func (e *editor) Body(line []byte, more bool, offset int64) {
	if e.machine.AtBoundary() {
		e.flush()
		e.quoting, e.blank, e.composite = false, false, false
		e.write(line, !more)
		return
	}
	if e.pending {
		e.endHeader()
	}
	if e.blank {
		// The line that ends the header is not part of the body.
		e.blank, e.quoting = false, true
		e.write(line, !more)
		return
	}
	if e.checks && !e.skipping {
		if line = e.check("body", line, func() (check.Result, error) {
			return e.t.client.checks.Line(e.t.ctx, line, offset)
		}); line == nil {
			e.skipping = more
			return
		}
	}
	if e.skipping {
		e.skipping = more
		return
	}
	if e.quoting {
		e.quote(line, more)
		return
	}
	e.write(line, !more)
}

// Problem implements message.Handler.
func (e *editor) Problem(message.Problem, []byte) {}

// check asks the tables about a header field or body line. It returns what to
// go on with, nil for nothing.
func (e *editor) check(where string, text []byte, ask func() (check.Result, error)) []byte {
	r, err := ask()
	log, id := e.t.req.Log, e.t.req.QueueID
	if err != nil {
		log.Warningf("%s: smtp %s checks lookup error", id, where)
		e.err = fmt.Errorf("%w: %w", errContent, err)
		return nil
	}
	tell := func() {
		if r.Text == "" || r.Action == check.Prepend || r.Action == check.Replace {
			log.Infof("%s: %s: %s %.60s%s", id, r.Action, where, text, optional(r))
		} else {
			log.Infof("%s: %s: %s %.60s: %s", id, r.Action, where, text, r.Text)
		}
	}
	switch r.Action {
	case check.Dunno, check.Pass:
	case check.Ignore:
		return nil
	case check.Strip:
		tell()
		return nil
	case check.Info, check.Warn:
		tell()
	case check.Prepend:
		tell()
		e.lines([]byte(r.Text))
	case check.Replace:
		tell()
		return []byte(r.Text)
	default:
		log.Warningf("%s: unsupported command in %s checks: %s", id, where, r.Action)
	}
	return text
}

func optional(r check.Result) string {
	if r.Text == "" {
		return ""
	}
	return ": " + r.Text
}

// mapped is an address header field after smtp_generic_maps.
func (e *editor) mapped(name *message.Name, field []byte) []byte {
	n := message.NameLength(field)
	if n == 0 {
		return field
	}
	e.list.Parse(string(field[bytes.IndexByte(field, ':')+1:]), headerTokens)
	changed := false
	for i, tok := range e.list.Tokens() {
		if tok.Kind != address.Address {
			continue
		}
		out, err := e.t.rewritten(tok.Text)
		if err != nil {
			e.t.req.Log.Warningf("%s: %v", e.t.req.QueueID, err)
			e.err = fmt.Errorf("%w: %w", errContent, err)
			return field
		}
		if out != tok.Text {
			e.list.Tokens()[i].Text = out
			changed = true
		}
	}
	if !changed {
		return field
	}
	e.buf = e.list.AppendHeader(e.buf[:0], string(field[:n]))
	return e.buf
}

// headerTokens bounds the addresses of one header field
// (header_address_token_limit).
const headerTokens = 10240

// Limits of a line of quoted-printable text: a line is ended before it can
// grow over 76 octets with its "=" (RFC 2045 6.7).
const qpWidth = 72

// quote writes a line of an 8-bit part as quoted-printable text.
func (e *editor) quote(line []byte, more bool) {
	const hex = "0123456789ABCDEF"
	for _, c := range line {
		if len(e.qp) > qpWidth {
			e.write(append(e.qp, '='), true)
			e.qp = e.qp[:0]
		}
		if c == '=' || c < ' ' && c != '\t' || c > 126 {
			e.qp = append(e.qp, '=', hex[c>>4], hex[c&15])
		} else {
			e.qp = append(e.qp, c)
		}
	}
	if !more {
		if n := len(e.qp) - 1; n >= 0 && (e.qp[n] == ' ' || e.qp[n] == '\t') {
			c := e.qp[n]
			e.qp = append(e.qp[:n], '=', hex[c>>4], hex[c&15])
		}
		e.write(e.qp, true)
		e.qp = e.qp[:0]
	}
}

// flush writes what is left of an unfinished line.
func (e *editor) flush() {
	if len(e.qp) > 0 {
		e.write(e.qp, true)
		e.qp = e.qp[:0]
	}
}
