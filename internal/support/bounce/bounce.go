// Package bounce is the service that records what became of recipients, and
// reports it to the sender: bounce(8), known also as defer and trace.
//
// The three services differ in the queue directory of their logs and in the
// report. A record is on stable storage before the client is told so. A report
// is a message of its own, handed to the cleanup service; the log is removed
// only when the report is safely in the queue, so that a process that dies
// between the two reports twice, never not at all.
//
// RFC 3461, 3462 and 3464 define the reports, RFC 6533 those of
// internationalised mail.
package bounce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/bounce"
	"postern/internal/ipc/cleanup"
	"postern/internal/mail/queue"
	"postern/internal/mail/statuslog"
	"postern/internal/service"
)

// Config holds the parameters of the service.
type Config struct {
	NotifyClasses  string
	BounceRcpt     string // bounce_notice_recipient
	DelayRcpt      string // delay_notice_recipient
	TwoBounceRcpt  string // 2bounce_notice_recipient
	SizeLimit      int    // bounce_size_limit
	TemplateFile   string // bounce_template_file
	OldLogs        bool   // backwards_bounce_logfile_compatibility
	Threaded       bool   // enable_threaded_bounces
	FilterClasses  string // internal_mail_filter_classes
	HeaderFrom     string // header_from_format
	MaxLifetime    time.Duration
	DelayWarn      time.Duration // delay_warning_time
	AutodetectUTF8 string        // smtputf8_autodetect_classes
	RedactTLS      bool          // requiretls_redact_dsn
}

// Params names the main.cf parameters that the service reads.
func (c *Config) Params(s *param.Set) {
	s.Str(&c.NotifyClasses, "notify_classes", "resource, software")
	s.Str(&c.BounceRcpt, "bounce_notice_recipient", "postmaster", param.MinLen(1))
	s.Str(&c.DelayRcpt, "delay_notice_recipient", "postmaster", param.MinLen(1))
	s.Str(&c.TwoBounceRcpt, "2bounce_notice_recipient", "postmaster", param.MinLen(1))
	s.Int(&c.SizeLimit, "bounce_size_limit", 50000, param.Min(1))
	s.Str(&c.TemplateFile, "bounce_template_file", "")
	s.Bool(&c.OldLogs, "backwards_bounce_logfile_compatibility", true)
	s.Bool(&c.Threaded, "enable_threaded_bounces", false)
	s.Str(&c.FilterClasses, "internal_mail_filter_classes", "")
	s.Str(&c.HeaderFrom, "header_from_format", "standard", param.MinLen(1))
	s.Time(&c.MaxLifetime, "maximal_queue_lifetime", "5d", param.Min(0), param.Max(8640000))
	s.Time(&c.DelayWarn, "delay_warning_time", "0h", param.Min(0))
	s.Bool(&c.RedactTLS, "requiretls_redact_dsn", true)
	s.Str(&c.AutodetectUTF8, "smtputf8_autodetect_classes", "sendmail, verify", param.MinLen(1))
}

// New returns the service.
func New() service.Service { return &Server{now: time.Now} }

// A Server is one of the services bounce, defer and trace.
type Server struct {
	cfg       Config
	env       *service.Env
	log       *maillog.Logger
	store     *queue.Store
	logs      queue.Name // the directory of the service's logs
	cleanup   *cleanup.Client
	flags     cleanup.Flags
	notify    classes
	templates templates
	now       func() time.Time
}

// Params implements service.Service.
func (s *Server) Params(set *param.Set) { s.cfg.Params(set) }

// Open prepares the queue, the templates and the client of cleanup.
func (s *Server) Open(env *service.Env) (err error) {
	s.env, s.log = env, env.Log
	c := env.Common
	switch env.Name {
	case c.BounceServiceName:
		s.logs = queue.Bounce
	case c.DeferServiceName:
		s.logs = queue.Defer
	case c.TraceServiceName:
		s.logs = queue.Trace
	default:
		return fmt.Errorf("service name %q is none of %s, %s and %s", env.Name, c.BounceServiceName, c.DeferServiceName, c.TraceServiceName)
	}
	if s.notify, err = parseClasses(s.cfg.NotifyClasses); err != nil {
		return fmt.Errorf("notify_classes: %w", err)
	}
	s.flags, err = s.cleanupFlags()
	if err != nil {
		return err
	}
	if s.templates, err = s.openTemplates(); err != nil {
		return err
	}
	s.cleanup = cleanup.NewClient(env.Endpoint("public", c.CleanupServiceName, cleanup.Protocol), c.IPCIdle)
	s.store = queue.Open(c)
	return s.store.Prepare()
}

// classes are the kinds of trouble that the postmaster is told about.
type classes struct{ bounce, twoBounce, delay bool }

func parseClasses(text string) (c classes, err error) {
	for _, name := range param.Split(text) {
		switch strings.ToLower(name) {
		case "bounce":
			c.bounce = true
		case "2bounce":
			c.twoBounce = true
		case "delay":
			c.delay = true
		case "data", "policy", "protocol", "resource", "software":
		default:
			return c, fmt.Errorf("unknown class %q", name)
		}
	}
	return c, nil
}

// cleanupFlags are how cleanup treats a report: mapped as internal mail, and
// filtered where the administrator wants that.
func (s *Server) cleanupFlags() (cleanup.Flags, error) {
	flags := cleanup.MaskInternal
	for _, name := range param.Split(s.cfg.FilterClasses) {
		switch strings.ToLower(name) {
		case "bounce":
			flags |= cleanup.FlagFilter | cleanup.FlagMilter
		case "notify":
		default:
			return 0, fmt.Errorf("internal_mail_filter_classes: unknown class %q", name)
		}
	}
	for _, name := range param.Split(s.cfg.AutodetectUTF8) {
		if n := strings.ToLower(name); n == "bounce" || n == "all" {
			flags |= cleanup.FlagAutoUTF8
		}
	}
	return flags, nil
}

// Serve answers the requests of one connection until the client closes it.
func (s *Server) Serve(ctx context.Context, conn net.Conn) error {
	c := attr.NewConn(conn, s.env.Common.IPCTimeout)
	protocol := attr.Protocol(bounce.Protocol)
	if err := c.Send(&protocol); err != nil {
		return err
	}
	stop := s.closeWhenDraining(ctx, conn)
	defer stop()
	for {
		var req bounce.Request
		if err := c.Recv(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		status := attr.Status(0)
		if err := s.handle(ctx, &req); err != nil {
			s.log.Warningf("%s: %v", req.Message.QueueID, err)
			status = -1
		}
		if err := c.Send(&status); err != nil {
			return err
		}
	}
}

// closeWhenDraining ends the wait for the next request when the process is to
// end. A request that has arrived in part is lost with the connection; clients
// send it again over a new one.
func (s *Server) closeWhenDraining(ctx context.Context, conn net.Conn) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-s.env.Draining:
		case <-done:
			return
		}
		conn.SetReadDeadline(time.Unix(1, 0))
	}()
	return func() { close(done) }
}

// handle does one request. A nil error promises that it is done for good.
func (s *Server) handle(ctx context.Context, r *bounce.Request) error {
	m := &r.Message
	if _, err := queue.ParseID(string(m.QueueID)); err != nil {
		return err
	}
	if r.Op == bounce.OpAppend {
		return s.append(r)
	}
	if _, err := queue.ParseName(string(m.QueueName)); err != nil {
		return err
	}
	switch r.Op {
	case bounce.OpFlush:
		return s.report(ctx, r, failure)
	case bounce.OpWarn:
		return s.report(ctx, r, delay)
	case bounce.OpVerp:
		return s.reportEach(ctx, r)
	case bounce.OpOne:
		return s.reportOne(ctx, r)
	case bounce.OpTrace:
		return s.trace(ctx, r)
	}
	return fmt.Errorf("unknown request %d", r.Op)
}

func (s *Server) append(r *bounce.Request) error {
	rec := statuslog.Record{
		Address: r.Recipient.Address, OrigAddr: r.Recipient.OrigAddr, Offset: r.Recipient.Offset,
		DSNOrigRcpt: r.Recipient.DSNOrigRcpt, Notify: r.Recipient.Notify, Result: r.Result,
	}
	err := s.store.AppendLog(s.logs, r.Message.QueueID, rec.Append(nil, s.cfg.OldLogs))
	if err != nil && r.Flags&bounce.FlagClean != 0 {
		s.store.Remove(s.logs, r.Message.QueueID)
	}
	return err
}
