// Package envelope reads messages out of queue files: who sent it, to whom,
// with what attributes, and the content.
//
// The envelope of a message stands in two places of its file: before the
// content, and after it what was extracted from the content or added later.
// Read goes through both and stops taking recipients at a limit; More takes
// the next ones, so that a message with many recipients never is in memory
// whole.
package envelope

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"postern/internal/mail/record"
)

// ErrCorrupt marks a queue file that is not what it should be.
var ErrCorrupt = errors.New("corrupt queue file")

// A Client is who handed the message in, as the attributes of the envelope
// name it.
type Client struct {
	Name    string // client_name or log_client_name
	Reverse string // reverse_client_name
	Addr    string
	Port    string
	Proto   string // protocol_name: SMTP, ESMTP, …
	Helo    string
}

// A Recipient is one that is still to do.
type Recipient struct {
	Address string // internal form
	Orig    string // what the sender gave, before rewriting; may be empty
	Offset  int64  // of the recipient's record, for queue.File.MarkDone
	DSNOrig string // ORCPT, "type;address" with the address in xtext
	Notify  int    // NOTIFY
}

// An Envelope is what a queue file says of its message.
type Envelope struct {
	Sizes      record.Sizes
	Arrival    time.Time // record Time
	CreateTime time.Time // attribute create_time; Arrival when missing

	Sender     string
	SeenSender bool // an empty sender is the null reverse-path
	FullName   string

	Encoding       string // 7bit, 8bit or empty
	RewriteContext string // local, remote or empty
	LogOrigin      string // log_message_origin
	LogIdent       string
	Client         Client // the real client
	LogClient      Client // the one to log: the same, or what XFORWARD has told
	ServerAddr     string
	ServerPort     string
	AddrType       string // client_address_type
	SASLMethod     string
	SASLUsername   string
	SASLSender     string
	TraceFlags     int // trace_flags of a probe or a report
	EnvelopeID     string
	RetFlags       int
	Verp           string
	Filter         string // content_filter: transport:nexthop
	Redirect       string
	WarnTime       time.Time // when to tell the sender of a delay; zero: never
	WarnOffset     int64     // of the record, for SetWarned; 0: there is none
	RRTo, ErrorsTo string
	Canceled       bool              // recipients were taken away by a milter
	Attrs          map[string]string // attributes that have no field of their own

	Recipients    []Recipient // at most as many as were asked for
	Next          int64       // where More goes on; 0 when all were read
	pending       Recipient   // attributes that wait for their recipient record
	where, nextIn segment     // of the record being read, and of Next
}

// A segment is a part of the file.
type segment int

const (
	inEnvelope segment = iota
	inContent          // of a file without a size record, which is read through
	inExtracted
)

// Read reads the envelope and at most limit recipients; a limit of 0 is none.
func Read(f io.ReaderAt, limit int) (*Envelope, error) {
	e := &Envelope{}
	return e, e.read(record.NewFileReader(f, 0), limit, false)
}

// More replaces Recipients by the next ones, at most limit.
func (e *Envelope) More(f io.ReaderAt, limit int) error {
	e.Recipients, e.pending = e.Recipients[:0], Recipient{}
	if e.Next == 0 {
		return nil
	}
	r := record.NewFileReader(f, e.Next)
	e.Next, e.where = 0, e.nextIn
	return e.read(r, limit, true)
}

// read goes through the records. When more is set, all but recipients is known
// already.
func (e *Envelope) read(r *record.FileReader, limit int, more bool) error {
	for {
		t, data, err := r.Next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		switch t {
		case record.End:
			return e.finish()
		case record.Mesg:
			if e.where != inEnvelope {
				return fmt.Errorf("%w: offset %d: second content", ErrCorrupt, r.At())
			}
			if e.where = inContent; e.skipContent(r) {
				e.where = inEnvelope
			}
			continue
		case record.Xtra:
			e.where = inExtracted
			continue
		}
		if e.where == inContent {
			continue
		}
		if err := e.take(t, data, r, more); err != nil {
			return fmt.Errorf("%w: offset %d: %w", ErrCorrupt, r.At(), err)
		}
		if t == record.Rcpt && limit > 0 && len(e.Recipients) >= limit {
			if e.Next == 0 {
				e.Next, e.nextIn = r.Offset(), e.where
			}
			if more || !e.onlyOthers(r) {
				return e.finish()
			}
		}
	}
}

// skipContent moves behind the content, to the record Xtra, where the size
// record says how long the content is.
func (e *Envelope) skipContent(r *record.FileReader) bool {
	end, ok := e.Sizes.ContentEnd(r.Offset())
	if ok {
		r.SeekTo(end)
	}
	return ok
}

// onlyOthers moves to where something but recipients follows, and says whether
// there is such a place. Where cleanup has not mixed them with other records,
// the rest of a segment is recipients.
func (e *Envelope) onlyOthers(r *record.FileReader) bool {
	if e.Sizes.Flags&record.MixedRecipients != 0 {
		return true
	}
	if e.where != inEnvelope {
		return false
	}
	// A recipient that a milter has added stands behind the content. An end that
	// is not ahead would lead here again, and again.
	end, ok := e.Sizes.ContentEnd(r.Offset())
	if ok {
		r.SeekTo(end)
	}
	return ok
}

func (e *Envelope) finish() error {
	if e.CreateTime.IsZero() {
		e.CreateTime = e.Arrival
	}
	if !e.SeenSender {
		return fmt.Errorf("%w: no sender record", ErrCorrupt)
	}
	return nil
}

func parseTime(data []byte) (time.Time, error) {
	var sec, micro int64
	s := string(data)
	for i := range len(s) {
		if s[i] == ' ' {
			n, err := strconv.ParseInt(s[i+1:], 10, 64)
			if err != nil || n < 0 || n > 999_999 {
				return time.Time{}, fmt.Errorf("bad time record: %.100q", s)
			}
			s, micro = s[:i], n
			break
		}
	}
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil || sec < 0 {
		return time.Time{}, fmt.Errorf("bad time record: %.100q", s)
	}
	return time.Unix(sec, micro*1000), nil
}
