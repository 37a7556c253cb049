package cleanup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/mail/address"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/message"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
)

// A transaction is one message on its way into the queue. It is reused for the
// next one.
type transaction struct {
	s       *Server
	ctx     context.Context
	draft   *queue.Draft
	id      string
	w       *record.Writer
	flags   ipc.Flags
	errs    ipc.Status
	errMask ipc.Status // errors after which nothing more is written
	reason  string
	segment segment
	queued  bool // the message is in the queue

	waiting context.Context // see bounded
	stop    context.CancelFunc
	since   time.Time

	// The envelope.
	attrs      map[string]string // named attributes that are used here
	attrCount  int
	arrival    time.Time
	sender     string
	seenSender bool
	fullName   string
	context    string // for header addresses: local, remote, or "" for no rewriting
	envelopeID string
	retFlags   int
	traceFlags int
	verp       string
	seenWarn   bool
	inRcpt     bool // the last records were recipients
	endSeen    bool
	qmgrFlags  int
	sendOpts   int
	autoUTF8   bool

	// The next recipient, and what became of those before.
	origRcpt  string
	dsnOrig   string
	dsnNotify int
	rcpt      string // last recipient
	seenRcpt  bool
	rcptCount int
	expanded  bool // the trace log has a record
	dups      *addrmap.Seen

	// The content.
	contentOff int64
	contentEnd int64
	partial    bool // the last line goes on
	machine    *message.Machine
	seenFields uint64 // bits: message.ID
	resent     bool
	hops       int
	messageID  bool // the message-id has been logged
	filter     string
	redirect   string
	bcc        []string
	checking   bool // header and body checks are on
	problems   message.Problem
	list       address.List
	buf        []byte // a rewritten header field
	octets     []byte // a line after filterOctets
	line       []byte // a record being formatted

	milterState
}

type segment int

const (
	inEnvelope segment = iota
	inContent
	inExtracted
)

func newTransaction(s *Server) *transaction {
	t := &transaction{s: s, attrs: map[string]string{}, dups: addrmap.NewSeen(s.common.DuplicateFilterLimit)}
	t.machine = message.New(message.Options{}, t)
	return t
}

// begin starts a message and writes room for the size record.
func (t *transaction) begin(ctx context.Context, d *queue.Draft, flags ipc.Flags) {
	clear(t.attrs)
	t.dups.Reset()
	*t = transaction{
		s: t.s, ctx: ctx, draft: d, id: string(d.ID()), w: record.NewWriter(d), flags: flags,
		errMask: ^ipc.Status(0), context: rewriteLocal,
		attrs: t.attrs, dups: t.dups, machine: t.machine, list: t.list,
		bcc: t.bcc[:0], buf: t.buf[:0], octets: t.octets[:0], line: t.line[:0],
		checking: flags&ipc.FlagFilter != 0,
		autoUTF8: flags&ipc.FlagAutoUTF8 != 0,
	}
	if flags&ipc.FlagBounce != 0 {
		t.errMask = ipc.MaskIncomplete
	}
	if flags&ipc.FlagSMTPUTF8 != 0 {
		t.sendOpts |= optSMTPUTF8
	}
	t.layout.on = t.filtered()
	if flags&ipc.FlagRequireTLS != 0 {
		t.sendOpts |= optRequireTLS
	}
	t.put(record.Size, record.Sizes{}.Append(t.buf[:0]))
}

// Send options of the size record.
const (
	optSMTPUTF8   = 1
	optUTF8Header = 2
	optUTF8Sender = 4
	optNoTLS      = 16 // TLS-Required: no
	optRequireTLS = 32
)

// patient is how long cleanup waits for another service that is not there or
// does not answer, before the client is told to try again later.
const patient = 100 * time.Second

// bounded returns a context for asking another service. It is shared by the
// questions of half that time.
func (t *transaction) bounded() context.Context {
	if t.waiting == nil || time.Since(t.since) > patient/2 {
		if t.stop != nil {
			t.stop()
		}
		t.waiting, t.stop = context.WithTimeout(t.ctx, patient)
		t.since = time.Now()
	}
	return t.waiting
}

// end ends the transaction: what is not in the queue is removed.
func (t *transaction) end() {
	if t.stop != nil {
		t.stop()
		t.waiting, t.stop = nil, nil
	}
	t.endMilters()
	t.cancel()
}

// cancel removes what is not in the queue.
func (t *transaction) cancel() {
	if err := t.draft.Cancel(); err != nil {
		t.s.log.Warningf("%s: %v", t.id, err)
	}
}

// ok says that what is written still counts.
func (t *transaction) ok() bool {
	return t.errs&t.errMask == 0 && t.flags&ipc.FlagDiscard == 0
}

// readBuffer is the size of the buffer for records.
const readBuffer = 32 << 10

// A timedReader gives each read of the record stream its own deadline.
type timedReader struct {
	c  *attr.Conn
	r  io.Reader
	on bool
}

func (r *timedReader) Read(b []byte) (int, error) {
	if r.on && r.c.Timeout > 0 {
		r.c.SetReadDeadline(time.Now().Add(r.c.Timeout))
	}
	return r.r.Read(b)
}

// read takes the records up to End. gone means that the client has given up.
func (t *transaction) read(r *record.Reader) (gone bool) {
	r.SetLimit(maxRecord)
	for {
		if t.ok() && t.passBody(r) {
			t.limitSize()
			continue
		}
		typ, data, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.s.log.Warningf("%s: read record: %v", t.id, err)
			}
			return true
		}
		if t.ok() {
			t.take(typ, data)
		} else if typ == record.Milters && len(data) > 0 && t.conn != nil && ipc.RefuseMilters(t.conn) != nil {
			return true
		}
		if typ == record.End {
			return false
		}
	}
}

// maxRecord is the longest record that a client may send.
const maxRecord = 100_000

// take handles one record.
func (t *transaction) take(typ record.Type, data []byte) {
	if i := bytes.IndexByte(data, 0); i >= 0 && t.segment != inContent && typ != record.Milters {
		data = data[:i] // no text of the envelope has a NUL
	}
	switch t.segment {
	case inEnvelope:
		t.envelopeRecord(typ, data)
	case inContent:
		t.contentRecord(typ, data)
	default:
		t.extractedRecord(typ, data)
	}
	t.limitSize()
}

// limitSize refuses a message that has become too large.
func (t *transaction) limitSize() {
	if max := t.s.common.MessageSizeLimit; max > 0 && t.draft.Size() > max && t.errs&ipc.StatusSize == 0 {
		t.s.log.Warningf("%s: queue file size limit exceeded", t.id)
		t.errs |= ipc.StatusSize
	}
}

// put writes one record, and splits long text.
func (t *transaction) put(typ record.Type, data []byte) {
	if !t.ok() {
		return
	}
	at := t.w.Offset()
	if limit := t.s.common.LineLengthLimit; len(data) > limit && (typ == record.Norm || typ == record.Cont && t.segment == inContent) {
		for len(data) > limit {
			t.w.Put(record.Cont, data[:limit])
			data = data[limit:]
		}
	}
	t.written(t.w.Put(typ, data))
	if t.layout.inHeader && typ != record.Mesg {
		t.pad(at)
	}
}

func (t *transaction) putString(typ record.Type, data string) {
	t.line = append(t.line[:0], data...)
	t.put(typ, t.line)
}

func (t *transaction) putf(typ record.Type, format string, args ...any) {
	t.line = fmt.Appendf(t.line[:0], format, args...)
	t.put(typ, t.line)
}

func (t *transaction) written(err error) {
	if err != nil && t.errs&ipc.StatusWrite == 0 {
		t.s.log.Warningf("%s: write queue file: %v", t.id, err)
		t.errs |= ipc.StatusWrite
	}
}

// bad refuses a client that breaks the protocol.
func (t *transaction) bad(format string, args ...any) {
	t.s.log.Warningf("%s: message rejected: %s", t.id, fmt.Sprintf(format, args...))
	t.errs |= ipc.StatusBad
}

// failed notes that a table or a service could not be asked, or that it makes
// no sense: the message has to wait.
func (t *transaction) failed(err error) {
	t.s.log.Warningf("%s: %v", t.id, err)
	t.errs |= ipc.StatusWrite
}

// bounceMessage is what notices need to know.
func (t *transaction) bounceMessage() bounce.Message {
	return bounce.Message{
		QueueName:  queue.Incoming,
		QueueID:    t.draft.ID(),
		Encoding:   t.attrs[attrEncoding],
		SendOpts:   t.sendOpts,
		Sender:     t.sender,
		EnvelopeID: t.envelopeID,
		RetFlags:   t.retFlags,
		Verp:       t.verp,
	}
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c > 127 {
			return false
		}
	}
	return true
}

func hasBit(set uint64, id message.ID) bool { return set&(1<<id) != 0 }

// cutAttr splits "name=value".
func cutAttr(data []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(data, []byte{'='})
	name = bytes.TrimSpace(name)
	return name, value, ok && len(name) > 0
}
