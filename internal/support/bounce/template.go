package bounce

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"postern/internal/config/param"
)

// A kind is one of the reports.
type kind int

const (
	failure kind = iota
	delay
	success
	verify
	kinds
)

// names are those of bounce_template_file.
var names = [kinds]string{"failure_template", "delay_template", "success_template", "verify_template"}

// A template is the header and the text of a report, bounce(5).
type template struct {
	kind              kind
	Charset           string
	From              string
	Subject           string
	PostmasterSubject string
	Text              []string // lines, expanded
	warnings          []string // logged when the template is used
}

type templates [kinds]template

// The texts of reports. Their headers are Postfix's, because mail programs and
// filters know them.
var builtin = [kinds]template{
	failure: {
		Subject:           "Undelivered Mail Returned to Sender",
		PostmasterSubject: "Postmaster Copy: Undelivered Mail",
		Text: []string{
			"This is the mail system at host $myhostname.",
			"",
			"Your message did not reach everybody it was meant for, and no",
			"further attempt will be made. Below is who did not get it, and",
			"why; the message itself follows in an attachment.",
			"",
			"If you need help, write to <postmaster> and include this report;",
			"your own text can be left out.",
			"",
			"                   The mail system",
		},
	},
	delay: {
		Subject:           "Delayed Mail (still being retried)",
		PostmasterSubject: "Postmaster Warning: Delayed Mail",
		Text: []string{
			"This is the mail system at host $myhostname.",
			"",
			"This is a warning only. YOU NEED NOT SEND YOUR MESSAGE AGAIN.",
			"",
			"For $delay_warning_time_hours hour(s) your message could not be delivered to",
			"everybody it is meant for. Delivery will be attempted until the",
			"message is $maximal_queue_lifetime_days day(s) old.",
			"",
			"If you need help, write to <postmaster> and include this report;",
			"your own text can be left out.",
			"",
			"                   The mail system",
		},
	},
	success: {
		Subject: "Successful Mail Delivery Report",
		Text: []string{
			"This is the mail system at host $myhostname.",
			"",
			"Your message has been delivered to the recipients below. Where it",
			"was handed to another mail system, that system may still report",
			"a failure; where it was put into a mailbox, no more will follow.",
			"",
			"                   The mail system",
		},
	},
	verify: {
		Subject: "Mail Delivery Status Report",
		Text: []string{
			"This is the mail system at host $myhostname.",
			"",
			"This is the report on mail delivery that you asked for.",
			"",
			"                   The mail system",
		},
	},
}

// openTemplates makes the templates: built in, or from bounce_template_file.
// Postfix: a file that cannot be used is a warning, mail goes on without it.
func (s *Server) openTemplates() (templates, error) {
	def := s.plainTemplates()
	set := def
	for k := range set {
		if err := set[k].expand(s, builtinOrigin); err != nil {
			return set, err
		}
	}
	if s.cfg.TemplateFile == "" {
		return set, nil
	}
	own, err := readTemplates(s.cfg.TemplateFile, def)
	if err != nil {
		s.log.Warningf("%v", err)
		s.log.Warningf("%s: using the default bounce templates instead", s.cfg.TemplateFile)
		return set, nil
	}
	for k := range own {
		if own[k].Text == nil {
			own[k].Text, own[k].warnings = set[k].Text, set[k].warnings
		} else if err := own[k].expand(s, s.cfg.TemplateFile); err != nil {
			s.log.Warningf("%s: %s: %v; using the default instead", s.cfg.TemplateFile, names[k], err)
			own[k] = set[k]
		}
	}
	return own, nil
}

// builtinOrigin is what messages call the templates that are in the program.
const builtinOrigin = "[built-in]"

// plainTemplates returns the built-in templates, not expanded.
func (s *Server) plainTemplates() templates {
	var set templates
	for k := range builtin {
		t := builtin[k]
		t.kind = kind(k)
		t.Charset = "us-ascii"
		if s.env.Common.SMTPUTF8Enable {
			t.Charset = "utf-8"
		}
		t.From = "Mail Delivery System <MAILER-DAEMON>"
		if s.cfg.HeaderFrom == "obsolete" {
			t.From = "MAILER-DAEMON (Mail Delivery System)"
		}
		set[k] = t
	}
	return set
}

// expand replaces the text by what it says with parameters filled in: those of
// main.cf, and times in the unit that the name ends with. origin is where the
// template is from.
func (t *template) expand(s *Server, origin string) error {
	set := param.NewSet()
	new(param.Common).Params(set)
	new(Config).Params(set)
	src := source{s: s, t: t, origin: origin}
	x := func(text string) (string, error) { return set.Expand(src, text) }
	lines := make([]string, len(t.Text))
	for i, line := range t.Text {
		out, err := x(line)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		lines[i] = out
	}
	t.Text = lines
	return nil
}

// readTemplates reads bounce_template_file: "name = <<EOF", header fields, an
// empty line, text, "EOF". Templates that it does not have keep their header
// and have no Text.
func readTemplates(path string, def templates) (templates, error) {
	set := def
	for k := range set {
		set[k].Text = nil
	}
	f, err := os.Open(path)
	if err != nil {
		return set, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		end, here := strings.CutPrefix(strings.TrimSpace(value), "<<")
		end = strings.TrimSpace(end)
		k := kindNamed(strings.TrimSpace(name))
		switch {
		case !ok || !here || end == "":
			return set, fmt.Errorf("%s, line %d: want \"template_name = <<EOF\"", path, n)
		case k < 0:
			return set, fmt.Errorf("%s, line %d: unknown template %q; want one of %s", path, n, strings.TrimSpace(name), strings.Join(names[:], ", "))
		}
		var body []string
		for closed := false; !closed; n++ {
			if !lines.Scan() {
				return set, fmt.Errorf("%s: %s: the line %q that ends it is missing", path, names[k], end)
			}
			if closed = lines.Text() == end; !closed {
				body = append(body, lines.Text())
			}
		}
		if set[k], err = def[k].parse(body); err != nil {
			return set, fmt.Errorf("%s: %s: %w", path, names[k], err)
		}
	}
	return set, lines.Err()
}

func kindNamed(name string) kind {
	for k, n := range names {
		if n == name {
			return kind(k)
		}
	}
	return -1
}

// parse reads one template; fields that it does not name keep their value.
func (t template) parse(lines []string) (template, error) {
	i := 0
	for ; i < len(lines) && lines[i] != ""; i++ {
		name, value, ok := strings.Cut(lines[i], ":")
		if !ok {
			break // Postfix: the text may begin without an empty line
		}
		value = strings.TrimSpace(value)
		for _, c := range []byte(value) {
			if c >= 0x80 || c < ' ' {
				return t, fmt.Errorf("header %s: not ASCII text", name)
			}
		}
		if value == "" {
			return t, fmt.Errorf("header %s: empty value", name)
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "charset":
			t.Charset = value
		case "from":
			t.From = value
		case "subject":
			t.Subject = value
		case "postmaster-subject":
			if t.PostmasterSubject == "" {
				return t, fmt.Errorf("header %s: not in this template", name)
			}
			t.PostmasterSubject = value
		default:
			return t, fmt.Errorf("unknown header %q; want Charset, From, Subject or Postmaster-Subject", name)
		}
	}
	if i < len(lines) && lines[i] == "" {
		i++
	}
	t.Text = append([]string{}, lines[i:]...)
	if len(t.Text) == 0 {
		return t, fmt.Errorf("no text")
	}
	return t, nil
}

// A source has the parameters that a template may name.
type source struct {
	s      *Server
	t      *template
	origin string
}

// Lookup implements param.Source.
func (x source) Lookup(name string) (value, where string, ok bool) {
	c := x.s.env.Common
	switch name {
	case "myhostname":
		return x.s.readable(c.MyHostname), "", true
	case "mydomain":
		return x.s.readable(c.MyDomain), "", true
	}
	for prefix, d := range map[string]time.Duration{
		"delay_warning_time_":     x.s.cfg.DelayWarn,
		"maximal_queue_lifetime_": x.s.cfg.MaxLifetime,
	} {
		if unit, found := strings.CutPrefix(name, prefix); found {
			if per := units(unit); per > 0 {
				n := int64(d / per)
				if n == 0 {
					x.zero(name, unit)
				}
				return fmt.Sprint(n), "", true
			}
		}
	}
	return x.s.env.Config.Lookup(name)
}

// zero warns of a time that is less than one of its unit.
func (x source) zero(name, unit string) {
	kind := strings.TrimSuffix(names[x.t.kind], "_template")
	x.t.warnings = append(x.t.warnings,
		fmt.Sprintf("%s: zero result in %s template conversion of parameter \"%s\"", x.origin, kind, name),
		fmt.Sprintf("please reduce time unit \"%s\" of \"%s\" in %s template", unit, name, kind),
		"for instructions see the bounce(5) manual")
}

func units(name string) time.Duration {
	switch name {
	case "seconds":
		return time.Second
	case "minutes":
		return time.Minute
	case "hours":
		return time.Hour
	case "days":
		return 24 * time.Hour
	case "weeks":
		return 7 * 24 * time.Hour
	}
	return 0
}

// readable is a domain with its labels in UTF-8, where that is enabled.
func (s *Server) readable(domain string) string {
	if !s.env.Common.SMTPUTF8Enable || !strings.Contains(domain, "xn--") {
		return domain
	}
	if u, err := idna.ToUnicode(domain); err == nil {
		return u
	}
	return domain
}
