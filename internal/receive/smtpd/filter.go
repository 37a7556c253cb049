package smtpd

import (
	"errors"
	"strings"

	"postern/internal/base/macro"
	"postern/internal/protocol/smtp"
)

// filterCommand replaces a command line by what smtpd_command_filter makes of
// it; false ends the session, because a table has failed.
func (s *session) filterCommand(line string) (string, bool) {
	if s.commandFilter == nil {
		return line, true
	}
	key := strings.TrimLeft(line, " \t")
	value, found, err := s.commandFilter.Lookup(s.ctx, key)
	if err != nil {
		s.log.Warningf("%s lookup error for %s", s.conf.CommandFilter, quoted(key))
		s.put(s.dataError())
		return "", false
	}
	if !found {
		return line, true
	}
	s.log.Infof("%s: replacing command %s with %s", s.subject.LogClient, quoted(line), quoted(value))
	return value, true
}

// dataError ends the session because a table cannot be asked that says how to
// speak with the client. Postfix: the log line has no more.
func (s *session) dataError() smtp.Reply {
	r := ok(421, "4.3.0", s.common.MyHostname+" Server local data error")
	e := s.action("reject", r.String())
	e.Protocol, e.Helo, e.Sender, e.Recipient = "", nil, nil, nil
	s.log.Event(e)
	return r
}

// quoted shortens text for a log line.
func quoted(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit]
	}
	return `"` + s + `"`
}

// filterReject replaces a refusal by what smtpd_reject_filter_maps says. The
// replacement is again a refusal, with an enhanced status code of its class.
//
// Postfix: 3.11.
func (s *session) filterReject(r smtp.Reply) smtp.Reply {
	if s.rejectFilter.Empty() {
		return r
	}
	text := r.String()
	value, found, err := s.rejectFilter.Lookup(s.ctx, text)
	if err != nil || !found {
		return r
	}
	repl, err := parseRefusal(value)
	if err != nil {
		s.log.Warningf("%s: smtpd_reject_filter_maps: result for %s is ignored: %v", s.subject.LogClient, quoted(text), err)
		return r
	}
	s.log.Infof("%s: replacing reply %s with %s", s.subject.LogClient, quoted(text), quoted(value))
	return repl
}

func parseRefusal(text string) (smtp.Reply, error) {
	r, ok := smtp.ParseReply(text)
	switch {
	case !ok || r.Code < 400:
		return r, errors.New("need a reply code 4xx or 5xx")
	case r.Status == "":
		return r, errors.New("need an enhanced status code of the same class after the reply code")
	case r.Text() == "":
		return r, errors.New("need a text")
	}
	return r, nil
}

// addFooter appends what smtpd_reject_footer_maps or smtpd_reject_footer says.
// A text that begins with "\c" goes on in the last line; "\n" begins a line.
func (s *session) addFooter(r *smtp.Reply) {
	text := s.conf.RejectFooter
	if !s.footerMaps.Empty() {
		if value, found, err := s.footerMaps.Lookup(s.ctx, r.String()); err == nil && found {
			text = value
		}
	}
	if text == "" {
		return
	}
	x := macro.Expander{Filter: s.footerFilter, Lookup: func(name string) (string, bool, error) {
		v, ok := s.policy.Macro(&s.subject, name)
		return v, ok, nil
	}}
	lines := strings.Split(text, `\n`)
	r.Lines = append([]string(nil), r.Lines...)
	for i, l := range lines {
		glued := false
		if i == 0 {
			l, glued = strings.CutPrefix(l, `\c`)
		}
		e, err := x.Expand(l)
		if err != nil {
			s.log.Warningf("smtpd_reject_footer: %v", err)
			return
		}
		if glued {
			r.Lines[len(r.Lines)-1] += e.Text
		} else {
			r.Lines = append(r.Lines, e.Text)
		}
	}
}

// softened makes a deferral of a refusal (soft_bounce).
func softened(r smtp.Reply) smtp.Reply {
	if r.Code < 500 {
		return r
	}
	r.Code -= 100
	if r.Status != "" {
		r.Status = r.Status.WithClass('4')
	}
	return r
}
