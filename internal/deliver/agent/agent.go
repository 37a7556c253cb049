// Package agent turns one function into a delivery agent.
//
// The function sees a Request, a message whose queue file is open and locked,
// and tells a Report what became of each recipient. The kit does the rest, in
// an order that loses no mail:
//
//  1. A delivered recipient: the function has made the delivery safe before it
//     reports it (Maildir: file and directory are synced; SMTP: the server has
//     answered). A record for the sender, where one is wanted, is appended to
//     the trace log, the line is logged, then the recipient is marked done in
//     the queue file. A process that dies before the mark leaves a recipient
//     that is delivered once more: at least once, never lost.
//  2. A returned recipient: the record is on stable storage in the bounce log
//     before the recipient is marked done. A process that dies between the two
//     leaves a recipient that is tried, and recorded, again.
//  3. A recipient to try again: it stays as it is; the defer log only explains.
//
// A mark is one octet, R becomes D, written in place without a sync. A process
// or kernel that is killed later cannot take it back, because the page is the
// file's; a power cut can, and then the recipient is delivered again. The queue
// manager removes the file only when the agent has answered that nobody is
// left, so a mark that is never written costs a duplicate at most.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/delivery"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/flush"
	"postern/internal/ipc/verify"
	"postern/internal/mail/dsn"
	"postern/internal/mail/queue"
	"postern/internal/service"
	"postern/internal/table"
	"postern/internal/table/matchlist"
)

// A Func delivers a request. It reports every recipient; those that it does not
// report are tried again, with the error as their reason.
type Func func(ctx context.Context, req *Request, rep *Report) error

// A Kit is what delivery agents share. An agent embeds one, or is made from a
// function by New.
type Kit struct {
	// StatusFilter is the parameter that names the agent's delivery status
	// filter, "smtp_delivery_status_filter"; "" when it has none.
	StatusFilter string

	filterTables string
	flushDomains string // fast_flush_domains
	env          *service.Env
	store        *queue.Store
	filter       *table.Maps
	fastFlush    *matchlist.List
	logs         logs
}

// logs are the services that keep a log per message.
type logs struct {
	bounce, deferred, trace *bounce.Client
	verify, flush           *endpoint.Endpoint
}

// Params names the parameters that every agent reads, beside the common ones.
func (k *Kit) Params(s *param.Set) {
	s.Str(&k.flushDomains, "fast_flush_domains", "$relay_domains")
	if k.StatusFilter != "" {
		s.Str(new(string), "default_delivery_status_filter", "")
		s.Str(&k.filterTables, k.StatusFilter, "$default_delivery_status_filter")
	}
}

// Open prepares the queue and the services that an agent uses.
func (k *Kit) Open(env *service.Env) error {
	k.env = env
	c := env.Common
	k.store = queue.Open(c)
	if err := k.store.Prepare(); err != nil {
		return err
	}
	private := func(name string) *bounce.Client {
		return bounce.New(env.Endpoint("private", name, bounce.Protocol))
	}
	k.logs = logs{
		private(c.BounceServiceName), private(c.DeferServiceName), private(c.TraceServiceName),
		env.Endpoint("private", c.VerifyServiceName, verify.Protocol),
		env.Endpoint("public", c.FlushServiceName, flush.Protocol),
	}
	var err error
	if k.flushDomains != "" {
		const list = "fast_flush_domains"
		style := matchlist.ParentStyle(list, c.ParentDomainMatchesSubdomains)
		if k.fastFlush, err = matchlist.New(list, k.flushDomains, env.Tables, style); err != nil {
			return err
		}
	}
	if k.filterTables != "" {
		k.filter, err = env.Tables.Maps(k.StatusFilter, k.filterTables, table.FoldKey)
	}
	return err
}

// Env returns what Open was given.
func (k *Kit) Env() *service.Env { return k.env }

// Store returns the queue.
func (k *Kit) Store() *queue.Store { return k.store }

// Serve answers the requests of one connection with f until the peer closes it
// or ctx ends. The queue manager keeps its connections, so a request may come
// a long time after the last one; it tells an idle connection that was closed
// just then from a delivery that died, see delivery.Exchange.
func (k *Kit) Serve(ctx context.Context, conn net.Conn, f Func) error {
	c := attr.NewConn(conn, k.env.Common.IPCTimeout)
	protocol := attr.Protocol(delivery.Protocol)
	if err := c.Send(&protocol); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	g := newGate(ctx, k.env.Draining, c)
	defer g.close()
	for {
		if !g.idle(c) {
			return nil
		}
		var req delivery.Request
		if err := c.Recv(&req); err != nil {
			return fmt.Errorf("receive delivery request: %w", err)
		}
		req.Times.AgentHandoff = time.Now()
		reply := k.Do(ctx, &req, f)
		if err := c.Send(&reply); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
	}
}

// Do handles one request.
func (k *Kit) Do(ctx context.Context, req *delivery.Request, f Func) delivery.Reply {
	r, err := k.open(req)
	if err != nil {
		k.env.Log.Warningf("%s: %v", req.QueueID, err)
		return delivery.Reply{Status: delivery.Defer}
	}
	defer r.File.Close()
	rep := newReport(k, r)
	err = f(ctx, r, rep)
	rep.rest(err)
	return rep.shared.reply
}

// open checks the request and opens the queue file. A lock that is taken means
// that the message is being changed; the queue manager tries again later.
func (k *Kit) open(req *delivery.Request) (*Request, error) {
	if _, err := queue.ParseID(string(req.QueueID)); err != nil {
		return nil, fmt.Errorf("bad delivery request: %w", err)
	}
	if req.QueueName != queue.Active {
		return nil, fmt.Errorf("bad delivery request: queue name %.100q", req.QueueName)
	}
	if req.Offset < 0 || req.Size < 0 {
		return nil, errors.New("bad delivery request: negative offset or size")
	}
	f, err := k.store.Open(req.QueueName, req.QueueID)
	if err != nil {
		return nil, err
	}
	if err := f.LockShared(); err != nil {
		f.Close()
		return nil, err
	}
	return &Request{Request: *req, File: f, Log: k.env.Log}, nil
}

// rest settles the recipients that the function has not reported.
func (rep *Report) rest(err error) {
	for _, rcpt := range rep.req.Recipients {
		if rcpt.Settled {
			continue
		}
		reason := "delivery agent gave no result"
		if err != nil {
			reason = err.Error()
		}
		rep.Defer(rcpt, "none", dsn.Make("4.3.0", reason))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		rep.req.Log.Warningf("%s: %v", rep.req.QueueID, err)
	}
}

// New makes a service of one function that needs no parameters of its own.
func New(f Func) service.Service { return &simple{f: f} }

type simple struct {
	Kit
	f Func
}

func (s *simple) Serve(ctx context.Context, c net.Conn) error { return s.Kit.Serve(ctx, c, s.f) }
