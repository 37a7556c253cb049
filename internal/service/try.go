package service

import (
	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/table"
	"postern/internal/table/migration"
)

// A Trial is what trying to start a service has shown.
type Trial struct {
	Notes []string // lines that it would log, with their labels: "warning: …"
	Err   error    // why it would not start; nil if it would

	Mistakes []error // what it would take and cannot use
}

// Try prepares the service s as Main does, but for everything that others
// would notice: no log is opened, no lock taken, nothing served. With open set
// the program opens its tables and keys, too; only programs whose Open changes
// nothing may be tried so. Tables named proxy: are opened in this process.
// main is the configuration, with s.Overrides not yet laid over it. The
// working directory must be the queue directory.
func Try(p Program, types []table.Type, main *maincf.Config, s *mastercf.Service, open bool) Trial {
	log, lines := maillog.Record()
	t := &process{
		program: p, types: types, service: p.New(), log: log, config: main,
		channel: &channel{}, drain: make(chan struct{}),
	}
	err := t.try(s, open)
	var mistakes []error
	if d, ok := t.service.(Doubtful); ok && open && err == nil {
		mistakes = d.Mistakes()
	}
	t.startDrain()
	if c, ok := t.service.(Closer); ok && open && err == nil {
		c.Close()
	}
	if t.env != nil {
		t.env.Tables.Close()
	}
	return Trial{Notes: lines(), Err: err, Mistakes: mistakes}
}

// A Guest is a service that is open in a process that is not its own: a
// command that wants to know what the service would do.
type Guest struct {
	Service Service
	Common  *param.Common
	Notes   func() []string // lines that it has logged so far, with their labels

	process *process
}

// Invite opens a service as Try does and keeps it open. The caller sees to it
// that it finds the sockets and directories it uses.
func Invite(p Program, types []table.Type, main *maincf.Config, s *mastercf.Service) (*Guest, error) {
	log, lines := maillog.Record()
	t := &process{
		program: p, types: types, service: p.New(), log: log, config: main,
		channel: &channel{}, drain: make(chan struct{}),
	}
	if err := t.try(s, true); err != nil {
		return nil, err
	}
	return &Guest{Service: t.service, Common: &t.common, Notes: lines, process: t}, nil
}

// Close ends the service.
func (g *Guest) Close() {
	g.process.startDrain()
	if c, ok := g.Service.(Closer); ok {
		c.Close()
	}
	g.process.env.Tables.Close()
}

func (s *process) try(entry *mastercf.Service, open bool) (err error) {
	args := append([]string{entry.Command, "-n", entry.Name, "-t", entry.Type}, entry.Args...)
	if s.opt, err = parseOptions(args); err != nil {
		return err
	}
	s.opt.limit, s.opt.chroot, s.opt.user = entry.Limit, entry.Chroot, entry.Unprivileged
	for _, o := range entry.Overrides {
		s.config = s.config.Override(o.Name, o.Value, "option -o")
	}
	s.config = s.config.Override("process_name", s.opt.program, "the program").
		Override("service_name", s.opt.name, "option -n")
	set := param.NewSet()
	s.common.Params(set)
	if err := set.Load(s.config); err != nil {
		return err
	}
	if err := s.loadParameters(); err != nil {
		return err
	}
	if err := s.prepare(); err != nil || !open {
		return err
	}
	if err := migration.Apply(s.env.Tables, &s.common, nil); err != nil { // a trial builds nothing
		return err
	}
	s.direct(s.env.Tables)
	return s.service.Open(s.env)
}

// direct opens proxy: tables in this process, for a trial: the service that
// would be asked may not run.
func (s *process) direct(tables *table.Opener) {
	own := table.NewOpener(s.types)
	own.Log, own.DefaultType, own.UTF8, own.ErrorIsFatal = s.log, tables.DefaultType, tables.UTF8, tables.ErrorIsFatal
	own.Setting, own.Redirect, tables.ShareDatabases = tables.Setting, tables.Redirect, false
	tables.Proxy = func(spec string, f table.Flags) (table.Table, error) { return own.With(f).Open(spec) }
}
