package tables

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/table"
)

// A finder looks for the tables that a configuration names.
type finder struct {
	Knowledge
	dir    string
	main   *maincf.Config
	set    *param.Set // what all programs declare
	common param.Common
	types  map[string]bool
	index  map[string]*Table
	list   []*Table
}

// find reads both files in dir.
func find(dir string, k Knowledge) (*finder, error) {
	f := &finder{Knowledge: k, dir: dir, set: param.NewSet(), types: map[string]bool{}, index: map[string]*Table{}}
	var err error
	if f.main, err = maincf.Load(dir); err != nil {
		return nil, err
	}
	f.main = f.main.Override("config_directory", dir, "the command")
	for _, declare := range k.Parameters {
		declare(f.set)
	}
	common := param.NewSet()
	f.common.Params(common)
	if err := common.Load(f.main); err != nil {
		return nil, err
	}
	services, err := mastercf.Load(filepath.Join(dir, "master.cf"), mastercf.Options{Warn: func(string, ...any) {}})
	if err != nil {
		return nil, err
	}
	for _, t := range k.Types {
		f.types[t.Name] = true
	}
	for i := range services {
		f.service(&services[i])
	}
	f.rest()
	return f, nil
}

// service finds the tables of one entry of master.cf.
func (f *finder) service(s *mastercf.Service) {
	i := slices.IndexFunc(f.Programs, func(p Program) bool { return p.Name == s.Command })
	if i < 0 {
		return
	}
	conf := f.main
	for _, o := range s.Overrides {
		conf = conf.Override(o.Name, o.Value, "master.cf")
	}
	declared := param.NewSet()
	f.Programs[i].Params(declared)
	for _, d := range declared.Declarations() {
		f.parameter(conf, d.Name, s.Key())
	}
	if s.Command == "smtpd" {
		for _, class := range param.Split(f.value(conf, "smtpd_restriction_classes")) {
			f.parameter(conf, class, s.Key())
		}
	}
}

// rest finds what main.cf names and no service uses, newaliases' tables among it.
func (f *finder) rest() {
	f.parameter(f.main, "alias_database", "newaliases")
	for _, name := range f.main.Names() {
		f.parameter(f.main, name, "")
	}
}

// value is the value of a parameter; none where it cannot be expanded, which
// "postern check" tells.
func (f *finder) value(conf *maincf.Config, name string) string {
	text, err := f.set.Expand(conf, "${"+name+"}")
	if err != nil {
		return ""
	}
	return text
}

// parameter finds the tables in the value of a parameter, for a service.
func (f *finder) parameter(conf *maincf.Config, name, service string) {
	if strings.HasPrefix(name, "proxy_read_") || strings.HasPrefix(name, "proxy_write_") {
		return // a list of what may be asked for
	}
	if name == "address_verify_map" || strings.HasSuffix(name, "_cache_map") || strings.HasSuffix(name, "_cache_database") {
		return // what a service remembers
	}
	f.text(f.value(conf, name), name, service)
}

func (f *finder) text(text, name, service string) {
	before := ""
	for _, token := range table.Tokens(text) {
		if inner, err := table.Braced(token); err == nil {
			f.text(inner, name, service)
		} else if spec := strings.TrimLeft(token, "!"); before != "check_policy_service" && f.isTable(spec) {
			f.add(spec, name, service)
		}
		before = token
	}
}

func (f *finder) isTable(spec string) bool {
	typ, rest, ok := strings.Cut(spec, ":")
	switch {
	case !ok || rest == "":
		return false
	case typ == "proxy", typ == "debug":
		return f.isTable(rest)
	case typ == "unix":
		return strings.HasSuffix(rest, ".byname") // else it is a socket
	}
	return f.types[typ]
}

func (f *finder) add(spec, name, service string) {
	t := f.index[spec]
	if t == nil {
		t = &Table{Spec: spec, Services: []string{}}
		f.index[spec] = t
		f.list = append(f.list, t)
	}
	if !slices.Contains(t.Parameters, name) {
		t.Parameters = append(t.Parameters, name)
	}
	if service != "" && !slices.Contains(t.Services, service) {
		t.Services = append(t.Services, service)
	}
	typ, inner, _ := strings.Cut(spec, ":")
	if body, err := table.Braced(inner); err == nil && (typ == "pipemap" || typ == "unionmap") {
		f.text(body, fmt.Sprintf("%s (in %s)", name, typ), service)
	}
}
