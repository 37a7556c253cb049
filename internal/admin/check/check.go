// Package check looks a configuration through for what will not work: settings
// that nothing knows, tables that cannot be opened, keys without their
// certificates, services that would not start, a relay that is open to
// everybody, files that belong to the wrong user.
//
// It changes nothing and needs no running mail system. Each finding names the
// file and the line and says what would be right. "postern check" prints them,
// "postfix check" logs them.
package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/service"
	"postern/internal/table"
)

// A Severity says how bad a finding is.
type Severity string

// What is an Error stops mail, loses it, or lets strangers send it; a Warning
// may be meant so.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// A Finding is one thing that is wrong.
type Finding struct {
	Severity  Severity `json:"severity"`
	File      string   `json:"file,omitempty"`
	Line      int      `json:"line,omitempty"`
	Service   string   `json:"service,omitempty"` // "smtp/inet"
	Parameter string   `json:"parameter,omitempty"`
	Message   string   `json:"message"`
	Remedy    string   `json:"remedy,omitempty"`

	named bool // the message names the file
}

// String is the finding in one line, without its severity.
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" && !f.named {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ", line %d", f.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	if f.Service != "" {
		fmt.Fprintf(&b, " (service %s)", f.Service)
	}
	if f.Remedy != "" {
		fmt.Fprintf(&b, "; %s", f.Remedy)
	}
	return b.String()
}

// Knowledge is what the check is told of the programs.
type Knowledge struct {
	Programs   []service.Program
	Tables     []table.Type
	Parameters []func(*param.Set)     // what each program and command declares
	Listen     func(dir string) error // whether master could listen for every service
	// Unknown returns the settings of c that nothing knows or that have no
	// effect, in words; texts are those of master.cf, which may refer to names.
	Unknown func(c *maincf.Config, texts []string) []string
}

// A checker is one run.
type checker struct {
	Knowledge
	dir      string
	main     *maincf.Config
	set      *param.Set // what all programs declare
	common   param.Common
	services []mastercf.Service
	findings []Finding
	seen     map[string]bool

	reloading bool // only what a reload is refused for
}

// Configuration looks through the configuration directory dir.
func Configuration(dir string, k Knowledge) []Finding {
	c := &checker{Knowledge: k, dir: dir, seen: make(map[string]bool)}
	if c.load() {
		c.checkNames()
		c.checkListening()
		c.checkName()
		c.checkClasses()
		c.checkRelay()
		c.checkLogins()
		c.checkTLS()
		c.checkTables()
		c.checkTransports()
		c.checkServices()
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		if a.Severity != b.Severity {
			return strings.Compare(string(a.Severity), string(b.Severity))
		}
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return c.findings
}

// Log is the finding as the log of "postfix check" has it: what Postfix finds,
// too, stays in Postfix's words.
func (f Finding) Log() string {
	if f.named {
		return f.Message
	}
	return f.String()
}

// add keeps a finding, once.
func (c *checker) add(f Finding) {
	key := f.Parameter + "\x00" + f.Message
	if c.seen[key] {
		return
	}
	c.seen[key] = true
	c.findings = append(c.findings, f)
}

func (c *checker) mainFile() string   { return filepath.Join(c.dir, "main.cf") }
func (c *checker) masterFile() string { return filepath.Join(c.dir, "master.cf") }

// load reads both files. What is wrong in them is all that can be said then.
func (c *checker) load() bool {
	var err error
	if c.main, err = maincf.Load(c.dir); err != nil {
		c.add(c.located(Finding{Severity: Error, File: c.mainFile(), Message: err.Error(), Remedy: `a line is "name = value", or continues the one before it with a blank in front`}))
		return false
	}
	for _, w := range c.main.Warnings() {
		c.add(c.located(Finding{Severity: Warning, Message: w, Remedy: "remove one of the two lines"}))
	}
	c.main = c.main.Override("config_directory", c.dir, "the command")
	c.set = param.NewSet()
	for _, declare := range c.Parameters {
		declare(c.set)
	}
	common := param.NewSet()
	c.common.Params(common)
	if err := common.Load(c.main); err != nil {
		c.add(c.located(Finding{Severity: Error, File: c.mainFile(), Message: err.Error()}))
		return false
	}
	return c.loadServices()
}

func (c *checker) loadServices() bool {
	chroot, err := c.set.Expand(c.main, "${{$compatibility_level} <level {1} ? {y}:{n}}")
	if err == nil {
		c.services, err = mastercf.Load(c.masterFile(), mastercf.Options{
			DefaultLimit:  c.common.DefaultProcessLimit,
			ChrootDefault: chroot == "y",
			Disable:       c.value(c.main, "master_service_disable"),
			Warn: func(format string, args ...any) {
				c.add(c.located(Finding{Severity: Warning, Message: fmt.Sprintf(format, args...), Remedy: "remove one of the two entries"}))
			},
		})
	}
	if err != nil {
		c.add(c.located(Finding{Severity: Error, File: c.masterFile(), Message: err.Error()}))
		return false
	}
	if st, err := os.Stat(c.common.QueueDirectory); err != nil || !st.IsDir() {
		c.add(c.atSetting("queue_directory", Finding{Severity: Error, Message: fmt.Sprintf("queue directory %s: %v", c.common.QueueDirectory, reason(err)),
			Remedy: `"postfix check" as root makes it`}))
	} else if err := os.Chdir(c.common.QueueDirectory); err != nil {
		c.add(Finding{Severity: Error, File: c.common.QueueDirectory, Message: reason(err).Error()})
	}
	return true
}

// checkNames tells of settings that no program knows.
func (c *checker) checkNames() {
	var texts []string
	for i := range c.services {
		texts = append(texts, c.services[i].Args...)
	}
	said := func(conf *maincf.Config, s *mastercf.Service) {
		for _, text := range c.Unknown(conf, texts) {
			f := Finding{Severity: Warning, Message: text}
			if s != nil {
				f.File, f.Line, f.Service = c.masterFile(), s.Line, s.Key()
			}
			c.add(c.located(f))
		}
	}
	said(c.main, nil)
	for i := range c.services {
		if s := &c.services[i]; len(s.Overrides) > 0 {
			said(c.overridden(s), s)
		}
	}
}

// checkListening tells of services that master could not listen for.
func (c *checker) checkListening() {
	if err := c.Listen(c.dir); err != nil {
		c.add(c.located(Finding{Severity: Error, File: c.masterFile(), Message: err.Error()}))
	}
}

// overridden is the configuration as the service sees it.
func (c *checker) overridden(s *mastercf.Service) *maincf.Config {
	conf := c.main
	for _, o := range s.Overrides {
		conf = conf.Override(o.Name, o.Value, fmt.Sprintf("%s, line %d", c.masterFile(), s.Line))
	}
	return conf
}

// value is a parameter's value, expanded; what cannot be expanded is reported
// where services are tried.
func (c *checker) value(conf *maincf.Config, name string) string {
	text, err := c.set.Expand(conf, "${"+name+"}")
	if err != nil {
		return ""
	}
	return text
}
