// Package flush is the fast flush service: it keeps a list of the messages that
// wait for each destination that may ask for its mail (ETRN, postqueue -s), so
// that the queue need not be searched then.
//
// A list is a file in the queue directory flush, named after the destination,
// with a queue id per line. It is a hint: ids of messages that are gone, or
// stand there twice, do no harm.
package flush

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"time"

	"golang.org/x/net/idna"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/trigger"
	"postern/internal/mail/queue"
	"postern/internal/service"
	"postern/internal/table/matchlist"
)

// duplicateLimit bounds how many ids of a list are remembered.
const duplicateLimit = 10_000

// Config holds the parameters of flush.
type Config struct {
	Domains     string        // fast_flush_domains
	RefreshTime time.Duration // fast_flush_refresh_time: a list that nobody asked for is worked on after this
	PurgeTime   time.Duration // fast_flush_purge_time: an empty list is removed after this
}

// Params names the main.cf parameters that flush reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.Domains, "fast_flush_domains", "$relay_domains")
	s.Time(&c.RefreshTime, "fast_flush_refresh_time", "12h", param.Min(1))
	s.Time(&c.PurgeTime, "fast_flush_purge_time", "7d", param.Min(1))
}

// A Server is the flush service.
type Server struct {
	Config
	env     *service.Env
	common  *param.Common
	log     *maillog.Logger
	store   *queue.Store
	domains *matchlist.List
	now     func() time.Time
	trigger func(request string) error // wakes qmgr
}

// New returns the service.
func New() service.Service { return &Server{now: time.Now} }

// Open implements service.Service.
func (s *Server) Open(e *service.Env) (err error) {
	s.env, s.common, s.log = e, e.Common, e.Log
	style := matchlist.ParentStyle("fast_flush_domains", e.Common.ParentDomainMatchesSubdomains)
	if s.domains, err = matchlist.New("fast_flush_domains", s.Domains, e.Tables, style); err != nil {
		return err
	}
	s.store = queue.Open(e.Common)
	s.trigger = func(request string) error {
		return trigger.Send("", "public", e.Common.QueueServiceName, request, e.Common.TriggerTimeout)
	}
	return s.store.Prepare()
}

// Serve answers requests. A client may be master with its wakeup instead, one
// octet without an attribute list.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	return s.env.ServeAttr(ctx, c, flush.Protocol, s.request)
}

func (s *Server) request(ctx context.Context, c *attr.Conn) error {
	if b, err := c.R.Peek(1); err == nil && string(b) == trigger.Wakeup {
		c.R.Discard(1)
		s.refresh(ctx, s.RefreshTime)
		return nil
	}
	var r flush.Request
	if err := c.Recv(&r); err != nil {
		return err
	}
	var status flush.Status
	switch r.Kind {
	case flush.Add:
		status = s.add(ctx, r.Site, r.QueueID)
	case flush.SendSite:
		status = s.sendSite(ctx, r.Site)
	case flush.SendFile:
		status = s.sendFile(r.QueueID)
	}
	answer := attr.Status(status)
	if err := c.Send(&answer); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	switch r.Kind {
	case flush.Refresh:
		s.refresh(ctx, s.RefreshTime)
	case flush.Purge:
		s.refresh(ctx, 0)
	}
	return nil
}

// list returns the name of the site's list, or why there is none.
func (s *Server) list(ctx context.Context, site string) (queue.ID, flush.Status) {
	ok, err := s.domains.MatchDomain(ctx, site)
	if err != nil {
		s.log.Warningf("fast_flush_domains: %v", err)
		return "", flush.StatusFail
	}
	if !ok {
		return "", flush.StatusDeny
	}
	id, err := listName(site)
	if err != nil {
		return "", flush.StatusBad
	}
	return id, flush.StatusOK
}

// listName is the site in lower case with "_" for all but letters and digits.
func listName(site string) (queue.ID, error) {
	if ascii, err := idna.ToASCII(site); err == nil {
		site = ascii
	}
	b := make([]byte, len(site))
	for i := range b {
		switch c := site[i]; {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b[i] = c
		default:
			b[i] = '_'
		}
	}
	return queue.ParseID(string(b))
}

func (s *Server) add(ctx context.Context, site, queueID string) flush.Status {
	list, status := s.list(ctx, site)
	if status != flush.StatusOK {
		return status
	}
	id, err := queue.ParseID(queueID)
	if err != nil {
		return flush.StatusBad
	}
	if err := s.store.AppendHint(queue.Flush, list, []byte(string(id)+"\n")); err != nil {
		s.log.Warningf("%v", err)
		return flush.StatusFail
	}
	return flush.StatusOK
}

func (s *Server) sendSite(ctx context.Context, site string) flush.Status {
	list, status := s.list(ctx, site)
	if status != flush.StatusOK {
		return status
	}
	return s.sendList(list)
}

// sendList has every message of a list delivered, and empties the list.
func (s *Server) sendList(list queue.ID) flush.Status {
	f, err := s.store.Open(queue.Flush, list)
	if errors.Is(err, fs.ErrNotExist) {
		return flush.StatusOK
	}
	if err == nil {
		defer f.Close()
		err = f.LockWait()
	}
	if err == nil {
		var info queue.Info
		if info, err = f.Stat(); err == nil {
			s.sendAll(list, io.NewSectionReader(f, 0, info.Size))
			err = f.Truncate()
		}
	}
	if err != nil {
		s.log.Warningf("%v", err)
		return flush.StatusFail
	}
	return flush.StatusOK
}

func (s *Server) sendAll(list queue.ID, r io.Reader) {
	seen := make(map[queue.ID]bool)
	lines := bufio.NewScanner(r)
	sent := 0
	for lines.Scan() {
		id, err := queue.ParseID(lines.Text())
		if err != nil {
			s.log.Warningf("bad queue id %.30q in fast flush logfile %s", lines.Text(), list)
			continue
		}
		if seen[id] {
			continue
		}
		if len(seen) < duplicateLimit {
			seen[id] = true
		}
		if s.send(id) {
			sent++
		}
	}
	if err := lines.Err(); err != nil {
		s.log.Warningf("read fast flush logfile %s: %v", list, err)
	}
	s.wake(sent)
}

func (s *Server) sendFile(queueID string) flush.Status {
	id, err := queue.ParseID(queueID)
	if err != nil {
		return flush.StatusBad
	}
	if s.send(id) {
		s.wake(1)
	}
	return flush.StatusOK
}

func (s *Server) wake(sent int) {
	if sent == 0 {
		return
	}
	if err := s.trigger(trigger.ScanIncoming); err != nil {
		s.log.Warningf("%v", err)
	}
}

// send moves a deferred message to the incoming queue, due now and marked so
// that qmgr tries its destinations even if they seem dead. It says whether
// there was such a message.
func (s *Server) send(id queue.ID) bool {
	for _, q := range [...]queue.Name{queue.Deferred, queue.Incoming} {
		err := s.prepare(q, id)
		if err == nil && q == queue.Deferred {
			err = s.store.Move(id, queue.Deferred, queue.Incoming)
		}
		if err == nil {
			return true
		}
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warningf("%v", err)
			return false
		}
	}
	return false
}

func (s *Server) prepare(q queue.Name, id queue.ID) error {
	f, err := s.store.Open(q, id)
	if err != nil {
		return err
	}
	defer f.Close()
	if !f.Info().Ready() {
		return fs.ErrNotExist
	}
	if err := s.store.SetNextTry(q, id, s.now()); err != nil {
		return err
	}
	return f.SetMode(f.Info().Mode.Perm() | queue.Unthrottle)
}

// refresh works on the lists that nobody has asked for since age, and removes
// empty ones that have not changed for long.
func (s *Server) refresh(ctx context.Context, age time.Duration) {
	for list, err := range s.store.Scan(queue.Flush) {
		if err != nil {
			s.log.Warningf("%v", err)
			return
		}
		if ctx.Err() != nil {
			return
		}
		info, err := s.store.Stat(queue.Flush, list)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			s.log.Warningf("%v", err)
			continue
		case info.Size > 0 && s.now().Sub(info.AccessTime) >= age:
			s.sendList(list)
		case info.Size == 0 && s.now().Sub(info.ModTime) >= s.PurgeTime:
			s.removeEmpty(list)
		}
	}
}

// removeEmpty removes a list that is still empty under its lock.
func (s *Server) removeEmpty(list queue.ID) {
	f, err := s.store.Open(queue.Flush, list)
	if err == nil {
		defer f.Close()
		err = f.LockWait()
	}
	var info queue.Info
	if err == nil {
		info, err = f.Stat()
	}
	if err == nil && info.Size == 0 && info.Links > 0 {
		err = s.store.Remove(queue.Flush, list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warningf("%v", err)
	}
}
