// Package service is how a program becomes a service of master: it reads the
// options and parameters, opens the log, lets the program open what needs
// privileges, gives them up, and serves the connections that arrive on the
// descriptors inherited from master.
//
// One process serves all clients of a master.cf entry; each connection is
// served in a goroutine. Main is the whole course of such a process, as a list
// of steps.
package service

import (
	"context"
	"net"
	"time"

	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/ipc/endpoint"
	"postern/internal/table"
)

// A Service is what a program does.
type Service interface {
	// Params names the main.cf parameters that the program reads, besides
	// those of param.Common.
	Params(s *param.Set)
	// Open runs after the parameters are loaded and before privileges are
	// given up: it opens keys, tables and whatever else the jail hides.
	Open(e *Env) error
	// Serve serves one connection and returns; the caller closes c. An error
	// is logged as a warning. ctx ends when the process must stop now.
	Serve(ctx context.Context, c net.Conn) error
}

// A Runner has a background loop for the life of the process. Run returns soon
// after ctx ends, which happens at the latest when the process drains. While
// Run goes on the process does not exit for idleness; an error ends the process.
type Runner interface {
	Run(ctx context.Context) error
}

// A Triggered service gets single requests of a few octets instead of
// connections: 'W' is master's wakeup.
type Triggered interface {
	Trigger(ctx context.Context, request []byte)
}

// A Stressed service has a second set of parameters, which is loaded with
// stress=yes and used while Env.Stress says so. It names every parameter of
// the first set, bound to other fields.
type Stressed interface {
	StressParams(s *param.Set)
}

// A Closer writes what it keeps and gives it up. Close runs when the sessions
// have ended, before the process exits.
type Closer interface {
	Close() error
}

// A Doubtful service knows, once it is open, of settings that it has taken and
// cannot use: what they cost is told each time. A trial asks for them.
type Doubtful interface {
	// Mistakes begin each with the name of the parameter and a colon.
	Mistakes() []error
}

// Packets is a service of type unix-dgram; b is valid during the call.
type Packets interface {
	Packet(ctx context.Context, b []byte)
}

// Env is what a service knows of the process it runs in.
type Env struct {
	Program string   // "smtpd"
	Name    string   // name of the master.cf entry: "smtp", "127.0.0.1:10025"
	Type    string   // "inet", "unix", "unix-dgram", "fifo", "pass"
	Args    []string // arguments of the command that are not options
	Config  *maincf.Config
	Common  *param.Common
	Log     *maillog.Logger
	Tables  *table.Opener
	Limit   int // sessions at once; 0: no limit
	Verbose int // number of -v

	Stress func() bool // all sessions are taken, or were until a while ago

	// StressCommon is Common as it is under stress, for a Stressed service.
	StressCommon *param.Common

	Draining   <-chan struct{} // closed when no more connections are accepted
	StandAlone bool            // -S: the one connection is standard input and output
	Privileged bool            // the process was started as root
	Chroot     bool            // the queue directory is going to be the root
}

// Endpoint names another service, class is "public" or "private". The path is
// relative to the queue directory, which is the working directory, so that it
// means the same after a chroot.
func (e *Env) Endpoint(class, name, protocol string) *endpoint.Endpoint {
	return endpoint.New("", class, name, protocol, endpoint.Times{
		Timeout: e.Common.IPCTimeout,
		Idle:    e.Common.IPCIdle,
	})
}

// A Program is one daemon program.
type Program struct {
	Name string
	New  func() Service

	Root      bool // keeps root to act as others: local, pipe, virtual, spawn
	Single    bool // one process at a time, whatever master.cf says; a second one waits
	Shared    bool // the process limit counts processes, so it does not limit connections: rewrite, proxymap
	Unlimited bool // the process limit must be 0: cleanup, bounce, flush
	Permanent bool // never exits for idleness: qmgr
}

// sessions returns the number of connections served at once, 0 for no limit.
func (p *Program) sessions(limit int) int {
	if p.Single || p.Shared || p.Unlimited {
		return 0
	}
	return limit
}

// stressPeriod is how long the stress state lasts after all sessions were
// taken. Postfix: 1000 s.
const stressPeriod = 1000 * time.Second
