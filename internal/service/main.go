package service

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/base/sys"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/proxymap"
	"postern/internal/ipc/reindex"
	"postern/internal/table"
	"postern/internal/table/migration"
)

// ConfigDirectory is where main.cf is when neither -c nor MAIL_CONFIG says.
const ConfigDirectory = "/etc/postfix"

// flushLimit is how long a process that exits waits for its log.
const flushLimit = 2 * time.Second

// errStopped ends start-up without a complaint: master does not want this
// process any more.
var errStopped = errors.New("stopped during start-up")

// A process is one run of Main.
type process struct {
	program Program
	types   []table.Type
	args    []string
	service Service

	opt     *options
	config  *maincf.Config
	common  param.Common
	env     *Env
	log     *maillog.Logger
	channel *channel
	signals chan os.Signal
	drain   chan struct{} // closed when the process must not accept any more
	drained sync.Once     // guards the closing of drain
	owner   *sys.Owner    // who to become; nil: stay
	lock    *os.File
	stress  stress

	stressCommon param.Common // as it is under stress, for a Stressed service
}

// Main runs the program p until master stops it or it has nothing to do, and
// returns the exit status. tables are the lookup table types that it may open;
// args are the command line, the program's name first.
func Main(p Program, tables []table.Type, args []string) int {
	s := &process{
		program: p,
		types:   tables,
		args:    args,
		service: p.New(),
		log:     maillog.New(maillog.NewStream(os.Stderr, maillog.Command, maillog.Text, ""), p.Name),
		channel: &channel{},
		drain:   make(chan struct{}),
	}
	steps := []func() error{
		s.tuneRuntime,
		s.restrictFiles,
		s.readOptions,
		s.watchMaster,
		s.loadConfig,
		s.openLog,
		s.loadParameters,
		s.enterQueueDirectory,
		s.findOwner,
		s.excludeOthers,
		s.open,
		s.enterJail,
		s.dropPrivileges,
		s.serve,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return s.fail(err)
		}
	}
	s.log.Flush(flushLimit)
	return 0
}

func (s *process) fail(err error) int {
	defer s.log.Flush(flushLimit)
	if errors.Is(err, errStopped) {
		return 0
	}
	s.log.Fatalf("%v", err)
	return 1
}

// restrictFiles keeps what the service and its commands create from others.
func (s *process) restrictFiles() error {
	syscall.Umask(0o077)
	return nil
}

// tuneRuntime bounds what a process takes of the machine: dozens of them run
// on it, most of them idle. A message passes through six, so that they keep the
// processors busy together; threads that look for work in each of them cost a
// tenth of the processor time. Where work is to wait for disks, though, a
// thread that waits must not keep the others from their work.
func (s *process) tuneRuntime() error {
	debug.SetGCPercent(200)
	threads := max(1, runtime.NumCPU()/2)
	if s.program.Root {
		threads = max(threads, diskThreads)
	}
	runtime.GOMAXPROCS(threads)
	return nil
}

// diskThreads is how many deliveries to mailboxes may wait for the disk before
// the runtime has to notice that they do.
const diskThreads = 8

func (s *process) readOptions() (err error) {
	s.opt, err = parseOptions(s.args)
	return err
}

// watchMaster listens to master and to signals from here on.
func (s *process) watchMaster() (err error) {
	// Caught, not ignored: what a command is started with must be the default.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	if s.opt.standAlone {
		return nil
	}
	if s.channel, err = openChannel(); err != nil {
		return err
	}
	s.signals = make(chan os.Signal, 2)
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		s.channel.wait()
		s.startDrain()
	}()
	return nil
}

// startDrain makes the process accept no more.
func (s *process) startDrain() { s.drained.Do(func() { close(s.drain) }) }

// loadConfig reads main.cf and lays the options -o over it.
func (s *process) loadConfig() (err error) {
	dir := os.Getenv("MAIL_CONFIG")
	if dir == "" {
		dir = ConfigDirectory
	}
	if s.config, err = maincf.Load(dir); err != nil {
		return err
	}
	s.config = s.config.Override("config_directory", dir, "MAIL_CONFIG")
	for _, text := range s.opt.overrides {
		name, value, _ := maincf.SplitNameValue(text) // parseOptions has looked at it
		s.config = s.config.Override(name, value, "option -o")
	}
	if s.opt.idle != "" {
		s.config = s.config.Override("max_idle", s.opt.idle, "option -i")
	}
	s.config = s.config.Override("process_name", s.opt.program, "the program")
	s.config = s.config.Override("service_name", s.opt.name, "option -n")
	set := param.NewSet()
	s.common.Params(set)
	return set.Load(s.config)
}

// openLog turns from standard error to the configured log.
func (s *process) openLog() error {
	sink, err := maillog.Open(LogConfig(&s.common, "public"))
	if err != nil {
		return err
	}
	if s.opt.stderr {
		sink = maillog.Tee(maillog.NewStream(os.Stderr, maillog.Command, maillog.Text, ""), sink)
	}
	s.log = maillog.New(sink, s.common.SyslogName+"/"+s.opt.program).WithVerbose(s.opt.verbose)
	return nil
}

// LogConfig says where a program that knows c logs. public is the path of the
// directory of public sockets.
func LogConfig(c *param.Common, public string) maillog.Config {
	return maillog.Config{
		File:     c.MaillogFile,
		Socket:   filepath.Join(public, c.PostlogServiceName),
		Facility: c.SyslogFacility,
		Format:   c.MaillogFormat,
		Host:     c.MyHostname,
	}
}

// loadParameters loads what the program declares, twice if it is one that
// behaves otherwise under stress.
func (s *process) loadParameters() error {
	set := param.NewSet()
	s.common.Params(set)
	s.service.Params(set)
	if err := set.Load(s.config); err != nil {
		return err
	}
	if st, ok := s.service.(Stressed); ok {
		set := param.NewSet()
		s.stressCommon.Params(set)
		st.StressParams(set)
		return set.Load(s.config.Override("stress", "yes", "the stress state"))
	}
	return nil
}

// enterQueueDirectory makes the queue directory the working directory. With
// chroot it is named "." from here on, which stays right in the jail.
func (s *process) enterQueueDirectory() error {
	if err := os.Chdir(s.common.QueueDirectory); err != nil {
		return err
	}
	if s.jailed() {
		s.common.QueueDirectory = "."
	}
	return nil
}

// excludeOthers waits until no other process of a single-process service is
// left: after a reload the old one may still have work.
func (s *process) excludeOthers() (err error) {
	if s.opt.standAlone || !(s.program.Single || s.opt.single) {
		return nil
	}
	path := filepath.Join(s.common.ProcessIDDirectory, s.opt.typ+"."+lockName(s.opt.name))
	if s.lock, err = sys.OpenPIDFile(path); err != nil {
		return err
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(stop)
		select {
		case <-s.drain:
		case <-s.signals:
		case <-done:
		}
	}()
	err = sys.WaitLock(stop, func() error { return sys.Flock(s.lock, true) })
	if errors.Is(err, sys.ErrLocked) {
		return errStopped
	}
	if err != nil {
		return err
	}
	return sys.WritePID(s.lock)
}

// lockName makes a service name fit for a file name.
func lockName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == '/' {
			b[i] = '_'
		}
	}
	return string(b)
}

// open lets the program open what it needs.
func (s *process) open() error {
	if err := s.prepare(); err != nil {
		return err
	}
	return s.service.Open(s.env)
}

// underStress returns the parameters that every program reads as they are
// under stress; nil for a program that does not care.
func (s *process) underStress() *param.Common {
	if _, ok := s.service.(Stressed); !ok {
		return nil
	}
	s.stressCommon.QueueDirectory = s.common.QueueDirectory // it may be "." by now
	return &s.stressCommon
}

// reindexer is the program that builds what the others ask for.
const reindexer = "nbdb_reindexd"

// prepare makes the environment of the program.
func (s *process) prepare() error {
	tables := table.NewOpener(s.types)
	tables.Log = s.log
	tables.DefaultType = s.common.DefaultDatabaseType
	tables.UTF8 = s.common.SMTPUTF8Enable
	tables.Stale = func(spec string) {
		s.log.Infof("table %s has changed -- restarting", spec)
		s.startDrain()
	}
	tables.ErrorIsFatal = s.common.DaemonTableOpenErrorIsFatal
	set := param.NewSet()
	s.common.Params(set)
	tables.Setting = set.Settings(s.config)
	var build func(typ, path string) error
	if s.opt.program != reindexer {
		build = reindex.Builder("", s.common.NonBDBServiceName)
	}
	if err := migration.Apply(tables, &s.common, build); err != nil {
		return err
	}
	tables.Proxy = proxymap.Opener(endpoint.New("", "private", s.common.ProxymapServiceName, proxymap.Protocol,
		endpoint.Times{Timeout: s.common.IPCTimeout, Idle: s.common.IPCIdle}))
	// Who has removed proxymap from master.cf gets his databases all the same.
	_, missing := os.Stat(filepath.Join("private", s.common.ProxymapServiceName))
	tables.ShareDatabases = missing == nil
	tables.ProxyCache = proxymap.CacheOpener(endpoint.New("", "private", s.common.ProxywriteServiceName, proxymap.Protocol,
		endpoint.Times{Timeout: s.common.IPCTimeout, Idle: s.common.IPCIdle}))
	limit := s.opt.limit
	if s.opt.unlimited {
		limit = 0
	}
	if s.program.Unlimited && limit != 0 {
		return fmt.Errorf("service %s requires a process limit of 0", s.opt.name)
	}
	s.env = &Env{
		Program: s.opt.program,
		Name:    s.opt.name,
		Type:    s.opt.typ,
		Args:    s.opt.args,
		Config:  s.config,
		Common:  &s.common,
		Log:     s.log,
		Tables:  tables,
		Limit:   s.program.sessions(limit),
		Verbose: s.opt.verbose,
		Stress:  s.stress.on,

		StressCommon: s.underStress(),

		Draining:   s.drain,
		StandAlone: s.opt.standAlone,
		Privileged: privileged(),
		Chroot:     s.jailed(),
	}
	return nil
}
