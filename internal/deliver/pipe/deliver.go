package pipe

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/internal/base/sys"
	"postern/internal/deliver/agent"
	"postern/internal/mail/address"
	"postern/internal/mail/dsn"
	"postern/internal/mail/mailbox"
	"postern/internal/mail/record"
)

// deliver gives one message to one run of the command, for all recipients.
func (s *Service) deliver(ctx context.Context, req *agent.Request, rep *agent.Report) error {
	if flag := s.singleOnly(req); flag != "" {
		// Logged last, as in Postfix.
		defer req.Log.Warningf("pipe flag `%s' requires %s_destination_recipient_limit = 1", flag, s.Env().Name)
		s.report(req, rep, result("4.3.5", "mail system configuration error"))
		return nil
	}
	res, err := s.refused(req)
	if err != nil {
		return err
	}
	if res == nil {
		res, err = s.run(ctx, req)
	}
	if err != nil {
		return err
	}
	s.report(req, rep, res)
	return nil
}

// report tells for every recipient what became of the message.
func (s *Service) report(req *agent.Request, rep *agent.Report, res *dsn.Result) {
	for _, rcpt := range req.Recipients {
		switch res.Status.Class() {
		case '2':
			rep.Sent(rcpt, s.Env().Name, *res)
		case '5':
			rep.Bounce(rcpt, s.Env().Name, *res)
		default:
			rep.Defer(rcpt, s.Env().Name, *res)
		}
	}
}

// singleOnly returns the flag that makes no sense for several recipients.
func (s *Service) singleOnly(req *agent.Request) string {
	switch f := s.attrs.flags; {
	case len(req.Recipients) < 2:
		return ""
	case f.deliveredTo:
		return "D"
	case f.origTo:
		return "O"
	}
	return ""
}

func result(status dsn.Status, format string, args ...any) *dsn.Result {
	res := dsn.Make(status, fmt.Sprintf(format, args...))
	return &res
}

// refused returns why the command is not run for the request, or nil.
func (s *Service) refused(req *agent.Request) (*dsn.Result, error) {
	a := s.attrs
	if a.size > 0 && req.Size > a.size {
		return result("5.2.3", "message too large"), nil
	}
	if a.flags.deliveredTo {
		rcpt := req.Recipients[0].Address
		looping, err := deliveredBefore(req.Content(), rcpt)
		if err != nil {
			return nil, err
		}
		if looping {
			return result("5.4.6", "mail forwarding loop for %s", rcpt), nil
		}
	}
	if req.VerifyOnly() {
		return result("2.0.0", "delivers to command: %s", a.argv[0]), nil
	}
	return nil, nil
}

// deliveredBefore says whether a Delivered-To: field names addr.
func deliveredBefore(content mailbox.Content, addr string) (bool, error) {
	want := address.Quote822(addr)
	for {
		t, data, err := content.Next()
		if err != nil {
			return false, err
		}
		if t != record.Norm && t != record.Cont || len(data) == 0 {
			return false, nil
		}
		name, value, ok := strings.Cut(string(data), ":")
		if ok && strings.EqualFold(strings.TrimRight(name, " \t"), "Delivered-To") && strings.EqualFold(strings.TrimSpace(value), want) {
			return true, nil
		}
	}
}

// run runs the command.
func (s *Service) run(ctx context.Context, req *agent.Request) (*dsn.Result, error) {
	argv, err := s.arguments(req)
	if err != nil {
		req.Log.Warningf("%s: %v", req.QueueID, err)
		return result("4.3.5", "mail system configuration error"), nil
	}
	a, form := s.attrs, s.form(req)
	c := sys.Command{
		Argv: argv, Owner: a.owner, Dir: a.directory, Chroot: a.chroot, TimeLimit: s.limit,
		Env:   append([]string{"PATH=" + agent.CommandPath}, agent.Exported(s.Env().Common.ExportEnvironment)...),
		Stdin: func(w io.Writer) error { return form.To(w, req.Content()) },
	}
	exit, err := c.Run(ctx)
	if exit != nil && exit.TimedOut {
		req.Log.Warningf("pipe_command_read: read time limit exceeded")
	}
	res, ok := agent.CommandResult(argv[0], exit, err)
	if !ok {
		return &res, nil
	}
	detail := ""
	if output := strings.TrimSpace(res.Reason); output != "" {
		detail = fmt.Sprintf(" (%.100s)", output)
	}
	sent := result("2.0.0", "delivered via %s service%s", s.Env().Name, detail)
	sent.Action = "relayed"
	if a.flags.final {
		sent.Action = "delivered"
	}
	return sent, nil
}

// form is how the command gets the message.
func (s *Service) form(req *agent.Request) mailbox.Copy {
	f := s.attrs.flags
	c := mailbox.Copy{
		From: f.from, ReturnPath: f.returnPath, QuoteFrom: f.quoteFrom, QuoteDots: f.dots, BlankEnd: f.blankEnd,
		EOL: s.attrs.eol, Sender: s.sender(req), Time: time.Now(),
	}
	if f.deliveredTo {
		c.Delivered = req.Recipients[0].Address
	}
	if f.origTo && s.Env().Common.EnableOriginalRecipient {
		c.OrigTo = req.Recipients[0].OrigAddr
	}
	return c
}

// sender is the envelope sender, or what stands for the null sender.
func (s *Service) sender(req *agent.Request) string {
	if req.Sender == "" {
		return s.attrs.nullSender
	}
	return req.Sender
}

// arguments expands the macros of the command's arguments. One that names a
// recipient appears once for each.
func (s *Service) arguments(req *agent.Request) ([]string, error) {
	var argv []string
	for _, arg := range s.attrs.argv {
		each := req.Recipients[:1]
		if perRecipient(arg) {
			each = req.Recipients
		}
		for _, rcpt := range each {
			text, err := s.expand(arg, req, rcpt)
			if err != nil {
				return nil, fmt.Errorf("argument %s: %w", arg, err)
			}
			argv = append(argv, text)
		}
	}
	return argv, nil
}
