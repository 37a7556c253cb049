package postconf

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

const usage = "postconf [-a|-A|-l|-m|-T mode] [-b|-t [file]] [-M|-F|-P|-PP|-p] [-e|-X|-#] [-c dir] [-C class,...] [-d|-n] [-o name=value] [-fhHjqvx] [name...]"

// classNames are what -C may name.
var classNames = []string{"builtin", "service", "user", "all"}

// Options is the command line.
type options struct {
	mode      byte // 'p' main.cf; 'M' 'F' 'P' of master.cf; 'a' 'A' 'l' 'm' 'T' 'b' 't'
	edit      byte // 'e', 'X', '#', or 0
	tls       string
	effective bool // -PP
	given     map[byte]bool
	quiet     bool
	dir       string
	classes   map[string]bool
	overrides []string
	args      []string
}

// with says whether a modifying option was given.
func (o *options) with(option byte) bool { return o.given[option] }

// modes exclude each other.
const modes = "aAbFlmMpPtT"

// notWith lists for each mode the options that do not go with it.
var notWith = map[byte]string{
	'a': "defhHnoxX#j", 'A': "defhHnoxX#j", 'l': "defhHnoxX#j", 'm': "defhHnoxX#j",
	'b': "defhHnoxX#j", 't': "defhHnoxX#j", 'T': "defhHnoxX#j",
	'F': "dnX#", 'M': "dnhH", 'P': "dn#",
}

// apart lists for each option those of which only one can be given.
var apart = [...]struct {
	option byte
	others string
}{
	{'d', "enoX#"}, {'e', "fhHjnoxX#"}, {'f', "jX#"}, {'h', "HX#"}, {'H', "X#"}, {'j', "X#"}, {'n', "X#"},
	{'o', "X#"}, {'x', "X#"}, {'X', "#"},
}

func parse(args []string, verbose func()) (*options, error) {
	o := &options{given: make(map[byte]bool), classes: map[string]bool{"all": true}}
	rest, err := command.Getopt(args, "aAbc:C:defFhHjlmMno:pPqtT:vxX#", func(option byte, arg string) error {
		if option == 'P' && o.given['P'] {
			o.effective = true
		}
		o.given[option] = true
		switch option {
		case 'c':
			o.dir = arg
		case 'C':
			return o.class(arg)
		case 'T':
			o.tls = arg
		case 'q':
			o.quiet = true
		case 'o':
			if _, _, err := maincf.SplitNameValue(arg); err != nil {
				return fmt.Errorf("invalid parameter override: %.100s: %w", arg, err)
			}
			o.overrides = append(o.overrides, arg)
		case 'v':
			verbose()
		}
		return nil
	})
	o.args = rest
	if err != nil {
		return nil, err
	}
	return o, o.check()
}

func (o *options) class(list string) error {
	o.classes = make(map[string]bool)
	for _, class := range param.Split(list) {
		if !slices.Contains(classNames, class) {
			return fmt.Errorf("unknown -C option value %q in %q; need one of %s", class, list, strings.Join(classNames, ", "))
		}
		o.classes[class] = true
	}
	return nil
}

// check finds the mode and whether the command edits, and refuses what makes no
// sense together.
func (o *options) check() error {
	for _, m := range []byte(modes) {
		if !o.given[m] {
			continue
		}
		switch {
		case o.mode == 'b' && m == 't':
			return fmt.Errorf("specify one of -b and -t")
		case o.mode != 0:
			return fmt.Errorf("specify one of -%c -%c", o.mode, m)
		}
		o.mode = m
	}
	if o.mode == 0 {
		o.mode = 'p'
	}
	for _, option := range []byte(notWith[o.mode]) {
		if o.given[option] {
			return fmt.Errorf("with option -%c, do not specify -%c", o.mode, option)
		}
	}
	if !o.given['e'] && strings.IndexByte("pMFP", o.mode) >= 0 &&
		slices.ContainsFunc(o.args, func(arg string) bool { return strings.Contains(arg, "=") }) {
		o.given['e'] = true // Postfix: a value asks for an edit
	}
	for _, a := range apart {
		for _, other := range []byte(a.others) {
			if o.given[a.option] && o.given[other] {
				return fmt.Errorf("specify one of -%c -%c", a.option, other)
			}
		}
	}
	for _, e := range []byte("eX#") {
		if o.given[e] {
			o.edit = e
		}
	}
	switch {
	case (o.mode == 'b' || o.mode == 't') && len(o.args) > 1:
		return fmt.Errorf("options -b and -t require at most one template file")
	case o.edit == 'e' && len(o.args) == 0:
		return fmt.Errorf("-e requires name=value argument")
	case o.edit != 0 && len(o.args) == 0:
		return fmt.Errorf("-%c requires the names of what to work on", o.edit)
	}
	return nil
}
