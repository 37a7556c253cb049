package milter

import "bytes"

// chunk is the largest piece of a body that is sent at once (libmilter:
// MILTER_CHUNK_SIZE).
const chunk = 65535

// A Source is the content of a message. Read gives it to f from the beginning,
// as the edits so far have left it, and stops where a method of f returns
// false.
type Source interface {
	Read(f *Feed) error
}

// An Editor changes the message. An error means that the message is lost.
type Editor interface {
	// AddHeader puts a field at the end of the header, InsertHeader one before
	// the field with a number, counted from 0 with those of our own. space is
	// what stands between the colon and the value.
	AddHeader(name, space, value string) error
	InsertHeader(index int, name, space, value string) error
	// ChangeHeader changes the index'th field of this name, counted from 1 and
	// without the Received: field of our own; DeleteHeader takes it out.
	ChangeHeader(index int, name, space, value string) error
	DeleteHeader(index int, name string) error
	// Body adds octets to the new body; first says that it begins. EndBody ends it.
	Body(text []byte, first bool) error
	EndBody() error
	// ChangeSender, AddRecipient and DeleteRecipient take addresses in their
	// external form; args are ESMTP parameters.
	ChangeSender(addr, args string) error
	AddRecipient(addr, args string) error
	DeleteRecipient(addr string) error
}

// Message asks the milters about a message, one after the other; each sees what
// those before it have made of it. An error is one of src or ed.
func (c *Chain) Message(src Source, ed Editor) (Response, error) {
	if c == nil {
		return Response{}, nil
	}
	for _, l := range c.links {
		if l.state != inMail {
			if !l.fixed.goesOn() {
				return l.fixed, nil
			}
			continue
		}
		f := &Feed{c: c, l: l}
		r, err := f.message(src, ed)
		if err != nil {
			l.drop() // nobody knows what it would have said
			return r, err
		}
		if !r.goesOn() {
			return r, nil
		}
	}
	return Response{}, nil
}

// A Feed sends the content of a message to one milter.
type Feed struct {
	c    *Chain
	l    *link
	body []byte
	resp Response
	over bool // the milter has decided
}

func (f *Feed) message(src Source, ed Editor) (Response, error) {
	f.l.skipped = 0
	if err := src.Read(f); err != nil {
		return Response{}, err
	}
	f.sendBody()
	if f.over {
		return f.resp, nil
	}
	l := f.l
	l.w.put(cmdMacro, []byte{onEnd.cmd}, f.c.evaluate(l.macros[onEnd.stage]))
	l.w.put(onEnd.cmd)
	if err := l.w.flush(l.ContentTimeout); err != nil {
		return l.fail("error writing command: %s", reason(err)), nil
	}
	e := &edits{Editor: ed}
	r := l.answer(&onEnd, e, l.ContentTimeout)
	if e.body && e.err == nil {
		e.err = ed.EndBody()
	}
	if r.goesOn() && e.hold && l.state != failed {
		r = Response{Action: Hold}
	}
	return r, e.err
}

// take notes the answer of the milter and says whether it wants more.
func (f *Feed) take(r Response) bool {
	if !r.goesOn() || f.l.state != inMail {
		f.resp, f.over = r, true
	}
	return !f.over
}

// macros are those of an event of the content.
func (f *Feed) macros(e *event) []byte { return f.c.evaluate(f.l.macros[e.stage]) }

// Header is a field of the header: its name and what follows the colon, lines
// separated by "\n".
func (f *Feed) Header(name, value string) bool {
	if f.over || f.l.skip&noHeaders != 0 {
		return !f.over
	}
	if f.l.skip&leadSpace == 0 && len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return f.take(f.l.tell(&onHeader, f.macros(&onHeader), nil, f.l.ContentTimeout, name, value))
}

// EndOfHeader ends the header.
func (f *Feed) EndOfHeader() bool {
	if f.over || f.l.skip&noEndOfHead != 0 {
		return !f.over
	}
	return f.take(f.l.tell(&onHeadEnd, f.macros(&onHeadEnd), nil, f.l.ContentTimeout))
}

var lineEnd = []byte("\r\n")

// Body is a line of the body, or with more set a piece of one.
func (f *Feed) Body(line []byte, more bool) bool {
	if f.over || f.l.skip&noBody != 0 || f.l.skipped == cmdBody {
		return !f.over
	}
	f.body = append(f.body, line...)
	if !more {
		f.body = append(f.body, lineEnd...)
	}
	for len(f.body) >= chunk && !f.over {
		rest := f.body[chunk:]
		f.take(f.l.tell(&onBody, f.macros(&onBody), f.body[:chunk], f.l.ContentTimeout))
		f.body = f.body[:copy(f.body, rest)]
	}
	return !f.over
}

func (f *Feed) sendBody() {
	if len(f.body) > 0 && !f.over {
		f.take(f.l.tell(&onBody, f.macros(&onBody), f.body, f.l.ContentTimeout))
	}
	f.body = nil
}

// edits carries out what a milter asks for at the end of a message.
type edits struct {
	Editor
	hold  bool
	body  bool // the body has begun
	count int
	err   error
}

// maxEdits bounds what one milter may ask for in one message.
const maxEdits = 100_000

func isEdit(reply byte) bool {
	switch reply {
	case replyAddRcpt, replyAddRcptPar, replyDelRcpt, replyChangeFrom, replyAddHeader, replyInsertHeader,
		replyChangeHeader, replyBody, replyQuarantine:
		return true
	}
	return false
}

// apply carries out one request. done says that there is nothing more to read.
func (e *edits) apply(l *link, reply byte, data []byte) (r Response, done bool) {
	if e.count++; e.count > maxEdits {
		return l.fail("more than %d requests to change a message", maxEdits), true
	}
	problem := e.request(l, reply, data)
	if problem != nil {
		return l.fail("bad request %s: %v", replyName(reply), problem), true
	}
	return Response{}, e.err != nil
}

// request returns an error when the milter is to blame.
func (e *edits) request(l *link, reply byte, data []byte) error {
	space := " "
	if l.skip&leadSpace != 0 {
		space = ""
	}
	switch reply {
	case replyBody:
		e.err = e.Body(data, !e.body)
		e.body = true
	case replyQuarantine:
		e.hold = true
	case replyAddHeader, replyInsertHeader, replyChangeHeader:
		return e.header(l, reply, data, space)
	case replyAddRcpt, replyDelRcpt:
		_, list, err := fields(data, false, 1, false)
		if err != nil {
			return err
		}
		if reply == replyAddRcpt {
			e.err = e.AddRecipient(list[0], "")
		} else {
			e.err = e.DeleteRecipient(list[0])
		}
	case replyAddRcptPar, replyChangeFrom:
		_, list, err := fields(data, false, 2, true)
		if err != nil {
			return err
		}
		if reply == replyAddRcptPar {
			e.err = e.AddRecipient(list[0], list[1])
		} else {
			e.err = e.ChangeSender(list[0], list[1])
		}
	}
	return nil
}

func (e *edits) header(l *link, reply byte, data []byte, space string) error {
	number, list, err := fields(data, reply != replyAddHeader, 2, false)
	if err != nil {
		return err
	}
	name, value, index := list[0], list[1], int(min(number, 1<<30))
	if name == "" {
		l.warn("milter %s: null change header name", l.Name)
		return nil
	}
	if !fieldName(name) {
		l.warn("milter %s: ignoring bad header name %.100q", l.Name, name)
		return nil
	}
	value = fieldValue(value)
	switch {
	case reply == replyAddHeader:
		e.err = e.AddHeader(name, space, value)
	case reply == replyInsertHeader:
		e.err = e.InsertHeader(index, name, space, value)
	case value == "":
		e.err = e.DeleteHeader(index, name)
	default:
		e.err = e.ChangeHeader(index, name, space, value)
	}
	return nil
}

// fieldName says that name may stand before the colon of a field.
func fieldName(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':' {
			return false
		}
	}
	return name != ""
}

// fieldValue makes line ends "\n" and lets no line of a value end the header.
func fieldValue(value string) string {
	b := bytes.ReplaceAll([]byte(value), lineEnd, lineEnd[1:])
	for i, c := range b {
		if c == '\r' {
			b[i] = ' '
		}
	}
	return string(b)
}
