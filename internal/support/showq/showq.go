// Package showq is the service that lists the mail queue. It reads the queue
// files and the defer logs, takes no input, and changes nothing.
package showq

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"time"
	"unicode/utf8"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/showq"
	"postern/internal/mail/address"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/mail/statuslog"
	"postern/internal/service"
)

// queues are those that are listed, in this order.
var queues = [...]queue.Name{queue.Maildrop, queue.Active, queue.Incoming, queue.Deferred, queue.Hold}

// A Server is the showq service.
type Server struct {
	common *param.Common
	log    *maillog.Logger
	store  *queue.Store
}

// New returns the service.
func New() service.Service { return &Server{} }

// Params implements service.Service: showq reads what every program knows.
func (s *Server) Params(*param.Set) {}

// Open implements service.Service.
func (s *Server) Open(e *service.Env) error {
	s.common, s.log = e.Common, e.Log
	s.store = queue.Open(e.Common)
	return s.store.Prepare()
}

// Serve sends the listing to one client.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	return s.List(ctx, &patient{c, s.common.IPCTimeout})
}

// patient bounds each write.
type patient struct {
	net.Conn
	limit time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(p.limit))
	return p.Conn.Write(b)
}

// List writes the listing to w.
func (s *Server) List(ctx context.Context, w io.Writer) error {
	b := bufio.NewWriterSize(w, 16<<10)
	l := &listing{Server: s, w: showq.NewWriter(b), r: record.NewFileReader(nil, 0)}
	for _, q := range queues {
		if err := l.queue(ctx, q); err != nil {
			return err
		}
	}
	if err := l.w.End(); err != nil {
		return err
	}
	return b.Flush()
}

// A listing is what goes to one client.
type listing struct {
	*Server
	w    *showq.Writer
	r    *record.FileReader
	seen map[string]bool // recipients of the message that were listed
}

func (l *listing) queue(ctx context.Context, q queue.Name) error {
	for id, err := range l.store.Scan(q) {
		if err != nil {
			l.log.Warningf("%v", err)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.message(q, id); err != nil {
			return err
		}
	}
	return nil
}

// message lists one message. Only an error of the client ends the listing.
func (l *listing) message(q queue.Name, id queue.ID) error {
	f, err := l.store.OpenRead(q, id)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, queue.ErrNotFile) {
			l.log.Warningf("%v", err)
		}
		return nil
	}
	defer f.Close()
	if !f.Info().Ready() {
		return nil
	}
	return l.records(f)
}

// records reads the envelope; what it says of the message is sent when the
// sender was read, and then each recipient.
func (l *listing) records(f *queue.File) error {
	l.seen = nil
	l.r.Reset(f, 0)
	m := &showq.Message{
		Queue: string(f.Queue()), ID: string(f.ID()), Size: f.Size(),
		Arrival: f.Info().ModTime.Unix(), ForcedExpire: f.Info().ForcedExpiry(),
	}
	scan := scan{log: l.log, m: m}
	for {
		t, data, err := l.r.Next()
		if err == nil {
			err = scan.take(t, data, l.r)
		}
		if err != nil {
			l.log.Warningf("%s: %v -- skipping remainder of this file", f.ID(), err)
			break
		}
		if t == record.End {
			break
		}
		switch t {
		case record.Sender:
			m.Sender = l.address(string(data))
			err = l.w.Begin(m)
			if err == nil {
				err = l.reasons(f.ID())
			}
		case record.Rcpt:
			if addr := l.address(string(data)); !l.seen[addr] {
				err = l.w.Recipient(showq.Recipient{Address: addr})
			}
		}
		if err != nil {
			return err
		}
	}
	if !scan.sender {
		return nil
	}
	return l.w.EndMessage()
}

// A scan watches the order of the records of one file.
type scan struct {
	log    *maillog.Logger
	m      *showq.Message
	sizes  *record.Sizes
	time   bool
	sender bool
}

var (
	errSecondSender = errors.New("duplicate sender address")
	errNoSender     = errors.New("missing sender address")
)

func (s *scan) take(t record.Type, data []byte, r *record.FileReader) error {
	switch t {
	case record.Size:
		if s.sizes != nil {
			return nil
		}
		sizes, err := record.ParseSizes(data)
		if err != nil {
			s.log.Warningf("%s: malformed size record: %.100s -- using file size instead", s.m.ID, data)
			return nil
		}
		if sizes.ContentOffset == 0 {
			return nil // of a submission: it tells what the sender asks for only
		}
		s.sizes = &sizes
		s.m.Size = sizes.Content
	case record.Time:
		if n, ok := seconds(data); ok && !s.time {
			s.m.Arrival, s.time = n, true
		}
	case record.Sender:
		if s.sender {
			return errSecondSender
		}
		s.sender = true
	case record.Rcpt:
		if !s.sender {
			return errNoSender
		}
	case record.Mesg:
		if end, ok := s.sizes.ContentEnd(r.Offset()); ok {
			r.SeekTo(end)
		}
	}
	return nil
}

// reasons lists the recipients that the defer log knows.
func (l *listing) reasons(id queue.ID) error {
	f, err := l.store.OpenRead(queue.Defer, id)
	if err != nil {
		return nil
	}
	defer f.Close()
	l.seen = make(map[string]bool)
	r := statuslog.NewReader(io.NewSectionReader(f, 0, f.Size()))
	for {
		rec, err := r.Next()
		if err != nil {
			return nil
		}
		addr := l.address(rec.Address)
		if limit := l.common.DuplicateFilterLimit; limit == 0 || len(l.seen) < limit {
			l.seen[addr] = true
		}
		if err := l.w.Recipient(showq.Recipient{Address: addr, Reason: l.printable(rec.Result.Reason)}); err != nil {
			return err
		}
	}
}

// address returns addr in external form, printable; a null address is shown
// as who gets mail for it.
func (l *listing) address(addr string) string {
	if addr == "" {
		addr = l.common.EmptyAddressRecipient
	}
	return l.printable(address.Quote822(addr))
}

// printable puts "?" in the place of what is not printable; UTF-8 is when the
// system knows it.
func (l *listing) printable(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	b := make([]byte, 0, len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case n > 1 && l.common.SMTPUTF8Enable:
			b = append(b, s[:n]...)
		case n > 1:
			for range n {
				b = append(b, '?')
			}
		case r < ' ' || r > '~':
			b = append(b, '?')
		default:
			b = append(b, s[0])
		}
		s = s[n:]
	}
	return string(b)
}

// seconds reads the number at the start of a time record.
func seconds(data []byte) (int64, bool) {
	n, ok := int64(0), false
	for _, c := range data {
		if c < '0' || c > '9' || n > 1<<50 {
			break
		}
		n, ok = n*10+int64(c-'0'), true
	}
	return n, ok
}
