// Package pickup is the service that takes local mail out of the maildrop
// queue and hands it to cleanup.
//
// Any local user can put a file there through postdrop, so its content is
// hostile: what is not a complete, well-formed message does not reach cleanup.
// Postfix deletes such a file; here it goes to the corrupt queue.
package pickup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/cleanup"
	"postern/internal/mail/address"
	"postern/internal/mail/queue"
	"postern/internal/service"
)

// staleAge is after how long an unfinished maildrop file is removed: its
// writer has crashed.
const staleAge = 24 * time.Hour

// Config holds the parameters of pickup.
type Config struct {
	ContentFilter          string // content_filter
	ReceiveOverrideOptions string // receive_override_options
	AutodetectClasses      string // smtputf8_autodetect_classes
}

// Params names the main.cf parameters that pickup reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.ContentFilter, "content_filter", "")
	s.Str(&c.ReceiveOverrideOptions, "receive_override_options", "")
	s.Str(&c.AutodetectClasses, "smtputf8_autodetect_classes", "sendmail, verify", param.MinLen(1))
}

// A Server is the pickup service.
type Server struct {
	Config
	common  *param.Common
	log     *maillog.Logger
	store   *queue.Store
	cleanup *cleanup.Client
	flags   cleanup.Flags
	owner   uint32 // uid of mail_owner, whose messages come from postsuper -r
	now     func() time.Time

	scanning sync.Mutex
	again    atomic.Bool // a trigger came while maildrop was being gone through
}

// New returns the service.
func New() service.Service { return &Server{now: time.Now} }

// Open implements service.Service.
func (s *Server) Open(e *service.Env) (err error) {
	s.common, s.log = e.Common, e.Log
	if s.flags, err = s.cleanupFlags(); err != nil {
		return err
	}
	s.owner = ownerUID(e)
	s.store = queue.Open(e.Common)
	ep := e.Endpoint("public", e.Common.CleanupServiceName, cleanup.Protocol)
	s.cleanup = cleanup.NewClient(ep, e.Common.IPCIdle)
	return s.store.Prepare()
}

// ownerUID returns the uid that files have which this service's own kind has
// written.
func ownerUID(e *service.Env) uint32 {
	if e.Privileged {
		if u, err := user.Lookup(e.Common.MailOwner); err == nil {
			if uid, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
				return uint32(uid)
			}
		}
	}
	return uint32(currentUID())
}

// Serve implements service.Service. pickup listens for triggers only.
func (s *Server) Serve(context.Context, net.Conn) error { return nil }

// Trigger goes through maildrop until nothing is left that can be taken.
// Whatever the request is, it means the same. A request that comes meanwhile
// does not wait: who is at it goes through once more.
func (s *Server) Trigger(ctx context.Context, _ []byte) {
	s.again.Store(true)
	for s.again.Load() && s.scanning.TryLock() {
		s.again.Store(false)
		s.empty(ctx)
		s.scanning.Unlock()
	}
}

func (s *Server) empty(ctx context.Context) {
	for ctx.Err() == nil {
		taken, err := s.scan(ctx)
		if err != nil {
			s.log.Warningf("%v", err)
			return
		}
		if taken == 0 {
			return
		}
	}
}

// scan goes through maildrop once and returns how many files it took away.
func (s *Server) scan(ctx context.Context) (int, error) {
	sc, err := s.store.Scanner(queue.Maildrop)
	if err != nil {
		return 0, err
	}
	defer sc.Close()
	taken := 0
	for ctx.Err() == nil {
		e, err := sc.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return taken, err
		}
		if e.ID == "" {
			s.removeStaleTemp(e)
			continue
		}
		if s.consider(ctx, e.ID) {
			taken++
		}
	}
	return taken, nil
}

// removeStaleTemp removes a file that never got its queue id.
func (s *Server) removeStaleTemp(e queue.Entry) {
	removed, err := s.store.RemoveStaleTemp(e, s.now().Add(-staleAge))
	if err != nil {
		s.log.Warningf("%v", err)
	} else if removed {
		s.log.Warningf("removed file %s, which was never completed", e.Path)
	}
}

// consider deals with one file and says whether it is gone.
func (s *Server) consider(ctx context.Context, id queue.ID) bool {
	info, err := s.store.Stat(queue.Maildrop, id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		s.log.Warningf("%v", err)
		return false
	case !info.Mode.IsRegular() || info.Links != 1:
		s.log.Warningf("file %s is not a regular file with one name: uid=%d", s.store.Path(queue.Maildrop, id), info.UID)
		return false
	case !info.Ready():
		return s.considerUnfinished(id, info)
	}
	return s.take(ctx, id)
}

func (s *Server) considerUnfinished(id queue.ID, info queue.Info) bool {
	if s.now().Sub(info.ModTime) < staleAge {
		return false
	}
	if err := s.store.Remove(queue.Maildrop, id); err != nil {
		s.log.Warningf("%v", err)
		return false
	}
	s.log.Warningf("%s: removed from maildrop: never completed: uid=%d", id, info.UID)
	return true
}

// take hands one complete file to cleanup and says whether it is gone.
func (s *Server) take(ctx context.Context, id queue.ID) bool {
	f, err := s.store.OpenRead(queue.Maildrop, id)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warningf("%v", err)
		}
		return false
	}
	defer f.Close()
	if !f.Info().Ready() {
		return false
	}
	err = s.handOver(ctx, f)
	var bad *malformed
	switch {
	case err == nil:
		err = s.store.Remove(queue.Maildrop, id)
	case errors.Is(err, errLogged):
		return false
	case errors.As(err, &bad):
		s.log.Warningf("uid=%d: %v: moved to the corrupt queue", f.Info().UID, err)
		err = s.store.Move(id, queue.Maildrop, queue.Corrupt)
	}
	if err != nil {
		s.log.Warningf("%v", err)
		return false
	}
	return true
}

// cleanupFlags says what cleanup has to do with local mail.
func (s *Server) cleanupFlags() (cleanup.Flags, error) {
	flags := cleanup.FlagBounce | cleanup.MaskExternal
	for _, option := range param.Split(s.ReceiveOverrideOptions) {
		switch option {
		case "no_unknown_recipient_checks":
		case "no_header_body_checks":
			flags &^= cleanup.FlagFilter
		case "no_address_mappings":
			flags &^= cleanup.FlagBCC | cleanup.FlagMap
		case "no_milters":
			flags &^= cleanup.FlagMilter
		default:
			return 0, errors.New("receive_override_options: unknown option " + strconv.Quote(option))
		}
	}
	if !s.common.SMTPUTF8Enable {
		return flags, nil
	}
	for _, class := range param.Split(s.AutodetectClasses) {
		switch class {
		case "sendmail", "all":
			flags |= cleanup.FlagAutoUTF8
		case "verify":
		default:
			return 0, errors.New("smtputf8_autodetect_classes: unknown class " + strconv.Quote(class))
		}
	}
	return flags, nil
}

// logAddress returns addr in the form in which it is logged.
func (s *Server) logAddress(addr string) string {
	if s.common.InfoLogAddressFormat == "internal" {
		return addr
	}
	return address.Quote822(addr)
}
