// Package verify is the service that remembers which mail addresses can be
// delivered to, and finds out by a probe: a message that every delivery agent
// carries to the point where it would be delivered, and no further.
//
// What is known of an address is kept in a cache, address_verify_map. A query
// is answered at once from what is known; a probe is sent when nothing is, or
// when what is known is old. The delivery agent that ends the probe tells the
// outcome.
//
// Postfix: verify(8), ADDRESS_VERIFICATION_README.
package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/verify"
	"postern/internal/service"
	"postern/internal/table"
)

// Config holds the parameters.
type Config struct {
	Map                             string        // address_verify_map
	PositiveExpire, PositiveRefresh time.Duration // of addresses that are good
	NegativeExpire, NegativeRefresh time.Duration // of the others
	NegativeCache                   bool
	CleanupInterval                 time.Duration // 0: never
	Sender                          string
	SenderTTL                       time.Duration
	UTF8Classes                     string
}

// Params names the main.cf parameters that verify reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.Map, "address_verify_map", "$default_cache_db_type:$data_directory/verify_cache")
	s.Time(&c.PositiveExpire, "address_verify_positive_expire_time", "31d", param.Min(1))
	s.Time(&c.PositiveRefresh, "address_verify_positive_refresh_time", "7d", param.Min(1))
	s.Time(&c.NegativeExpire, "address_verify_negative_expire_time", "3d", param.Min(1))
	s.Time(&c.NegativeRefresh, "address_verify_negative_refresh_time", "3h", param.Min(1))
	s.Bool(&c.NegativeCache, "address_verify_negative_cache", true)
	s.Time(&c.CleanupInterval, "address_verify_cache_cleanup_interval", "12h", param.Min(0))
	s.Str(&c.Sender, "address_verify_sender", "$double_bounce_sender")
	s.Time(&c.SenderTTL, "address_verify_sender_ttl", "0s", param.Min(0))
	s.Str(&c.UTF8Classes, "smtputf8_autodetect_classes", "sendmail, verify", param.MinLen(1))
}

// A Server is the verify service.
type Server struct {
	Config
	env    *service.Env
	common *param.Common
	log    *maillog.Logger
	cache  cache
	sender verify.Sender
	now    func() time.Time
	probe  func(ctx context.Context, addr string) error

	mu     sync.Mutex // one request at a time changes an entry
	probes sync.WaitGroup
}

// A cache is what address_verify_map is, or memory when it is empty.
type cache interface {
	Lookup(ctx context.Context, key string) (value string, found bool, err error)
	Store(ctx context.Context, key, value string) error
	Delete(ctx context.Context, key string) (bool, error)
	Walk(ctx context.Context, each func(key, value string) error) error
	Close() error
}

// New returns the service.
func New() service.Service { return &Server{now: time.Now} }

// Open opens the cache.
func (s *Server) Open(e *service.Env) (err error) {
	s.env, s.common, s.log = e, e.Common, e.Log
	s.sender = verify.NewSender(s.Sender, s.SenderTTL, s.common.MyOrigin)
	if s.sender.TTL > 0 && s.sender.TTL < time.Second {
		return fmt.Errorf("address_verify_sender_ttl: at least one second is needed")
	}
	p := &prober{
		common: s.common, now: s.now, sender: s.sender, classes: param.Split(s.UTF8Classes),
		cleanup: cleanup.NewClient(e.Endpoint("public", s.common.CleanupServiceName, cleanup.Protocol), s.common.IPCIdle),
		rewrite: rewrite.New(e.Endpoint("private", s.common.RewriteServiceName, rewrite.Protocol)),
	}
	s.probe = p.send
	s.cache, err = s.openCache(e.Tables)
	return err
}

func (s *Server) openCache(tables *table.Opener) (cache, error) {
	if s.Map == "" {
		return newMemory(), nil
	}
	c, err := tables.OpenCache(s.Map)
	if err != nil {
		return nil, fmt.Errorf("address_verify_map: %w", err)
	}
	return c, nil
}

// Serve answers requests.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	return s.env.ServeAttr(ctx, c, verify.Protocol, s.request)
}

func (s *Server) request(ctx context.Context, c *attr.Conn) error {
	var r verify.Request
	if err := c.Recv(&r); err != nil {
		return err
	}
	if r.Kind == verify.KindUpdate {
		status := attr.Status(0)
		if err := s.update(ctx, r); err != nil {
			s.log.Warningf("%v", err)
			status = -1
		}
		return c.Send(&status)
	}
	answer := s.query
	if r.Kind == verify.KindPeek {
		answer = s.peek
	}
	a, err := answer(ctx, r.Address)
	if err != nil {
		s.log.Warningf("%v", err)
		a = verify.Answer{ServerStatus: -1}
	}
	return c.Send(&a)
}

// query answers what is known, and sends a probe when that is too little.
func (s *Server) query(ctx context.Context, addr string) (verify.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, err := s.believed(ctx, addr, now)
	if err != nil {
		return verify.Answer{}, err
	}
	answer := verify.Answer{Status: e.status, Reason: e.reason}
	if now.Sub(e.probed) <= probeTTL || !s.stale(e, now) {
		return answer, nil
	}
	if e.status != verify.Todo || s.NegativeCache {
		e.probed = now
		if err := s.cache.Store(ctx, addr, e.String()); err != nil {
			return answer, err
		}
	}
	s.send(addr)
	return answer, nil
}

// peek answers what is known, and changes nothing.
func (s *Server) peek(ctx context.Context, addr string) (verify.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.believed(ctx, addr, s.now())
	return verify.Answer{Status: e.status, Reason: e.reason}, err
}

// believed is what the cache has of an address, as far as it is not too old.
func (s *Server) believed(ctx context.Context, addr string, now time.Time) (entry, error) {
	e, known, err := s.lookup(ctx, addr)
	if err != nil {
		return entry{}, err
	}
	if !known || now.Sub(e.probed) > probeTTL && s.expired(e, now) {
		e = entry{status: verify.Todo, reason: "Address verification in progress"}
	}
	return e, nil
}

// send sends a probe in the background: the client does not wait for it.
func (s *Server) send(addr string) {
	s.probes.Add(1)
	go func() {
		defer s.probes.Done()
		ctx, cancel := context.WithTimeout(context.Background(), s.common.IPCTimeout)
		defer cancel()
		if err := s.probe(ctx, addr); err != nil {
			s.log.Warningf("probe of %s: %v", addr, err)
		}
	}()
}

// update remembers a probe's outcome. One probe that fails does not take the
// place of an address that is known to be good, until that expires.
func (s *Server) update(ctx context.Context, r verify.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if r.Status != verify.OK {
		if !s.NegativeCache {
			return nil
		}
		e, known, err := s.lookup(ctx, r.Address)
		if err != nil {
			return err
		}
		if known && e.status == verify.OK && !s.expired(e, now) {
			return nil
		}
	}
	return s.cache.Store(ctx, r.Address, entry{status: r.Status, updated: now, reason: r.Reason}.String())
}

// lastCleanup is the key under which the cache remembers when it was cleaned.
// Postfix: the same key. No address looks like it.
const lastCleanup = "_LAST_CACHE_CLEANUP_COMPLETED_"

// Run removes what has expired, at intervals. A process ends when nobody has
// asked for a while; the cache itself knows when it is due.
func (s *Server) Run(ctx context.Context) error {
	if s.CleanupInterval <= 0 {
		return nil
	}
	for wait := s.untilCleanup(ctx); ; wait = max(time.Minute, s.untilCleanup(ctx)) {
		due := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			due.Stop()
			return nil
		case <-due.C:
			s.purge(ctx)
		}
	}
}

// untilCleanup is the time until the cache is to be cleaned again.
func (s *Server) untilCleanup(ctx context.Context) time.Duration {
	value, found, err := s.cache.Lookup(ctx, lastCleanup)
	if err != nil || !found {
		value = "0"
	}
	last, err := strconv.ParseInt(value, 10, 64)
	if err != nil || last < 0 || moment(last).After(s.now()) {
		last = 0
	}
	return max(0, s.CleanupInterval-s.now().Sub(moment(last)))
}

// purge removes what has expired, and probes that were lost.
func (s *Server) purge(ctx context.Context) {
	now, kept := s.now(), 0
	var gone []string
	err := s.cache.Walk(ctx, func(key, value string) error {
		if key == lastCleanup {
			return nil
		}
		e, ok := parseEntry(value)
		if !ok || now.Sub(e.probed) > probeTTL && (e.status == verify.Todo || s.expired(e, now)) {
			gone = append(gone, key)
			return nil
		}
		kept++
		return nil
	})
	for _, key := range gone {
		if err == nil {
			_, err = s.cache.Delete(ctx, key)
		}
	}
	if err == nil || ctx.Err() == nil {
		err = errors.Join(err, s.cache.Store(ctx, lastCleanup, strconv.FormatInt(now.Unix(), 10)))
	}
	if err != nil {
		s.log.Warningf("address_verify_map: %v", err)
		return
	}
	s.log.Infof("cache %s full cleanup: retained=%d dropped=%d entries", s.Map, kept, len(gone))
}

// Close waits for probes that are being sent, and writes the cache.
func (s *Server) Close() error {
	s.probes.Wait()
	return s.cache.Close()
}
