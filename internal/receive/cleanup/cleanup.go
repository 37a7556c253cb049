// Package cleanup is the service that takes each new message, completes and
// inspects it, and puts it into the queue.
//
// A message arrives as a stream of records (ipc/cleanup) and goes into the
// queue file in one pass: the envelope (envelope.go, recipient.go), the
// content, where header fields are rewritten, added and checked (content.go,
// header.go, missing.go, action.go), and what was extracted from it
// (extracted.go). finish.go decides what becomes of it. The file is on stable
// storage before the client gets status 0.
//
// Postfix: cleanup(8).
package cleanup

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	ipc "postern/internal/ipc/cleanup"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/addrmap"
	"postern/internal/mail/check"
	"postern/internal/mail/message"
	"postern/internal/mail/queue"
	"postern/internal/mail/record"
	"postern/internal/service"
	"postern/internal/table"
)

// A Server is the cleanup service.
type Server struct {
	config Config
	common *param.Common
	log    *maillog.Logger
	env    *service.Env
	store  *queue.Store
	now    func() time.Time

	rewrite *rewrite.Client
	bounce  *bounce.Client
	trace   *bounce.Client
	qmgr    *waker

	mapper     addrmap.Mapper
	canonical  [3]classMap // sender, recipient, common: in the order in which they are applied
	masquerade *addrmap.Masquerade
	masqClass  class
	virtual    *table.Maps
	senderBCC  *table.Maps
	rcptBCC    *table.Maps
	checks     check.Checks
	milters    milterServer
	propagate  extensionUse
	drop       dropped
	fromFormat fromFormat
	atHeadEnd  headEnd
	rejected   []byte // message_reject_characters
	stripped   []byte // message_strip_characters

	messages sync.Pool // of *transaction

	observer func(Rewriting) // may be nil
}

// New returns the service.
func New() service.Service { return &Server{now: time.Now} }

// Params implements service.Service.
func (s *Server) Params(set *param.Set) { s.config.Params(set) }

// Open implements service.Service.
func (s *Server) Open(e *service.Env) error {
	s.env, s.common, s.log = e, e.Common, e.Log
	s.store = queue.Open(e.Common)
	if err := s.store.Prepare(); err != nil {
		return err
	}
	s.rewrite = rewrite.New(e.Endpoint("private", e.Common.RewriteServiceName, rewrite.Protocol))
	s.bounce = bounce.New(e.Endpoint("private", e.Common.BounceServiceName, bounce.Protocol))
	s.trace = bounce.New(e.Endpoint("private", e.Common.TraceServiceName, bounce.Protocol))
	s.qmgr = newWaker(e.Common.QueueServiceName, e.Common.TriggerTimeout)
	s.messages.New = func() any { return newTransaction(s) }
	if err := s.openMilters(e.Tables); err != nil {
		return err
	}
	return s.openTables(e.Tables)
}

// Close leaves the queue in order for whoever comes next.
func (s *Server) Close() error { return s.store.Finish() }

// Serve takes messages from one client until it closes the connection.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	m := s.messages.Get().(*transaction)
	defer s.messages.Put(m)
	var records timedReader
	return s.env.ServeAttr(ctx, c, ipc.Protocol, func(ctx context.Context, conn *attr.Conn) error {
		if records.c == nil {
			records.c, records.r = conn, conn.R
			conn.R = bufio.NewReaderSize(&records, readBuffer)
		}
		return s.receive(ctx, conn, &records, m)
	})
}

// receive takes one message.
func (s *Server) receive(ctx context.Context, conn *attr.Conn, records *timedReader, m *transaction) error {
	var start ipc.Start
	if err := conn.Recv(&start); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	draft, err := s.store.Create(queue.Incoming)
	if err != nil {
		conn.Send(&ipc.Created{})
		conn.Send(&ipc.Result{Status: ipc.StatusWrite})
		conn.Flush()
		return err
	}
	m.begin(ctx, draft, start.Flags)
	defer m.end()
	if err := conn.Send(&ipc.Created{QueueID: m.id}); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	records.on = true
	m.conn = conn
	gone := m.read(record.NewReader(conn.R))
	m.conn = nil
	records.on = false
	if gone {
		m.discarded(false)
		return nil
	}
	status, reason := m.finish()
	err = conn.Send(&ipc.Result{Status: status, Reason: reason})
	if err == nil {
		err = conn.Flush()
	}
	if m.queued && m.flags&ipc.FlagHold == 0 {
		s.qmgr.wake(m.id)
	}
	return err
}

var _ message.Handler = (*transaction)(nil)
