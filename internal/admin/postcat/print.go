package postcat

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/mail/message"
	"postern/internal/mail/record"
)

// firstTypes are the types with which a queue file can begin.
const firstTypes = "MCTcFILSDRO/WVA>K<ion"

var errRead = errors.New("record read error")

// A state is the part of the message in which records are.
type state int

const (
	inEnvelope state = iota
	inHeader
	inBody
)

// A printer prints one file.
type printer struct {
	options
	path string
	out  *bufio.Writer
	log  *maillog.Logger

	r        *record.FileReader
	state    state
	show     bool // records of this state are wanted
	sizes    *record.Sizes
	at       int64       // offset at which the record was looked for
	previous record.Type // the last text record; 0 when its line has ended
}

func (p *printer) print(f readerAt) error {
	p.r = record.NewFileReader(f, p.start)
	p.r.Raw = p.verbose
	var first [1]byte
	n, _ := f.ReadAt(first[:], p.start)
	if n == 0 {
		return nil
	}
	if p.start == 0 && bytes.IndexByte([]byte(firstTypes), first[0]) < 0 {
		p.log.Warningf("%s: input is not a valid queue file", p.path)
		return nil
	}
	if p.envelope && p.start == 0 {
		fmt.Fprintf(p.out, "*** ENVELOPE RECORDS %s ***\n", p.path)
	}
	p.show = p.envelope
	for {
		p.at = p.r.Offset()
		t, data, err := p.r.Next()
		if err == io.EOF {
			return p.out.Flush()
		}
		if err != nil {
			p.out.Flush()
			p.log.Warningf("%s: %v", p.path, err)
			return errRead
		}
		printed, done := p.steer(t, data)
		if done {
			return p.out.Flush()
		}
		if !printed && p.show {
			p.record(t, data)
		}
		if t == record.Ptr && !p.raw {
			if err := p.r.Follow(data); err != nil {
				p.out.Flush()
				return fmt.Errorf("bad pointer record, or input is not seekable: %w", err)
			}
		}
	}
}

// steer looks at records that change the state or the order of reading.
// printed says that nothing of the record is left to print.
func (p *printer) steer(t record.Type, data []byte) (printed, done bool) {
	switch t {
	case record.Norm, record.Cont:
		p.text(data)
	case record.Mesg:
		p.expect(p.state == inEnvelope, "out-of-order message content marker")
		p.marker(t, "MESSAGE CONTENTS")
		if end, ok := p.sizes.ContentEnd(p.r.Offset()); ok && !p.header && !p.body {
			p.r.SeekTo(end)
		}
		p.state, p.show = inHeader, p.header
		return true, false
	case record.Xtra:
		p.expect(p.state != inEnvelope, "out-of-order extracted segment marker")
		p.marker(t, "HEADER EXTRACTED")
		p.state, p.show = inEnvelope, p.envelope
		return true, !p.envelope
	case record.End:
		p.expect(p.state == inEnvelope, "out-of-order message end marker")
		p.marker(t, "MESSAGE FILE END")
		return true, !p.raw
	case record.Size:
		return p.size(data), false
	}
	return false, false
}

func (p *printer) expect(ok bool, problem string) {
	if !ok {
		p.out.Flush()
		p.log.Warningf("%s: %s", p.path, problem)
	}
}

// text notices where the header ends: with the first line that can be no part
// of it.
func (p *printer) text(line []byte) {
	if p.state != inHeader || p.previous == record.Cont || !p.header && !p.body {
		return
	}
	if message.NameLength(line) > 0 || len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return
	}
	p.state, p.show = inBody, p.body
}

// size remembers where the content is; where the envelope is not wanted, it
// goes there.
func (p *printer) size(data []byte) (printed bool) {
	if p.sizes != nil {
		p.expect(false, "file contains multiple size records")
		return false
	}
	sizes, err := record.ParseSizes(data)
	if err == nil && sizes.SendOpts != 0 && sizes == (record.Sizes{SendOpts: sizes.SendOpts}) {
		return false // of a submission: it tells what the sender asks for only
	}
	if err != nil || sizes.ContentOffset <= 0 || sizes.Content <= 0 {
		p.out.Flush()
		p.log.Warningf("invalid size record: %.100s", data)
	}
	p.sizes = &sizes
	if !p.envelope && sizes.ContentOffset > 0 {
		p.r.SeekTo(sizes.ContentOffset)
		p.state, p.show = inHeader, p.header
		return true
	}
	return false
}

// prefix is what -o and -d put in front of a record.
func (p *printer) prefix(t record.Type) {
	if p.offsets {
		fmt.Fprintf(p.out, "%9d ", p.at)
	}
	if p.decimal {
		fmt.Fprintf(p.out, "%3d ", t)
	}
}

func (p *printer) marker(t record.Type, text string) {
	if p.envelope {
		p.prefix(t)
		fmt.Fprintf(p.out, "*** %s %s ***\n", text, p.path)
	}
}

func (p *printer) record(t record.Type, data []byte) {
	p.prefix(t)
	p.previous = t
	switch t {
	case record.Time, record.Warn:
		fmt.Fprintf(p.out, "%v: %s", t, ctime(data))
	case record.Cont:
		p.piece(data)
	case record.Norm, record.Pad:
		if p.verbose {
			fmt.Fprintf(p.out, "%v: ", t)
		} else if t == record.Pad {
			return
		}
		p.out.Write(data)
		p.out.WriteByte('\n')
	case record.Attr:
		p.attr(t, data)
	default:
		fmt.Fprintf(p.out, "%v: %s\n", t, cString(data))
	}
}

// piece prints a content filter, or a piece of a line of text: they have the
// same type.
func (p *printer) piece(data []byte) {
	switch {
	case p.state == inEnvelope:
		p.out.WriteString("content_filter: ")
	case p.verbose:
		p.out.WriteString("unterminated_text: ")
	}
	p.out.Write(data)
	if p.state == inEnvelope || p.verbose || p.offsets {
		p.previous = 0
		p.out.WriteByte('\n')
	}
}

func (p *printer) attr(t record.Type, data []byte) {
	name, value, ok := bytes.Cut(cString(data), []byte("="))
	if name, value = bytes.TrimSpace(name), bytes.TrimSpace(value); !ok || len(name) == 0 {
		problem := "missing '=' after attribute name"
		if ok {
			problem = "missing attribute name"
		}
		p.out.Flush()
		p.log.Warningf("%s: malformed attribute: %s: %.100s", p.path, problem, data)
		return
	}
	if string(name) == "create_time" {
		fmt.Fprintf(p.out, "create_time: %s", ctime(value))
		return
	}
	fmt.Fprintf(p.out, "%v: %s=%s\n", t, name, value)
}

// ctime is the number of seconds at the start of data, in the words of
// ctime(3), with its newline.
func ctime(data []byte) string {
	n := 0
	for n < len(data) && data[n] >= '0' && data[n] <= '9' {
		n++
	}
	seconds, _ := strconv.ParseInt(string(data[:n]), 10, 64)
	return time.Unix(seconds, 0).Format("Mon Jan _2 15:04:05 2006\n")
}

// cString is what stands before the first NUL. Postfix: records of the
// envelope are printed as C strings.
func cString(data []byte) []byte {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return data[:i]
	}
	return data
}
