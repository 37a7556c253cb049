package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"postern/internal/mail/address"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// addressTokens bounds how many tokens of one header field are looked at.
const addressTokens = 20_000

// content copies standard input line by line, without the "From " line that a
// mailbox has in front of a message.
func (m *draft) content() error {
	var machine *message.Machine
	if m.opt.extract {
		machine = message.New(message.Options{NoMIME: true, FieldLimit: m.HeaderLimit, Report: message.TruncatedField}, &header{draft: m})
	}
	strip := m.FixLineEndings == "always"
	decided := m.FixLineEndings != "strict"
	if decided && !strip && m.FixLineEndings != "never" {
		return fmt.Errorf("invalid sendmail_fix_line_endings value: %s", m.FixLineEndings)
	}
	r := newLines(m.In, m.Common.LineLengthLimit)
	first, previous := true, true // previous: the piece before ended its line
	for {
		line, whole, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("error reading input: %w", err)
		}
		if !decided && whole {
			strip, decided = bytes.HasSuffix(line, []byte("\r")), true
		}
		if first && whole && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			continue
		}
		first = false
		if strip && whole {
			line = bytes.TrimRight(line, "\r")
		}
		if m.opt.dotEnds && previous && len(line) == 1 && line[0] == '.' {
			break
		}
		previous = whole
		if machine != nil {
			machine.Line(line, !whole)
		} else {
			m.line(line, !whole)
		}
		if err := errors.Join(m.failed, m.w.Err()); err != nil {
			return err
		}
	}
	if machine != nil {
		inBody := !machine.InHeader()
		machine.End()
		if inBody && !previous {
			m.line(nil, false)
		}
	}
	return m.failed
}

func (m *draft) line(text []byte, more bool) {
	t := record.Norm
	if more {
		t = record.Cont
	}
	m.w.Put(t, text)
}

// A lines reader takes lines apart into pieces of at most limit octets.
type lines struct {
	r     *bufio.Reader
	limit int
	rest  []byte // of the line that was read last
	whole bool   // rest ends its line
	any   bool   // rest counts, even when it is empty
}

func newLines(r io.Reader, limit int) *lines {
	size := limit
	for size < 16<<10 {
		size += limit
	}
	return &lines{r: bufio.NewReaderSize(r, size), limit: limit}
}

// next returns a line without its end, or a piece of one when whole is false:
// because it is long, or because the input ends without a newline.
func (l *lines) next() (text []byte, whole bool, err error) {
	if !l.any {
		l.rest, err = l.r.ReadSlice('\n')
		switch {
		case err == nil:
			l.rest, l.whole, l.any = l.rest[:len(l.rest)-1], true, true
		case errors.Is(err, bufio.ErrBufferFull) || err == io.EOF && len(l.rest) > 0:
			l.whole, l.any = false, true
		default:
			return nil, false, err
		}
	}
	if len(l.rest) >= l.limit {
		text, l.rest = l.rest[:l.limit], l.rest[l.limit:]
		l.any = l.whole || len(l.rest) > 0
		return text, false, nil
	}
	l.any = false
	return l.rest, l.whole, nil
}

// A header takes what the machine finds: it collects the recipients that the
// header names (-t) and passes everything on.
type header struct {
	draft *draft
	list  address.List
}

func (h *header) Field(_ message.Section, name *message.Name, field []byte) {
	n := message.NameLength(field)
	value := bytes.TrimLeft(field[n:], " \t")
	if name != nil && name.Use&message.ExtractUse != 0 {
		h.collect(name.Use&message.ResentUse != 0, string(value[1:]))
	}
	// Blanks between a field's name and its colon are dropped. A field that is
	// longer than a line of the queue file may be comes in pieces again.
	text := append(append(make([]byte, 0, len(field)), field[:n]...), value...)
	for {
		line, rest, more := bytes.Cut(text, []byte("\n"))
		for limit := h.draft.Common.LineLengthLimit; len(line) > limit; line = line[limit:] {
			h.draft.line(line[:limit], true)
		}
		h.draft.line(line, false)
		if !more {
			return
		}
		text = rest
	}
}

func (h *header) collect(resent bool, value string) {
	list := &h.draft.extracted
	if resent {
		h.draft.isResent = true
		list = &h.draft.resent
	} else if h.draft.isResent {
		return
	}
	value, _, _ = strings.Cut(value, "\x00") // no address has what follows
	h.list.Parse(value, addressTokens)
	for _, t := range h.list.Tokens() {
		if t.Kind == address.Address {
			*list = append(*list, t.Text)
		}
	}
}

func (h *header) HeaderEnd() {}

func (h *header) Body(line []byte, more bool, _ int64) { h.draft.line(line, more) }

func (h *header) Problem(p message.Problem, _ []byte) {
	_, text := p.Detail()
	h.draft.failed = errors.New("unable to extract recipients: " + text)
}
