// Package diffconfig is the command "postern diff-config": what changes for
// each service between two configuration directories.
//
// It compares values in effect, with everything expanded and with the options
// of master.cf laid over main.cf, so that a setting moved from one file to the
// other, or written in another way, is no change.
package diffconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

const usage = "usage: postern diff-config [--json] old-directory new-directory"

// Exit statuses, those of diff(1).
const (
	same      = 0
	different = 1
	trouble   = 2
)

// A Reader is a program that reads parameters.
type Reader struct {
	Name   string
	Params func(*param.Set)
}

// A Change is one difference.
type Change struct {
	// Kind is "service added", "service removed", "entry" (a column of
	// master.cf) or "parameter".
	Kind     string   `json:"kind"`
	Name     string   `json:"name"` // of the service, the column or the parameter
	Old      string   `json:"old"`
	New      string   `json:"new"`
	Services []string `json:"services,omitempty"` // "smtp/inet"; none: no service reads the parameter
	All      bool     `json:"all,omitempty"`      // every service of both directories
}

// Main runs the command with args, its name first; readers are the programs
// and commands. The status is 1 if there are differences, 2 for an error.
func Main(args []string, stdout, stderr io.Writer, readers []Reader) int {
	asJSON, wrong := false, false
	var dirs []string
	for _, arg := range args[1:] {
		switch {
		case arg == "--json":
			asJSON = true
		case strings.HasPrefix(arg, "-"):
			wrong = true
		default:
			dirs = append(dirs, arg)
		}
	}
	if wrong || len(dirs) != 2 {
		fmt.Fprintf(stderr, "postern diff-config: %s\n", usage)
		return command.Usage
	}
	changes, err := Compare(dirs[0], dirs[1], readers)
	if err == nil && asJSON {
		if changes == nil {
			changes = []Change{}
		}
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(changes)
	} else if err == nil {
		err = show(stdout, changes)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "postern diff-config: %v\n", err)
		return trouble
	case len(changes) > 0:
		return different
	}
	return same
}

func show(w io.Writer, changes []Change) error {
	for _, c := range changes {
		var err error
		switch c.Kind {
		case "service added":
			_, err = fmt.Fprintf(w, "service %s: added: %s\n", c.Name, c.New)
		case "service removed":
			_, err = fmt.Fprintf(w, "service %s: removed: %s\n", c.Name, c.Old)
		case "entry":
			_, err = fmt.Fprintf(w, "service %s: %s: %s -> %s\n", c.Services[0], c.Name, shown(c.Old), shown(c.New))
		default:
			where := strings.Join(c.Services, ", ")
			if c.All {
				where = "all services"
			} else if where == "" {
				where = "no service"
			}
			_, err = fmt.Fprintf(w, "%s: %s -> %s\n    in %s\n", c.Name, shown(c.Old), shown(c.New), where)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func shown(value string) string {
	if value == "" {
		return "(empty)"
	}
	return value
}

// A config is one directory.
type config struct {
	main     *maincf.Config
	services map[string]mastercf.Service
	all      *param.Set // what anybody declares
}

// volatile are the parameters that differ for reasons of their own.
var volatile = [...]string{"config_directory", "process_name", "process_id", "service_name"}

// Compare returns what changes from the directory before to the directory
// after. Both are taken to stand in the same place: a value that names
// $config_directory does not differ for that.
func Compare(before, after string, readers []Reader) ([]Change, error) {
	place, err := filepath.Abs(after)
	if err != nil {
		return nil, err
	}
	a, err := load(before, place, readers)
	if err != nil {
		return nil, err
	}
	b, err := load(after, place, readers)
	if err != nil {
		return nil, err
	}
	d := &difference{old: a, new: b, index: make(map[string]int), compared: make(map[string]bool)}
	if err := d.services(readers); err != nil {
		return nil, err
	}
	if err := d.others(); err != nil {
		return nil, err
	}
	return d.sorted(), nil
}

func load(dir, place string, readers []Reader) (*config, error) {
	main, err := maincf.Load(dir)
	if err != nil {
		return nil, err
	}
	c := &config{main: main.Override("config_directory", place, "the command"), services: make(map[string]mastercf.Service), all: param.NewSet()}
	for _, r := range readers {
		r.Params(c.all)
	}
	disable, err := c.all.Expand(c.main, "${master_service_disable}")
	if err != nil {
		return nil, fmt.Errorf("%s: parameter master_service_disable: %w", main.Path(), err)
	}
	chroot, err := c.all.Expand(c.main, "${{$compatibility_level} <level {1} ? {y}:{n}}")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", main.Path(), err)
	}
	list, err := mastercf.Load(filepath.Join(dir, "master.cf"), mastercf.Options{Disable: disable, ChrootDefault: chroot == "y"})
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		c.services[s.Key()] = s
	}
	return c, nil
}

// value is a parameter as the service s sees it; a nil s is nobody.
func (c *config) value(s *mastercf.Service, name string, kind param.Kind) (string, error) {
	conf := c.main
	if s != nil {
		for _, o := range s.Overrides {
			conf = conf.Override(o.Name, o.Value, "option -o")
		}
		conf = conf.Override("service_name", s.Name, "the service").Override("process_name", s.Command, "the program")
	}
	text, err := "", error(nil)
	if kind == param.Raw {
		var ok bool
		if text, _, ok = conf.Lookup(name); !ok {
			for _, d := range c.all.Declarations() {
				if d.Name == name {
					text = d.Default
				}
			}
		}
	} else {
		text, err = c.all.Expand(conf, "${"+name+"}")
	}
	if err != nil {
		return "", fmt.Errorf("%s: parameter %s: %w", c.main.Path(), name, err)
	}
	return strings.Join(strings.Fields(text), " "), nil
}

// A difference collects changes; the same one of several services is one.
type difference struct {
	old, new *config
	changes  []Change
	index    map[string]int
	compared map[string]bool // parameters that some service reads
	common   int             // services that both have
}

func (d *difference) add(c Change) {
	key := strings.Join([]string{c.Kind, c.Name, c.Old, c.New}, "\x00")
	if i, ok := d.index[key]; ok && c.Kind == "parameter" {
		d.changes[i].Services = append(d.changes[i].Services, c.Services...)
		return
	}
	d.index[key] = len(d.changes)
	d.changes = append(d.changes, c)
}

// services compares what both have, and names what only one has.
func (d *difference) services(readers []Reader) error {
	for _, key := range keys(d.old.services, d.new.services) {
		x, inOld := d.old.services[key]
		y, inNew := d.new.services[key]
		switch {
		case !inOld:
			d.add(Change{Kind: "service added", Name: key, New: entry(&y)})
		case !inNew:
			d.add(Change{Kind: "service removed", Name: key, Old: entry(&x)})
		default:
			d.common++
			d.columns(key, &x, &y)
			if err := d.parameters(key, &x, &y, readers); err != nil {
				return err
			}
		}
	}
	return nil
}

func keys(a, b map[string]mastercf.Service) []string {
	var list []string
	for k := range a {
		list = append(list, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// entry is a service as a line of master.cf.
func entry(s *mastercf.Service) string {
	return strings.Join(append(slices.Clone(s.Fields[:]), s.RawArgs...), " ")
}

// columns compares what master does with a service.
func (d *difference) columns(key string, x, y *mastercf.Service) {
	for _, c := range []struct{ name, old, new string }{
		{"private", fmt.Sprint(x.Private), fmt.Sprint(y.Private)},
		{"unprivileged", fmt.Sprint(x.Unprivileged), fmt.Sprint(y.Unprivileged)},
		{"chroot", fmt.Sprint(x.Chroot), fmt.Sprint(y.Chroot)},
		{"wakeup time", fmt.Sprint(x.Wakeup, x.WakeupBeforeUse), fmt.Sprint(y.Wakeup, y.WakeupBeforeUse)},
		{"process limit", x.Fields[6], y.Fields[6]},
		{"command", x.Command, y.Command},
		{"arguments", arguments(x), arguments(y)},
	} {
		if c.old != c.new {
			d.add(Change{Kind: "entry", Name: c.name, Old: c.old, New: c.new, Services: []string{key}})
		}
	}
}

// arguments are those that set no parameter.
func arguments(s *mastercf.Service) string {
	var list []string
	for i := 0; i < len(s.Args); i++ {
		switch arg := s.Args[i]; {
		case arg == "-o":
			i++
		case strings.HasPrefix(arg, "-o"):
		default:
			list = append(list, arg)
		}
	}
	return strings.Join(list, " ")
}

// parameters compares what the program of a service reads.
func (d *difference) parameters(key string, x, y *mastercf.Service, readers []Reader) error {
	set := param.NewSet()
	new(param.Common).Params(set)
	for _, r := range readers {
		if r.Name == y.Command {
			r.Params(set)
		}
	}
	for _, decl := range set.Declarations() {
		if slices.Contains(volatile[:], decl.Name) {
			continue
		}
		d.compared[decl.Name] = true
		a, err := d.old.value(x, decl.Name, decl.Kind)
		if err != nil {
			return err
		}
		b, err := d.new.value(y, decl.Name, decl.Kind)
		if err != nil {
			return err
		}
		if a != b {
			d.add(Change{Kind: "parameter", Name: decl.Name, Old: a, New: b, Services: []string{key}})
		}
	}
	return nil
}

// others compares the settings of main.cf that no service reads: those of
// commands, and those that only other settings refer to.
func (d *difference) others() error {
	known := d.compared
	for _, name := range append(d.old.main.Names(), d.new.main.Names()...) {
		if known[name] || slices.Contains(volatile[:], name) {
			continue
		}
		known[name] = true
		a, err := d.old.value(nil, name, param.Str)
		if err != nil {
			return err
		}
		b, err := d.new.value(nil, name, param.Str)
		if err != nil {
			return err
		}
		if a != b {
			d.add(Change{Kind: "parameter", Name: name, Old: a, New: b})
		}
	}
	return nil
}

// sorted returns the changes: services, their entries, parameters.
func (d *difference) sorted() []Change {
	order := []string{"service added", "service removed", "entry", "parameter"}
	for i := range d.changes {
		c := &d.changes[i]
		c.All = c.Kind == "parameter" && len(c.Services) == d.common && d.common > 1
	}
	slices.SortStableFunc(d.changes, func(a, b Change) int {
		if x, y := slices.Index(order, a.Kind), slices.Index(order, b.Kind); x != y {
			return x - y
		}
		return strings.Compare(a.Name, b.Name)
	})
	return d.changes
}
