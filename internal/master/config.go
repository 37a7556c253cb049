package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postern/internal/base/netaddr"
	"postern/internal/base/sys"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// A configuration is both files, read and checked.
type configuration struct {
	dir      string
	main     *maincf.Config
	common   param.Common
	services []mastercf.Service
	addrs    map[string][]address // where each service listens, by its key
	owner    *sys.Owner           // who owns the sockets; nil: whoever we are
	notes    []string             // warnings about the files

	disable   string // master_service_disable
	chroot    string // what "-" means in the chroot column
	portNames string // known_tcp_ports

	autoRebuild bool // auto_rebuild_tables
}

// load reads dir's main.cf and master.cf. old, which may be nil, is the
// configuration in effect: what cannot change while running is kept.
func load(dir string, old *configuration) (*configuration, error) {
	c := &configuration{dir: dir, addrs: make(map[string][]address)}
	var err error
	if c.main, err = maincf.Load(dir); err != nil {
		return nil, err
	}
	c.main = c.main.Override("config_directory", dir, "option -c")
	c.main = c.main.Override("process_name", "master", "the program")
	set := param.NewSet()
	c.common.Params(set)
	c.params(set)
	if err := set.Load(c.main); err != nil {
		return nil, err
	}
	if old != nil {
		c.keep(old)
	}
	if c.chroot, err = set.Expand(c.main, "${{$compatibility_level} <level {1} ? {y}:{n}}"); err != nil {
		return nil, err
	}
	if err := c.findOwner(); err != nil {
		return nil, err
	}
	c.services, err = mastercf.Load(filepath.Join(dir, "master.cf"), mastercf.Options{
		DefaultLimit:  c.common.DefaultProcessLimit,
		ChrootDefault: c.chroot == "y",
		Disable:       c.disable,
		Warn:          c.note,
	})
	if err != nil {
		return nil, err
	}
	return c, c.resolve()
}

// Check says why master could not run the configuration in dir; nil if it could.
func Check(dir string) error {
	_, err := load(dir, nil)
	return err
}

// Params names the main.cf parameters that master reads, besides those of
// every program.
func Params(s *param.Set) { new(configuration).params(s) }

func (c *configuration) params(s *param.Set) {
	s.Str(&c.disable, "master_service_disable", "")
	s.Bool(&c.autoRebuild, "auto_rebuild_tables", false)
	s.Str(&c.portNames, "known_tcp_ports", "lmtp=24, smtp=25, smtps=submissions=465, submission=587")
}

func (c *configuration) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// warnings are those about the files and those of the caller's.
func (c *configuration) warnings(more Warnings) []string {
	list := c.main.Warnings()
	if more == nil {
		return list
	}
	var texts []string
	for i := range c.services {
		texts = append(texts, c.services[i].Args...)
	}
	known := make(map[string]bool)
	add := func(conf *maincf.Config) {
		for _, w := range more(conf, texts) {
			if !known[w] {
				known[w] = true
				list = append(list, w)
			}
		}
	}
	add(c.main)
	for i := range c.services {
		if s := &c.services[i]; len(s.Overrides) > 0 {
			add(c.seenBy(s))
		}
	}
	return list
}

// seenBy is main.cf with what master.cf says for a service.
func (c *configuration) seenBy(s *mastercf.Service) *maincf.Config {
	conf := c.main
	for _, o := range s.Overrides {
		conf = conf.Override(o.Name, o.Value, fmt.Sprintf("%s, line %d", filepath.Join(c.dir, "master.cf"), s.Line))
	}
	return conf
}

// usable says whether the services can work with their settings: else their
// processes would end at once, and mail would stop.
func (c *configuration) usable(problems Problems) error {
	if problems == nil {
		return nil
	}
	for i := range c.services {
		s := &c.services[i]
		conf := c.seenBy(s).Override("process_name", s.Command, "the program").Override("service_name", s.Name, "the program")
		if list := problems(conf, s); len(list) > 0 {
			return fmt.Errorf("service %s, %s, line %d: %w", s.Key(), filepath.Join(c.dir, "master.cf"), s.Line, errors.Join(list...))
		}
	}
	return nil
}

// keep leaves in effect what needs a new master.
func (c *configuration) keep(old *configuration) {
	if c.common.QueueDirectory != old.common.QueueDirectory {
		c.note("ignoring queue_directory parameter value change: old value: %q, new value: %q: to change queue_directory, stop and start Postfix", old.common.QueueDirectory, c.common.QueueDirectory)
		c.common.QueueDirectory = old.common.QueueDirectory
	}
}

func (c *configuration) findOwner() error {
	if os.Geteuid() != 0 {
		return nil
	}
	o, err := sys.LookupOwner(c.common.MailOwner)
	if err != nil {
		return fmt.Errorf("parameter mail_owner: %w", err)
	}
	if o.UID == 0 {
		return fmt.Errorf("parameter mail_owner: user %s has uid 0", c.common.MailOwner)
	}
	c.owner = &o
	return nil
}

// An address is one socket or FIFO. Two are the same when they are equal.
type address struct {
	typ  string
	path string // below the queue directory
	ip   string // with zone
	port int
}

// String is for messages.
func (a address) String() string {
	if a.path != "" {
		return a.path
	}
	return net.JoinHostPort(a.ip, strconv.Itoa(a.port))
}

// resolve finds out where every service listens.
func (c *configuration) resolve() error {
	families, err := netaddr.ParseFamilies(c.common.InetProtocols)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, "master.cf")
	taken := make(map[string]int)
	for i := range c.services {
		s := &c.services[i]
		var list []address
		if s.Type == "inet" {
			list, err = c.inet(s, families)
		} else {
			list = []address{{typ: s.Type, path: filepath.Join(class(s), s.Name)}}
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", path, s.Line, err)
		}
		for _, a := range list {
			if line := taken[a.String()]; line != 0 && (a.path != "" || a.port != 0) {
				return fmt.Errorf("%s: line %d: service %q: %v is the address of line %d already", path, s.Line, s.Name, a, line)
			}
			taken[a.String()] = s.Line
		}
		c.addrs[s.Key()] = list
	}
	return nil
}

// class is the directory of the service's socket.
func class(s *mastercf.Service) string {
	if s.Private {
		return "private"
	}
	return "public"
}

func (c *configuration) inet(s *mastercf.Service, f netaddr.Families) ([]address, error) {
	if s.Private {
		return nil, fmt.Errorf("inet service cannot be private")
	}
	host, portName, err := splitHostPort(s.Name)
	if err != nil {
		return nil, err
	}
	port, err := c.port(portName)
	if err != nil {
		return nil, err
	}
	ips, err := c.hosts(host, f)
	if err != nil {
		return nil, err
	}
	var list []address
	for _, ip := range ips {
		list = append(list, address{typ: "inet", ip: ip, port: port})
	}
	return list, nil
}

// splitHostPort takes "smtp", "host:smtp" or "[::1]:25" apart.
func splitHostPort(name string) (host, port string, err error) {
	if rest, ok := strings.CutPrefix(name, "["); ok {
		host, port, ok = strings.Cut(rest, "]:")
		if !ok || host == "" || port == "" {
			return "", "", fmt.Errorf("bad service name %.100q: want port, host:port or [address]:port", name)
		}
		return host, port, nil
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		host, port = name[:i], name[i+1:]
		if port == "" {
			return "", "", fmt.Errorf("bad service name %.100q: want port, host:port or [address]:port", name)
		}
		return host, port, nil
	}
	return "", name, nil
}

// port is a number, one of known_tcp_ports, or an entry of services(5).
func (c *configuration) port(name string) (int, error) {
	for _, group := range param.Split(c.portNames) {
		names := strings.Split(group, "=")
		for _, n := range names[:len(names)-1] {
			if strings.TrimSpace(n) == name {
				name = strings.TrimSpace(names[len(names)-1])
			}
		}
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n > 65535 {
			return 0, fmt.Errorf("bad port number: %.100q", name)
		}
		return n, nil
	}
	n, err := net.LookupPort("tcp", name)
	if err != nil {
		return 0, fmt.Errorf("unknown service: %.100s/tcp", name)
	}
	return n, nil
}

// hosts returns the addresses of an inet service: those of its host, or those
// of inet_interfaces.
func (c *configuration) hosts(host string, f netaddr.Families) ([]string, error) {
	var list []string
	if host != "" {
		addrs, err := netaddr.ParseHosts(context.Background(), "master.cf", host, f, nil)
		if err != nil || len(addrs) == 0 {
			return nil, fmt.Errorf("bad hostname or network address: %.100s", host)
		}
		for _, a := range addrs {
			list = append(list, a.String())
		}
		return list, nil
	}
	in, err := netaddr.ParseInterfaces(context.Background(), c.common.InetInterfaces, f, nil)
	if err != nil {
		return nil, err
	}
	if in.All {
		if f.IPv4 {
			list = append(list, "0.0.0.0")
		}
		if f.IPv6 {
			list = append(list, "::")
		}
		return list, nil
	}
	for _, a := range in.Addrs {
		list = append(list, a.String())
	}
	return list, nil
}
