package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/service"
)

// openable are the programs whose Open changes nothing.
var openable = [...]string{
	"cleanup", "discard", "error", "lmtp", "local", "pipe", "proxymap", "showq", "smtp", "smtpd", "trivial-rewrite", "virtual",
}

// unneeded are programs of Postfix that nothing here asks for; their entries in
// master.cf may stay.
var unneeded = map[string]string{
	"scache": "the SMTP client keeps its sessions itself",
}

// checkServices tells of services that would not start, and of what they would
// complain about.
func (c *checker) checkServices() {
	st, err := os.Stat(c.common.DaemonDirectory)
	found := err == nil && st.IsDir()
	if !found {
		c.add(c.atSetting("daemon_directory", Finding{Severity: Error, Message: fmt.Sprintf("daemon directory %s: %v", c.common.DaemonDirectory, reason(err)),
			Remedy: "set daemon_directory to where the programs are installed"}))
	}
	for i := range c.services {
		s := &c.services[i]
		if found {
			c.checkProgram(s)
		}
		n := slices.IndexFunc(c.Programs, func(p service.Program) bool { return p.Name == s.Command })
		if n >= 0 {
			c.try(c.Programs[n], s)
		}
	}
}

// checkProgram tells of a service whose program is missing.
func (c *checker) checkProgram(s *mastercf.Service) {
	path := filepath.Join(c.common.DaemonDirectory, s.Command)
	f := Finding{Severity: Error, File: c.masterFile(), Line: s.Line, Service: s.Key()}
	st, err := os.Stat(path)
	switch why := unneeded[s.Command]; {
	case err != nil && why != "":
		f.Severity, f.Message = Warning, fmt.Sprintf("program %s: %v", path, reason(err))
		f.Remedy = "the entry may stay: " + why
	case err != nil && c.excused(s.Command):
		return
	case err != nil:
		f.Message, f.Remedy = fmt.Sprintf("program %s: %v", path, reason(err)), "name a program in daemon_directory, or remove the entry"
	case st.IsDir() || st.Mode()&0o111 == 0:
		f.Message, f.Remedy = fmt.Sprintf("%s is not a program", path), "make it executable, or remove the entry"
	default:
		return
	}
	c.add(f)
}

// notStarting begins findings of what would end a service at once.
const notStarting = "the service would not start: "

// try tries a service out.
func (c *checker) try(p service.Program, s *mastercf.Service) {
	set := param.NewSet()
	new(param.Common).Params(set)
	p.New().Params(set)
	problems := set.Problems(c.overridden(s))
	for _, err := range problems {
		c.add(c.ofService(s, Finding{Severity: Error, Message: notStarting + err.Error()}))
	}
	if len(problems) > 0 {
		return
	}
	t := service.Try(p, c.Tables, c.main, s, slices.Contains(openable[:], p.Name))
	for _, note := range t.Notes {
		label, text, ok := strings.Cut(note, ": ")
		if !ok || label != "warning" && label != "error" {
			continue
		}
		if c.tableSaid(text) {
			continue
		}
		f := Finding{Severity: Warning, Message: text}
		if label == "error" && strings.Contains(text, unsupported) {
			f.Severity, f.Remedy = Error, typesRemedy
		}
		c.add(c.ofService(s, f))
	}
	for _, err := range t.Mistakes {
		name, _, _ := strings.Cut(err.Error(), ":") // each begins with its parameter
		c.add(at(c.overridden(s), name, c.mainFile(), Finding{Severity: Error, Service: s.Key(), Message: err.Error(), Remedy: explain(name)}))
	}
	if t.Err == nil || c.tableSaid(t.Err.Error()) || c.keysSaid(s, t.Err.Error()) {
		return
	}
	severity := Error
	if !c.mentioned(s) {
		severity = Warning
	}
	c.add(c.ofService(s, Finding{Severity: severity, Message: notStarting + t.Err.Error()}))
}

// explain is the remedy for a value that makes no sense.
func explain(parameter string) string {
	return fmt.Sprintf("\"postern explain %s\" says what it takes", parameter)
}

// mentioned says whether a service is needed. Commands that some entries of
// the master.cf of distributions run are not installed everywhere; an entry for
// pipe that no setting names gets no mail.
func (c *checker) mentioned(s *mastercf.Service) bool {
	if s.Command != "pipe" {
		return true
	}
	for _, name := range c.main.Names() {
		if slices.Contains(word.FindAllString(c.value(c.main, name), -1), s.Name) {
			return true
		}
	}
	return false
}

// keysSaid says whether a message is about a key or certificate of which there
// is a finding already.
func (c *checker) keysSaid(s *mastercf.Service, text string) bool {
	if !strings.Contains(text, "certificate") && !strings.Contains(text, "tls") {
		return false
	}
	return slices.ContainsFunc(c.findings, func(f Finding) bool {
		return strings.Contains(f.Parameter, "_tls_") && (f.Service == s.Key() || strings.Contains(text, f.Parameter) || strings.HasPrefix(f.Parameter, s.Command))
	})
}

// ofService says where a finding about a service belongs: to the line of
// master.cf if an option there sets the parameter, else to main.cf's.
func (c *checker) ofService(s *mastercf.Service, f Finding) Finding {
	text, fatal := strings.CutPrefix(f.Message, notStarting)
	f.Service, f.Message = s.Key(), strings.Replace(text, "option -o: ", "", 1)
	f = c.located(f)
	for _, o := range s.Overrides {
		if strings.Contains(f.Message, o.Name) {
			f.Parameter, f.File, f.Line = o.Name, c.masterFile(), s.Line
			break
		}
	}
	if fatal {
		f.Message = notStarting + f.Message
		switch {
		case f.Remedy != "":
		case f.Parameter != "":
			f.Remedy = explain(f.Parameter)
		default:
			f.Remedy = fmt.Sprintf("\"postern help %s\" says what the program takes", s.Command)
		}
	}
	if f.File == "" {
		f.File, f.Line = c.masterFile(), s.Line
	}
	return f
}

// tableSaid says whether a message is that of a table that was reported
// already, with its parameter.
func (c *checker) tableSaid(text string) bool {
	for i := range c.findings {
		if m, ok := strings.CutPrefix(c.findings[i].Message, "table "); ok {
			if _, cause, ok := strings.Cut(m, ": "); ok && strings.Contains(text, cause) {
				return true
			}
		}
	}
	return false
}
