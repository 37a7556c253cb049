// Package explain is the command "postern explain": what a main.cf parameter
// means, by the reference in docs and by what the programs themselves declare.
//
// Kind, default and the programs that read a parameter come from the
// declarations; the reference holds only what a declaration cannot say.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

const usage = "usage: postern explain [-c directory] [--json] name...; postern explain --list"

// A Program is one that reads parameters.
type Program struct {
	Name   string
	Params func(*param.Set)
}

// Knowledge is what the command is told.
type Knowledge struct {
	Programs   []Program
	Parameters map[string]string // names and defaults of Postfix
	Refused    []string          // parameters that are read, and refused when they ask for something

	// Restrictions and Tables are the other names that the reference has.
	Restrictions []Other
	Tables       []Other
	Reference    fs.FS // parameters/*.md, restrictions.md, tables.md
}

// An Other is a name that is no parameter.
type Other struct {
	Name     string
	Argument string // what follows it, in words
	Built    bool
}

// A Parameter is all that is known about one, as --json prints it. A
// restriction or a table type has fewer of the fields.
type Parameter struct {
	Name        string     `json:"name"`
	Sort        string     `json:"sort"` // "parameter", "restriction", "table type"
	Argument    string     `json:"argument,omitempty"`
	Kind        string     `json:"kind,omitempty"`
	Unit        string     `json:"unit,omitempty"`
	Default     string     `json:"default"` // of a parameter
	Programs    []string   `json:"programs"`
	Refused     bool       `json:"refused,omitempty"` // a value that asks for it is refused at start
	Implemented bool       `json:"implemented"`
	Since       string     `json:"since,omitempty"`
	Value       *string    `json:"value,omitempty"` // what main.cf sets
	Where       string     `json:"where,omitempty"`
	Overrides   []Override `json:"overrides,omitempty"` // what options of master.cf set
	Text        string     `json:"text"`
	Example     string     `json:"example,omitempty"`
	File        string     `json:"file,omitempty"`
}

// An Override is a setting for one service.
type Override struct {
	Service string `json:"service"` // "submission/inet"
	Value   string `json:"value"`
	Line    int    `json:"line"` // of master.cf
}

// options is the command line.
type options struct {
	dir        string
	json, list bool
	names      []string
}

func parse(args []string) (options, error) {
	var o options
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--json":
			o.json = true
		case arg == "--list":
			o.list = true
		case arg == "-c" && len(args) > 0:
			o.dir, args = args[0], args[1:]
		case strings.HasPrefix(arg, "-"):
			return o, fmt.Errorf("unknown option %.100q; %s", arg, usage)
		default:
			o.names = append(o.names, arg)
		}
	}
	if len(o.names) == 0 && !o.list {
		return o, fmt.Errorf("%s", usage)
	}
	return o, nil
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdout, stderr io.Writer, k Knowledge) int {
	o, err := parse(args[1:])
	if err != nil {
		fmt.Fprintf(stderr, "postern explain: %v\n", err)
		return command.Usage
	}
	book, err := Read(k.Reference, "parameters/*.md", "restrictions.md", "tables.md")
	if err != nil {
		fmt.Fprintf(stderr, "postern explain: %v\n", err)
		return command.Software
	}
	index := k.index(book)
	k.others(index, book)
	if o.list {
		for _, name := range slices.Sorted(maps.Keys(index)) {
			fmt.Fprintln(stdout, name)
		}
		return command.OK
	}
	here := readSettings(command.ConfigDirectory(o.dir))
	status := command.OK
	var found []Parameter
	for _, name := range o.names {
		p, ok := index[name]
		if !ok {
			p, ok = ofTransport(name, index)
		}
		if !ok {
			fmt.Fprintf(stderr, "postern explain: no parameter, restriction or table type %.100q%s\n", name, suggestion(book.Near(name)))
			status = command.Failure
			continue
		}
		found = append(found, here.of(p))
	}
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(found); err != nil {
			return command.OSErr
		}
		return status
	}
	for i, p := range found {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		p.print(stdout)
	}
	return status
}

// ofTransport explains a parameter that is made of a transport's name, such as
// smtp_destination_rate_delay, by the one for all transports.
func ofTransport(name string, index map[string]Parameter) (Parameter, bool) {
	others := map[string]string{"_initial_destination_concurrency": "initial_destination_concurrency", "_time_limit": "command_time_limit"}
	for i, c := range name {
		if c != '_' || i == 0 {
			continue
		}
		general := others[name[i:]]
		if general == "" {
			general = "default" + name[i:]
		}
		p, ok := index[general]
		if !ok {
			continue
		}
		p.Name, p.Default, p.Example = name, "$"+general, ""
		p.Text = fmt.Sprintf("`%s` for the transport `%s` alone.\n\n%s", general, name[:i], p.Text)
		return p, true
	}
	return Parameter{}, false
}

func suggestion(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}

// settings are those of this machine. They are an extra: files that cannot be
// read say nothing.
type settings struct {
	main     *maincf.Config
	services []mastercf.Service
}

func readSettings(dir string) settings {
	main, err := maincf.Load(dir)
	if err != nil {
		return settings{main: maincf.Empty("")}
	}
	services, _ := mastercf.Load(filepath.Join(dir, "master.cf"), mastercf.Options{})
	return settings{main, services}
}

// of adds what is set.
func (s settings) of(p Parameter) Parameter {
	if value, where, ok := s.main.Lookup(p.Name); ok {
		p.Value, p.Where = &value, where
	}
	for i := range s.services {
		for _, o := range s.services[i].Overrides {
			if o.Name == p.Name {
				p.Overrides = append(p.Overrides, Override{s.services[i].Key(), o.Value, s.services[i].Line})
			}
		}
	}
	return p
}

// All returns every parameter, by name.
func (k Knowledge) All() ([]Parameter, error) {
	book, err := Read(k.Reference, "parameters/*.md")
	if err != nil {
		return nil, err
	}
	index := k.index(book)
	var list []Parameter
	for _, name := range slices.Sorted(maps.Keys(index)) {
		list = append(list, index[name])
	}
	return list, nil
}

// index puts declarations, Postfix's names and the reference together.
func (k Knowledge) index(book Book) map[string]Parameter {
	index := make(map[string]Parameter)
	for name, def := range k.Parameters {
		kind, unit := guess(def)
		index[name] = Parameter{Name: name, Sort: "parameter", Kind: kind, Unit: unit, Default: def, Programs: []string{}}
	}
	for _, program := range k.Programs {
		set := param.NewSet()
		program.Params(set)
		for _, d := range set.Declarations() {
			p, ok := index[d.Name]
			if !ok || !p.Implemented {
				p = declared(d)
			}
			if !slices.Contains(p.Programs, program.Name) {
				p.Programs = append(p.Programs, program.Name)
			}
			index[d.Name] = p
		}
	}
	for _, name := range k.Refused {
		if p, ok := index[name]; ok {
			p.Refused, p.Implemented = true, false
			p.Kind, p.Unit = guess(p.Default) // it is read as a text only
			index[name] = p
		}
	}
	for name, e := range book {
		p, ok := index[name]
		if !ok {
			continue
		}
		p.Since, p.Text, p.Example, p.File = e.Since, e.Text, e.Example, "docs/"+e.File
		index[name] = p
	}
	return index
}

// others adds restrictions and table types.
func (k Knowledge) others(index map[string]Parameter, book Book) {
	add := func(list []Other, sort string) {
		for _, o := range list {
			e := book[o.Name]
			index[o.Name] = Parameter{
				Name: o.Name, Sort: sort, Argument: o.Argument, Implemented: o.Built, Programs: []string{},
				Since: e.Since, Text: e.Text, Example: e.Example, File: "docs/" + e.File,
			}
		}
	}
	add(k.Restrictions, "restriction")
	add(k.Tables, "table type")
}

// declared is what a declaration says.
func declared(d param.Declaration) Parameter {
	p := Parameter{Name: d.Name, Sort: "parameter", Default: d.Default, Implemented: true, Programs: []string{}}
	if d.Computed != nil {
		p.Default = "(computed)"
	}
	switch d.Kind {
	case param.Int, param.NInt, param.Long:
		p.Kind = "number"
	case param.Bool, param.NBool:
		p.Kind = "yes or no"
	case param.Time:
		p.Kind, p.Unit = "time", unitOf(d.Default)
	case param.Raw:
		p.Kind = "text, expanded when it is used"
	default:
		p.Kind = "text"
	}
	return p
}

// guess tells the kind of a parameter that no program declares from the form
// of its default.
func guess(def string) (kind, unit string) {
	number := strings.TrimRight(def, "smhdw")
	digits := number != "" && strings.Trim(number, "0123456789") == ""
	switch {
	case def == "yes" || def == "no":
		return "yes or no", ""
	case digits && number == def:
		return "number", ""
	case digits && len(def) == len(number)+1:
		return "time", unitOf(def)
	}
	return "text", ""
}

// unitOf is the unit of a time that is written without one.
func unitOf(def string) string {
	units := map[byte]string{'m': "minutes", 'h': "hours", 'd': "days", 'w': "weeks"}
	if def != "" && units[def[len(def)-1]] != "" {
		return units[def[len(def)-1]]
	}
	return "seconds"
}
