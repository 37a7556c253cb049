package postconf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// editMain changes main.cf.
func (p *postconf) editMain() error {
	values, order, err := p.pairs()
	if err != nil {
		return err
	}
	return rewrite(filepath.Join(p.dir, "main.cf"), func(lines []string) ([]string, error) {
		found := make(map[string]int)
		lines = edit(lines, func(_ int, first string) action {
			name := first
			if i := strings.IndexAny(first, "= \t\r\n"); i >= 0 {
				name = first[:i]
			}
			value, ok := values[name]
			if !ok {
				return action{}
			}
			if found[name]++; found[name] == 2 {
				p.Log.Warningf("%s: multiple entries for %q", filepath.Join(p.dir, "main.cf"), name)
			}
			return p.action(name + " = " + value)
		})
		for _, name := range order {
			if p.edit == 'e' && found[name] == 0 {
				lines = append(lines, name+" = "+values[name]+"\n")
			}
		}
		return lines, nil
	})
}

// action is what -e, -X or -# does to a line; text is for -e.
func (p *postconf) action(text string) action {
	switch p.edit {
	case 'X':
		return action{kind: removed}
	case '#':
		return action{kind: commented}
	}
	return action{kind: replaced, text: text}
}

// pairs reads the arguments: "name=value" for -e, names for -X and -#.
func (p *postconf) pairs() (values map[string]string, order []string, err error) {
	values = make(map[string]string)
	for _, arg := range p.args {
		name, value := strings.TrimSpace(arg), ""
		if strings.ContainsAny(arg, "\r\n\x00") {
			return nil, nil, fmt.Errorf("-e, -X, or -# accepts no multi-line input")
		}
		if strings.HasPrefix(name, "#") {
			return nil, nil, fmt.Errorf("-e, -X, or -# accepts no comment input")
		}
		if p.edit == 'e' {
			if name, value, err = maincf.SplitNameValue(arg); err != nil {
				return nil, nil, fmt.Errorf("%w: %q", err, arg)
			}
		} else if name == "" {
			return nil, nil, fmt.Errorf("-X or -# requires non-blank parameter names")
		} else if strings.ContainsAny(name, "= \t") {
			return nil, nil, fmt.Errorf("-X or -# requires names without value: %q", arg)
		}
		if old, ok := values[name]; !ok {
			order = append(order, name)
		} else if p.edit == 'e' {
			p.Log.Warningf("ignoring earlier request: '%s = %s'", name, old)
		}
		values[name] = value
	}
	return values, order, nil
}

// A change is one argument of an edit of master.cf.
type change struct {
	arg       string
	name, typ string // "*" is any
	item      string // a field or a parameter; "" for the entry
	value     string
	entry     *mastercf.Service // for -Me
	done      bool
}

// matches says whether the change is for a service.
func (c *change) matches(name, typ string) bool {
	return (c.name == name || c.name == "*") && (c.typ == typ || c.typ == "*")
}

// editMaster changes master.cf.
func (p *postconf) editMaster() error {
	changes, err := p.changes()
	if err != nil {
		return err
	}
	path := p.masterPath()
	return rewrite(path, func(lines []string) ([]string, error) {
		text := strings.Join(lines, "")
		// A file that cannot be read as a whole is not changed in part.
		services, err := mastercf.Read(strings.NewReader(text), path, mastercf.Options{Edit: true})
		if err != nil {
			return nil, err
		}
		_, refused := mastercf.Read(strings.NewReader(text), path, mastercf.Options{})
		var failed error
		lines = edit(lines, func(number int, first string) action {
			a, err := p.editEntry(changes, services, number, first)
			if err != nil && failed == nil {
				failed = err
			}
			return a
		})
		if failed != nil {
			return nil, failed
		}
		for _, c := range changes {
			switch {
			case c.done:
			case c.entry != nil:
				lines = append(lines, written(c.entry)+"\n")
			case p.mode != 'M':
				p.Log.Warningf("unmatched service_name/type: %q", c.arg)
			}
		}
		if refused != nil {
			return lines, nil
		}
		// Nor is a file left behind that master would refuse and has not before.
		_, err = mastercf.Read(strings.NewReader(strings.Join(lines, "")), path, mastercf.Options{})
		return lines, err
	})
}

// editEntry says what becomes of the entry that starts in the given line.
func (p *postconf) editEntry(changes []*change, services []mastercf.Service, number int, first string) (action, error) {
	words := param.Fields(first)
	if len(words) < 2 {
		return action{}, nil
	}
	var mine []*change
	again := false // -Me has replaced an entry of the same name
	for _, c := range changes {
		if c.matches(words[0], words[1]) {
			again = again || c.done
			c.done = true
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		return action{}, nil
	}
	if p.mode == 'M' {
		c := mine[len(mine)-1]
		switch {
		case c.entry == nil:
			return p.action(""), nil
		case again:
			return action{kind: removed}, nil
		}
		return action{replaced, written(c.entry)}, nil
	}
	i := slices.IndexFunc(services, func(s mastercf.Service) bool { return s.Line == number })
	if i < 0 { // cannot be: all entries are there
		return action{}, nil
	}
	s := &services[i]
	for _, c := range mine {
		if p.mode == 'P' {
			p.setOverride(s, c)
		} else if err := setField(s, c); err != nil {
			return action{}, err
		}
	}
	return action{replaced, written(s)}, nil
}

// written is an entry as it is put into the file.
func written(s *mastercf.Service) string {
	args, _ := normalized(s, nil) // fails only where it expands
	return entry(s, args, true)
}

// forms are what the arguments of an edit look like.
var forms = map[byte]string{
	'M': "-Me, -MX or -M# requires service_name/type",
	'F': "-Fe or -FX requires service_name/type/field_name",
	'P': "-Pe or -PX requires service_name/type/parameter",
}

// changes reads the arguments of an edit of master.cf.
func (p *postconf) changes() ([]*change, error) {
	var list []*change
	for _, arg := range p.args {
		if strings.ContainsAny(arg, "\r\n\x00") {
			return nil, fmt.Errorf("-e, -X, or -# accepts no multi-line input")
		}
		path, value, hasValue := strings.Cut(arg, "=")
		switch {
		case p.edit == 'e' && !hasValue:
			return nil, fmt.Errorf("missing '=' after attribute name: %q", arg)
		case p.edit != 'e' && hasValue:
			return nil, fmt.Errorf("-X or -# requires names without value: %q", arg)
		}
		parts := strings.Split(strings.TrimSpace(path), "/")
		want := 3
		if p.mode == 'M' {
			want = 2
		}
		if len(parts) != want || slices.Contains(parts, "") {
			return nil, fmt.Errorf("%s", forms[p.mode])
		}
		c := &change{arg: arg, name: parts[0], typ: parts[1], value: strings.TrimSpace(value)}
		if want == 3 {
			c.item = parts[2]
		}
		if p.mode == 'F' && !slices.Contains(fieldNames[:], c.item) {
			return nil, fmt.Errorf("invalid service attribute name: %q; need one of %s", c.item, strings.Join(fieldNames[:], ", "))
		}
		if p.mode == 'M' && p.edit == 'e' {
			services, err := mastercf.Read(strings.NewReader(c.value), "new entry", mastercf.Options{Edit: true})
			if err != nil {
				return nil, err
			}
			if len(services) != 1 {
				return nil, fmt.Errorf("bad field count: %q", arg)
			}
			c.entry = &services[0]
		}
		list = append(list, c)
	}
	return list, nil
}

// setField changes a column of an entry.
func setField(s *mastercf.Service, c *change) error {
	i := slices.Index(fieldNames[:], c.item)
	words := param.Fields(c.value)
	switch {
	case len(words) == 0 || i < 7 && len(words) != 1:
		return fmt.Errorf("bad value %q for field %q", c.value, c.item)
	}
	s.Fields[i] = words[0]
	if i < 7 {
		return nil
	}
	changed, err := mastercf.Read(strings.NewReader("x unix - - - - - "+c.value), "command", mastercf.Options{})
	if err != nil {
		return err
	}
	s.Args, s.RawArgs, s.Overrides = changed[0].Args, changed[0].RawArgs, changed[0].Overrides
	return nil
}

// setOverride adds, changes or removes an option -o of an entry. A new one comes
// after the other options, before other arguments.
func (p *postconf) setOverride(s *mastercf.Service, c *change) {
	var args, raw []string
	text, found, i := c.item+"="+c.value, false, 0
	for i < len(s.Args) && len(s.Args[i]) > 1 && s.Args[i][0] == '-' {
		if s.Args[i] != "-o" || i+1 == len(s.Args) {
			args, raw = append(args, s.Args[i]), append(raw, s.RawArgs[i])
			i++
			continue
		}
		arg, written := s.Args[i+1], s.RawArgs[i+1]
		i += 2
		if name, _, err := maincf.SplitNameValue(arg); err == nil && name == c.item {
			if p.edit == 'X' {
				continue
			}
			found, arg, written = true, text, text
		}
		args, raw = append(args, "-o", arg), append(raw, "-o", written)
	}
	if p.edit == 'e' && !found {
		args, raw = append(args, "-o", text), append(raw, "-o", text)
	}
	s.Args, s.RawArgs = append(args, s.Args[i:]...), append(raw, s.RawArgs[i:]...)
}
