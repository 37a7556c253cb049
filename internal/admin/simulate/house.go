package simulate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/endpoint"
	"postern/internal/ipc/rewrite"
	"postern/internal/ipc/verify"
	"postern/internal/mail/envelope"
	"postern/internal/service"
)

// A house is the three services in this process, around a queue directory of
// their own.
type house struct {
	Knowledge
	dir      string // the queue directory
	entry    *mastercf.Service
	services []mastercf.Service
	main     *maincf.Config
	common   param.Common

	filterNexthop string

	smtpd, cleanup, rewrite *service.Guest
	local                   map[string]*service.Guest // by the name in master.cf; nil: cannot be opened
	guests                  []*service.Guest          // all of them
	router                  *rewrite.Client
	real                    *endpoint.Endpoint // of the verify service of the system, for what it knows

	mu        sync.Mutex
	rewriting []Rewriting
	verified  []Verified
	problems  []string
	ctx       context.Context
	stop      context.CancelFunc
	listeners []net.Listener
}

// silent are settings that would have others see the simulation: cleanup must
// not ask milters of its own.
var silent = []string{"non_smtpd_milters"}

func newHouse(k Knowledge, config, name string) (*house, error) {
	h := &house{Knowledge: k}
	h.ctx, h.stop = context.WithCancel(context.Background())
	if err := h.open(config, name); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// open does all that newHouse is for; what it has opened when it fails is for
// close.
func (h *house) open(config, name string) (err error) {
	if err := h.load(config, name); err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp("", "postern-simulate-"); err != nil {
		return err
	}
	if err := h.furnish(); err != nil {
		return err
	}
	h.main = h.main.Override("queue_directory", h.dir, "the simulation")
	for _, name := range silent {
		h.main = h.main.Override(name, "", "the simulation")
	}
	// What the verify service does not know now it will not know in a moment.
	h.main = h.main.Override("address_verify_poll_count", "1", "the simulation")
	if err := os.Chdir(h.dir); err != nil {
		return err
	}
	return h.invite()
}

// load reads the configuration and finds the service.
func (h *house) load(config, name string) error {
	var err error
	if h.main, err = maincf.Load(config); err != nil {
		return err
	}
	h.main = h.main.Override("config_directory", config, "the command")
	set := param.NewSet()
	h.common.Params(set)
	set.Str(&h.filterNexthop, "default_filter_nexthop", "")
	if err := set.Load(h.main); err != nil {
		return err
	}
	file := filepath.Join(config, "master.cf")
	if h.services, err = mastercf.Load(file, mastercf.Options{DefaultLimit: h.common.DefaultProcessLimit}); err != nil {
		return err
	}
	if h.entry = choose(h.services, name); h.entry != nil {
		return nil
	}
	if name == "" {
		return fmt.Errorf("%s: no service runs smtpd", file)
	}
	return fmt.Errorf("%s: no service called %s runs smtpd", file, name)
}

// choose returns the service called name that runs smtpd. Without a name it is
// the one that mail from elsewhere comes to: on port 25, or behind postscreen,
// or else the first; nil when there is none.
func choose(services []mastercf.Service, name string) *mastercf.Service {
	var first, behind *mastercf.Service
	for i := range services {
		s := &services[i]
		if s.Command != "smtpd" || s.Type == "unix" {
			continue
		}
		port := s.Name[strings.LastIndexByte(s.Name, ':')+1:]
		switch {
		case name != "" && s.Name == name, name == "" && s.Type == "inet" && (port == "smtp" || port == "25"):
			return s
		case name != "":
		case s.Type == "pass" && behind == nil:
			behind = s
		case first == nil:
			first = s
		}
	}
	if behind != nil {
		return behind
	}
	return first
}

// furnish makes the directories that the services use. Sockets in the private
// directory of the real queue that are not ours (policy servers, SASL, tables)
// are reached through links.
func (h *house) furnish() error {
	for _, name := range []string{"incoming", "active", "deferred", "hold", "corrupt", "spare", "maildrop", "bounce", "defer", "trace", "flush", "saved", "pid", "private", "public"} {
		if err := os.Mkdir(filepath.Join(h.dir, name), 0o700); err != nil {
			return err
		}
	}
	real := filepath.Join(h.common.QueueDirectory, "private")
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil // the system is not running, or this user may not look
	}
	for _, e := range entries {
		if h.ours(e.Name()) {
			continue
		}
		if err := os.Symlink(filepath.Join(real, e.Name()), filepath.Join(h.dir, "private", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// ours says whether a socket is that of a service which could send something
// or remember something.
func (h *house) ours(name string) bool {
	for i := range h.services {
		if s := &h.services[i]; s.Name == name && s.Command != "proxymap" && s.Command != "spawn" {
			return slices.ContainsFunc(h.Programs, func(p service.Program) bool { return p.Name == s.Command })
		}
	}
	return false
}

// invite opens the services and lets them answer one another.
func (h *house) invite() (err error) {
	if h.smtpd, err = h.guest("smtpd", h.entry); err != nil {
		return err
	}
	common := h.smtpd.Common
	if h.rewrite, err = h.guest("trivial-rewrite", h.named(common.RewriteServiceName, "trivial-rewrite")); err != nil {
		return err
	}
	if h.cleanup, err = h.guest("cleanup", h.named(common.CleanupServiceName, "cleanup")); err != nil {
		return err
	}
	h.Watch(h.cleanup.Service, func(r Rewriting) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.rewriting = append(h.rewriting, r)
	})
	h.real = endpoint.New(h.common.QueueDirectory, "private", common.VerifyServiceName, verify.Protocol,
		endpoint.Times{Timeout: verifyTimeout, Idle: verifyTimeout})
	h.router = rewrite.New(endpoint.New("", "private", common.RewriteServiceName, rewrite.Protocol,
		endpoint.Times{Timeout: timeout, Idle: timeout}))
	for path, serve := range map[string]func(context.Context, net.Conn) error{
		"private/" + common.RewriteServiceName: h.rewrite.Service.Serve,
		"public/" + common.CleanupServiceName:  h.cleanup.Service.Serve,
		"private/" + common.VerifyServiceName:  h.verify,
	} {
		if err := h.listen(path, serve); err != nil {
			return err
		}
	}
	return nil
}

// guest opens a service.
func (h *house) guest(program string, entry *mastercf.Service) (*service.Guest, error) {
	n := slices.IndexFunc(h.Programs, func(p service.Program) bool { return p.Name == program })
	if n < 0 {
		return nil, fmt.Errorf("no program %s", program)
	}
	g, err := service.Invite(h.Programs[n], h.Tables, h.main, entry)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", entry.Key(), err)
	}
	h.guests = append(h.guests, g)
	return g, nil
}

// named returns the entry of a service, or one with nothing special about it.
func (h *house) named(name, program string) *mastercf.Service {
	for i := range h.services {
		if s := &h.services[i]; s.Name == name && s.Command == program {
			return s
		}
	}
	return &mastercf.Service{Name: name, Type: "unix", Command: program}
}

func (h *house) listen(path string, serve func(context.Context, net.Conn) error) error {
	os.Remove(path) // a link to the real one, where master.cf does not name the service
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	h.listeners = append(h.listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(h.ctx, c)
			}()
		}
	}()
	return nil
}

// verifyTimeout is for the verify service of the system, which need not run.
const verifyTimeout = 5 * time.Second

// states name what the verify service knows of an address.
var states = map[int]string{verify.OK: "deliverable", verify.Defer: "deferred", verify.Bounce: "undeliverable", verify.Todo: Unknown}

// verify stands for the verify service: it tells what the real one has in its
// cache, and no address is probed.
func (h *house) verify(ctx context.Context, c net.Conn) error {
	conn := attr.NewConn(c, timeout)
	hello := attr.Protocol(verify.Protocol)
	if err := conn.Send(&hello); err != nil {
		return err
	}
	for {
		var req verify.Request
		if err := conn.Recv(&req); err != nil {
			return err
		}
		answer := h.known(ctx, req.Address)
		if err := conn.Send(&answer); err != nil {
			return err
		}
	}
}

// known is what the verify service of the system has in its cache.
func (h *house) known(ctx context.Context, addr string) verify.Answer {
	answer, err := verify.Peek(ctx, h.real, addr)
	v := Verified{Address: addr, Status: states[answer.Status], Reason: answer.Reason}
	switch {
	case err != nil:
		v.Status, v.Reason = Unknown, "the verify service cannot be asked: "+err.Error()
	case v.Status == Unknown:
		v.Reason = "it would be probed"
	}
	if v.Status == Unknown {
		answer = verify.Answer{Status: verify.Todo, Reason: "Address verification in progress"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.verified, v) {
		h.verified = append(h.verified, v)
	}
	return answer
}

// maxRecipients bounds what is shown of a message.
const maxRecipients = 10_000

// message reads the queue file that was made; nil without one.
func (h *house) message(ctx context.Context) (*Message, error) {
	for _, queue := range []string{"incoming", "hold", "active"} {
		var found string
		err := filepath.WalkDir(filepath.Join(h.dir, queue), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, ierr := d.Info(); ierr == nil && info.Mode().Perm()&0o100 != 0 {
					found = path
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if found != "" {
			return h.read(ctx, found, queue)
		}
	}
	return nil, nil
}

func (h *house) read(ctx context.Context, path, queue string) (*Message, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := envelope.Read(f, maxRecipients)
	if err != nil {
		return nil, errors.Join(errors.New("the queue file cannot be read"), err)
	}
	m := &Message{Sender: e.Sender, Queue: queue, Filter: e.Filter, Redirect: e.Redirect, Recipients: []Recipient{}, Rewriting: h.rewriting}
	m.FilterHop = h.filterHop(e.Filter)
	for _, r := range e.Recipients {
		if e.Redirect != "" { // Postfix: it takes the place of all recipients
			m.Recipients = append(m.Recipients, h.resolve(ctx, e.Sender, h.complete(ctx, e.Redirect), ""))
			break
		}
		m.Recipients = append(m.Recipients, h.resolve(ctx, e.Sender, r.Address, r.Orig))
	}
	h.follow(ctx, e.Sender, m.Recipients)
	return m, nil
}

// filterHop takes "transport:nexthop" apart, as the queue manager does; nil
// without a filter.
func (h *house) filterHop(filter string) *Hop {
	if filter == "" {
		return nil
	}
	transport, nexthop, _ := strings.Cut(filter, ":")
	if nexthop == "" {
		nexthop = h.filterNexthop
	}
	return &Hop{Transport: transport, Nexthop: nexthop}
}

func (h *house) close() {
	h.stop()
	for _, l := range h.listeners {
		l.Close()
	}
	for _, g := range h.guests {
		g.Close()
	}
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
}
