package smtpd

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/config/param"
	"postern/internal/ipc/cleanup"
	"postern/internal/ipc/rewrite"
	"postern/internal/mail/address"
	"postern/internal/mail/event"
	"postern/internal/protocol/smtp"
	"postern/internal/receive/smtpd/beforequeue"
	"postern/internal/service"
)

// openFilter prepares smtpd_proxy_filter.
func (s *Server) openFilter(*service.Env) (err error) {
	c := &s.conf
	if c.ProxyFilter == "" || s.standAlone {
		return nil
	}
	f := beforequeue.Config{Name: c.ProxyFilter, Hello: c.ProxyHello, Timeout: c.ProxyTimeout,
		TempDir: "incoming", Warn: s.log.Warningf}
	if f.Network, f.Address, err = beforequeue.ParseEndpoint(c.ProxyFilter); err != nil {
		return fmt.Errorf("bad configuration: smtpd_proxy_filter = %s: %w", c.ProxyFilter, err)
	}
	for _, w := range param.Split(c.ProxyOptions) {
		if w != "speed_adjust" {
			return fmt.Errorf("bad configuration: smtpd_proxy_options: unknown value %q", w)
		}
		f.SpeedAdjust = true
	}
	s.filter = &f
	return nil
}

// A filterRefusal is why a message cannot begin: the filter's reply is the
// client's.
type filterRefusal struct{ reply smtp.Reply }

func (r *filterRefusal) Error() string { return r.reply.String() }

// startFailure is the reply when a message cannot begin.
func (s *session) startFailure(err error) outcome {
	var r *filterRefusal
	if errors.As(err, &r) {
		return say(r.reply)
	}
	s.log.Warningf("%v", err)
	return say(ok(451, "4.3.0", "Error: queue file write error"))
}

// startFilter tells the filter of the message.
func (s *session) startFilter() error {
	f, r := beforequeue.Open(s.ctx, *s.filter, s.forwarded(), s.filterMail())
	if f == nil {
		return &filterRefusal{r}
	}
	s.tx.queue, s.tx.filter = filterFile{f}, f
	s.logMessage()
	return nil
}

// forwarded is what the filter may know of the client: what an upstream filter
// told, or what is known here.
func (s *session) forwarded() []beforequeue.Attr {
	x := s.xf
	if !x.given {
		x = xforward{name: s.peer.name, addr: s.peer.addr, port: s.peer.port, proto: s.subject.Protocol, helo: s.subject.Helo}
		x.domain = "REMOTE"
		if s.tx.rewriteContext == rewrite.Local {
			x.domain = "LOCAL"
		}
	}
	if a := s.xf.addr; a == "" && s.peer.ip.Is6() {
		x.addr = "IPV6:" + x.addr
	}
	list := []beforequeue.Attr{{Name: "NAME", Value: x.name}, {Name: "ADDR", Value: x.addr}, {Name: "PORT", Value: x.port},
		{Name: "HELO", Value: x.helo}, {Name: "IDENT", Value: x.ident}, {Name: "PROTO", Value: x.proto}, {Name: "SOURCE", Value: x.domain}}
	for i := range list {
		if v := &list[i].Value; *v == "" || *v == unknown {
			*v = unavailable
		}
	}
	return list
}

// endFilter ends the content and gives the filter's reply to the client.
func (s *session) endFilter() outcome {
	r := s.tx.filter.End()
	s.logFilter(r)
	s.reset()
	if r.Positive() {
		s.errors, s.junk = 0, 0
	}
	return say(r)
}

// logFilter says what became of a message that a filter saw.
func (s *session) logFilter(r smtp.Reply) {
	a := s.action("", beforequeue.Text(r))
	e := &event.SMTPDFilter{SMTPDAction: *a}
	if e.Recipient == nil && len(s.tx.recipients) > 0 { // Postfix: the first one stands for all
		first := address.Quote822(s.tx.recipients[0])
		e.Recipient = &first
	}
	e.Action = "proxy-reject"
	if r.Code/100 == 2 {
		e.Action = "proxy-accept"
	}
	s.log.Event(e)
}

// A filterFile is the queueFile of a message that goes to a filter.
type filterFile struct{ *beforequeue.Filter }

func (filterFile) ID() string { return "" }

// Finish is not used: the filter's word is a reply.
func (filterFile) Finish(context.Context) (cleanup.Status, string, error) {
	return cleanup.StatusProxy, "", nil
}
