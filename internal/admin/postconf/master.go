package postconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// fieldNames are the columns of master.cf.
var fieldNames = [...]string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

// selected says whether one of the arguments, "name/type/item" with trailing
// parts left out or "*", names the item.
func (p *postconf) selected(name, typ, item string) bool {
	if len(p.args) == 0 {
		return true
	}
	return slices.ContainsFunc(p.args, func(arg string) bool {
		parts := strings.SplitN(arg, "/", 3)
		for i, have := range []string{name, typ, item} {
			if i < len(parts) && parts[i] != "*" && parts[i] != have && have != "" {
				return false
			}
		}
		return true
	})
}

// showEntries prints entries of master.cf.
func (p *postconf) showEntries() error {
	for i := range p.services {
		s := &p.services[i]
		if p.selected(s.Name, s.Type, "") {
			fmt.Fprintln(p.Out, entry(s, p.fold))
		}
	}
	return nil
}

// starts are the columns at which the fields of an entry start.
var starts = [...]int{0, 11, 17, 25, 33, 41, 49, 57}

// entry formats an entry of master.cf.
func entry(s *mastercf.Service, fold bool) string {
	var b strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", max(1, starts[i]-b.Len())))
		}
		b.WriteString(f)
	}
	args := normalized(s)
	if !fold {
		return strings.Join(append([]string{b.String()}, args...), " ")
	}
	return b.String() + foldedArgs(b.Len(), args)
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

// normalized returns the arguments of an entry in the form in which they are
// written: "name=value" without blanks around the sign, braces where a blank is.
func normalized(s *mastercf.Service) []string {
	args := make([]string, len(s.Args))
	next := 0
	for i, a := range s.Args {
		switch {
		case i > 0 && s.Args[i-1] == "-o" && next < len(s.Overrides):
			args[i] = braced(s.Overrides[next].Name + "=" + s.Overrides[next].Value)
			next++
		case strings.HasPrefix(s.RawArgs[i], "{"):
			args[i] = braced(a)
		default:
			args[i] = s.RawArgs[i]
		}
	}
	return args
}

// braced puts braces around an argument that needs them.
func braced(arg string) string {
	if fields := param.Fields(arg); len(fields) == 1 && fields[0] == arg && arg[0] != '{' {
		return arg
	}
	return "{" + arg + "}"
}

// showFields prints the fields of entries.
func (p *postconf) showFields() error {
	for i := range p.services {
		s := &p.services[i]
		for k, name := range fieldNames {
			if !p.selected(s.Name, s.Type, name) {
				continue
			}
			text := s.Fields[k]
			if name == "command" {
				text = strings.Join(append([]string{text}, normalized(s)...), " ")
			}
			p.print(s.Key()+"/"+name, text)
		}
	}
	return nil
}

// effective returns the options that count, the last of each name, in the order
// of their names.
func effective(list []mastercf.Override) []mastercf.Override {
	last := make(map[string]mastercf.Override)
	for _, o := range list {
		last[o.Name] = o
	}
	return slices.SortedFunc(maps.Values(last), func(a, b mastercf.Override) int { return strings.Compare(a.Name, b.Name) })
}

// showOverrides prints the options -o of entries.
func (p *postconf) showOverrides() error {
	for i := range p.services {
		s := &p.services[i]
		for _, o := range effective(s.Overrides) {
			if !p.selected(s.Name, s.Type, o.Name) {
				continue
			}
			text := o.Value
			if p.expand {
				src := p.main
				for _, o := range s.Overrides {
					src = src.Override(o.Name, o.Value, "-o")
				}
				var err error
				src = src.Override("service_name", s.Name, "master.cf")
				if text, err = p.declared.Expand(src, text); err != nil {
					return fmt.Errorf("%s/%s: %w", s.Key(), o.Name, err)
				}
			}
			p.print(s.Key()+"/"+o.Name, text)
		}
	}
	return nil
}
