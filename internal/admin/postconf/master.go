package postconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// fieldNames are the columns of master.cf.
var fieldNames = [...]string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

// A request is an argument that selects from master.cf: "name/type/item", of
// which trailing parts may be left out or any be "*".
type request struct {
	text    string
	parts   []string
	matched bool
}

// requests reads the arguments.
func (p *postconf) requests() ([]*request, error) {
	limit, form := 3, map[byte]string{'M': "service_name[/type]", 'F': "service_name[/type[/field]]", 'P': "service_name[/type[/parameter]]"}[p.mode]
	if p.mode == 'M' {
		limit = 2
	}
	var list []*request
	for _, arg := range p.args {
		r := &request{text: arg, parts: strings.Split(arg, "/")}
		if len(r.parts) > limit || r.parts[0] == "" {
			return nil, fmt.Errorf("-%c option requires %s", p.mode, form)
		}
		if p.mode == 'F' && len(r.parts) == 3 && r.parts[2] != "*" && !slices.Contains(fieldNames[:], r.parts[2]) {
			return nil, fmt.Errorf("invalid service attribute name: %.100q; need one of %s", r.parts[2], strings.Join(fieldNames[:], ", "))
		}
		list = append(list, r)
	}
	return list, nil
}

// selects says whether a request, or the lack of any, asks for an item.
func selects(list []*request, item ...string) bool {
	found := len(list) == 0
	for _, r := range list {
		match := true
		for i, part := range r.parts {
			match = match && (part == "*" || i < len(item) && part == item[i])
		}
		if match {
			r.matched, found = true, true
		}
	}
	return found
}

// fromMaster calls each for every service, and tells of requests that nothing
// matched.
func (p *postconf) fromMaster(each func(list []*request, s *mastercf.Service) error) error {
	list, err := p.requests()
	if err != nil {
		return err
	}
	for i := range p.services {
		if err := each(list, &p.services[i]); err != nil {
			return err
		}
	}
	for _, r := range list {
		if !r.matched {
			p.Log.Warningf("unmatched request: %q", r.text)
		}
	}
	return nil
}

// scope is what a service sees: main.cf, its own options -o, and its name.
func (p *postconf) scope(s *mastercf.Service) *maincf.Config {
	src := p.main.Override("service_name", s.Name, "master.cf").Override("process_name", s.Command, "master.cf")
	for _, o := range s.Overrides {
		src = src.Override(o.Name, o.Value, p.masterPath())
	}
	return src
}

// showEntries prints entries of master.cf.
func (p *postconf) showEntries() error {
	return p.fromMaster(func(list []*request, s *mastercf.Service) error {
		if !selects(list, s.Name, s.Type) {
			return nil
		}
		args, err := p.arguments(s)
		if err != nil {
			return err
		}
		if p.with('j') {
			p.printJSON(s.Key(), entry(s, args, false))
			return nil
		}
		fmt.Fprintln(p.Out, entry(s, args, p.with('f')))
		return nil
	})
}

// starts are the columns at which the fields of an entry start.
var starts = [...]int{0, 11, 17, 25, 33, 41, 49, 57}

// entry formats an entry of master.cf with its arguments.
func entry(s *mastercf.Service, args []string, fold bool) string {
	var b strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", max(1, starts[i]-b.Len())))
		}
		b.WriteString(f)
	}
	return withArguments(b.String(), args, fold)
}

// withArguments puts arguments after head.
func withArguments(head string, args []string, fold bool) string {
	if !fold {
		return strings.Join(append([]string{head}, args...), " ")
	}
	return head + foldedArgs(len(head), args)
}

// foldedArgs puts arguments after a line of column octets. An option -o has a
// line of its own.
func foldedArgs(column int, args []string) string {
	var b strings.Builder
	wrap := false // the next argument starts a line
	n := 0
	for n < len(args) && strings.HasPrefix(args[n], "-") {
		option := args[n]
		n++
		if option == "-o" && n < len(args) {
			b.WriteString("\n" + indent + option + " " + args[n])
			n++
			wrap = true
			continue
		}
		if wrap || column+1+len(option) >= maxColumn {
			b.WriteString("\n" + indent)
			column, wrap = len(indent)-1, false
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(option)
		column += 1 + len(option)
	}
	if n == len(args) {
		return b.String()
	}
	if wrap || column+1+len(args[n]) >= maxColumn {
		b.WriteString("\n" + indent)
		column = len(indent)
	} else {
		b.WriteByte(' ')
		column++
	}
	return b.String() + joined(column, args[n:], maxColumn)
}

// arguments returns the arguments of an entry in the form in which they are
// written, with -x their parameters expanded.
func (p *postconf) arguments(s *mastercf.Service) ([]string, error) {
	if !p.with('x') {
		return normalized(s, nil)
	}
	src := p.scope(s)
	return normalized(s, func(o mastercf.Override) (string, error) {
		if raw[o.Name] {
			return o.Value, nil
		}
		text, err := p.declared.Expand(src, o.Value)
		if err != nil {
			return "", fmt.Errorf("%s, line %d: parameter %s: %w", p.masterPath(), s.Line, o.Name, err)
		}
		return text, nil
	})
}

// normalized writes "name=value" without blanks around the sign, and braces
// where a blank is. expand, which may be nil, gives the value of an option -o.
func normalized(s *mastercf.Service, expand func(mastercf.Override) (string, error)) ([]string, error) {
	args := make([]string, len(s.Args))
	options := true
	for i := 0; i < len(s.Args); i++ {
		a := s.Args[i]
		options = options && len(a) > 1 && a[0] == '-'
		if args[i] = a; strings.HasPrefix(s.RawArgs[i], "{") || a == "" {
			args[i] = braced(a)
		} else {
			args[i] = s.RawArgs[i]
		}
		if !options || a != "-o" || i+1 == len(s.Args) {
			continue
		}
		i++
		name, value, err := maincf.SplitNameValue(s.Args[i])
		if err != nil {
			args[i] = braced(s.Args[i])
			continue
		}
		if expand != nil {
			if value, err = expand(mastercf.Override{Name: name, Value: value}); err != nil {
				return nil, err
			}
		}
		args[i] = braced(name + "=" + value)
	}
	return args, nil
}

const blanks = " \t\r\n"

// braced puts braces around an argument that needs them.
func braced(arg string) string {
	if arg == "" || arg[0] == '{' || strings.ContainsAny(arg, blanks) {
		return "{" + arg + "}"
	}
	return arg
}

// showFields prints the fields of entries.
func (p *postconf) showFields() error {
	return p.fromMaster(func(list []*request, s *mastercf.Service) error {
		for k, field := range fieldNames {
			if !selects(list, s.Name, s.Type, field) {
				continue
			}
			name := s.Key() + "/" + field
			if field != "command" {
				p.print(name, s.Fields[k])
				continue
			}
			args, err := p.arguments(s)
			if err != nil {
				return err
			}
			p.printCommand(name, s.Fields[k], args)
		}
		return nil
	})
}

// printCommand prints the last field of an entry, folded as an entry is.
func (p *postconf) printCommand(name, command string, args []string) {
	switch {
	case p.with('j'):
		p.printJSON(name, withArguments(command, args, false))
		return
	case p.with('H'):
		fmt.Fprintln(p.Out, name)
		return
	case !p.with('h'):
		command = name + " = " + command
	}
	fmt.Fprintln(p.Out, withArguments(command, args, p.with('f')))
}

// showOverrides prints the options -o of entries, with -PP all that a service
// does not leave at its default, and what is asked for by name.
func (p *postconf) showOverrides() error {
	return p.fromMaster(func(list []*request, s *mastercf.Service) error {
		wanted := overridden(s)
		if p.effective {
			if err := p.inherited(list, s, wanted); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			if !selects(list, s.Name, s.Type, name) {
				continue
			}
			text := wanted[name]
			if p.with('x') && !raw[name] {
				var err error
				if text, err = p.declared.Expand(p.scope(s), text); err != nil {
					return fmt.Errorf("%s, line %d: parameter %s: %w", p.masterPath(), s.Line, name, err)
				}
			}
			p.print(s.Key()+"/"+name, text)
		}
		return nil
	})
}

// inherited adds what a service reads and does not set itself: the value in
// main.cf, or the default.
func (p *postconf) inherited(list []*request, s *mastercf.Service, wanted map[string]string) error {
	set := param.NewSet()
	p.Common.Params(set)
	if declare := p.Programs[s.Command]; declare != nil {
		declare(set)
	}
	for _, d := range set.Declarations() {
		if _, own := wanted[d.Name]; own || !selects(list, s.Name, s.Type, d.Name) {
			continue
		}
		text, _, ok := p.main.Lookup(d.Name)
		if !ok && d.Computed == nil {
			text = d.Default
		} else if !ok {
			var err error
			if text, err = p.declared.Default(p.scope(s), d); err != nil {
				return fmt.Errorf("%s, line %d: default of %s: %w", p.masterPath(), s.Line, d.Name, err)
			}
		}
		wanted[d.Name] = text
	}
	return nil
}
