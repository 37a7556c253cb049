// Package postconf is the command postconf: it shows and changes main.cf and
// master.cf.
//
// What it knows of parameters it is told by the programs that read them, so
// that names and defaults cannot drift from what they do.
package postconf

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/admin/command"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/config/pending"
)

const usage = "[-a] [-A] [-c dir] [-C class] [-d] [-e] [-f] [-F] [-h] [-H] [-l] [-m] [-M] [-n] [-o name=value] [-p] [-P] [-q] [-T mode] [-v] [-x] [-X] [-#] [name...]"

// Knowledge is what postconf is told about the programs.
type Knowledge struct {
	Parameters []func(*param.Set) // what each program declares
	Tables     []string           // names of the lookup table types
	Agents     []string           // programs that qmgr gives mail to
}

// options is the command line.
type options struct {
	file                               byte // 'p' main.cf, 'M' 'F' 'P' of master.cf
	edit                               byte // 'e', 'X', '#', or 0
	list                               byte // 'a' 'A' 'l' 'm' 'T', or 0
	mode                               string
	defaults, set, expand, fold, quiet bool
	hideName, hideValue                bool
	dir                                string
	classes                            map[string]bool
	overrides                          []string
	args                               []string
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, k Knowledge) int {
	c := command.New("postconf", stdin, stdout, stderr)
	o, err := parse(args[1:], c.Verbose)
	if err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	p := &postconf{options: o, Command: c, Knowledge: k, dir: command.ConfigDirectory(o.dir)}
	if err := p.run(); err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	return c.Done(command.OK)
}

func parse(args []string, verbose func()) (*options, error) {
	o := &options{file: 'p', classes: map[string]bool{"all": true}}
	rest, err := command.Getopt(args, "aAbc:C:defFhHjlmMno:pPqtT:vxX#", func(option byte, arg string) error {
		switch option {
		case 'a', 'A', 'l', 'm':
			o.list = option
		case 'T':
			o.list, o.mode = 'T', arg
		case 'c':
			o.dir = arg
		case 'C':
			o.classes = make(map[string]bool)
			for _, class := range param.Split(arg) {
				if !slices.Contains([]string{"builtin", "service", "user", "all"}, class) {
					return fmt.Errorf("unknown class %.100q; need builtin, service, user or all", class)
				}
				o.classes[class] = true
			}
		case 'd':
			o.defaults = true
		case 'n':
			o.set = true
		case 'x':
			o.expand = true
		case 'f':
			o.fold = true
		case 'q':
			o.quiet = true
		case 'h':
			o.hideName = true
		case 'H':
			o.hideValue = true
		case 'e', 'X', '#':
			if o.edit != 0 && o.edit != option {
				return fmt.Errorf("specify one of -e, -X and -#")
			}
			o.edit = option
		case 'p', 'M', 'F', 'P':
			o.file = option
		case 'o':
			o.overrides = append(o.overrides, arg)
		case 'v':
			verbose()
		default:
			return fmt.Errorf("option -%c is not implemented yet", option)
		}
		return nil
	})
	o.args = rest
	if err != nil {
		return nil, fmt.Errorf("%w; usage: postconf %s", err, usage)
	}
	return o, o.check()
}

// check finds out whether the command edits, and refuses what makes no sense.
func (o *options) check() error {
	if o.edit == 0 && o.list == 0 {
		for _, arg := range o.args {
			if strings.Contains(arg, "=") {
				o.edit = 'e'
			}
		}
	}
	switch {
	case o.edit != 0 && (o.defaults || o.set || o.expand || o.hideName || o.hideValue || o.fold):
		return fmt.Errorf("-e, -X and -# do not go with -d, -f, -h, -H, -n or -x")
	case o.edit != 0 && len(o.args) == 0:
		return fmt.Errorf("-e, -X or -# need names to work on")
	case o.edit == 'X' && o.file == 'F', o.edit == '#' && (o.file == 'F' || o.file == 'P'):
		return fmt.Errorf("-%c does not go with -%c", o.edit, o.file)
	case o.defaults && o.set:
		return fmt.Errorf("specify one of -d and -n")
	case o.hideName && o.hideValue:
		return fmt.Errorf("specify one of -h and -H")
	}
	return nil
}

// A postconf is one run.
type postconf struct {
	*options
	*command.Command
	Knowledge
	dir string

	main     *maincf.Config // main.cf and the overrides
	services []mastercf.Service
	declared *param.Set
}

func (p *postconf) run() error {
	switch {
	case p.list != 0:
		return p.lists()
	case p.edit != 0 && p.file == 'p':
		return p.editMain()
	case p.edit != 0:
		return p.editMaster()
	}
	if err := p.load(); err != nil {
		return err
	}
	switch p.file {
	case 'M':
		return p.showEntries()
	case 'F':
		return p.showFields()
	case 'P':
		return p.showOverrides()
	}
	return p.showParameters()
}

// lists prints what is available.
func (p *postconf) lists() error {
	var names []string
	switch p.list {
	case 'a':
		names = []string{"dovecot"}
	case 'A':
		names = []string{"cyrus"}
	case 'l':
		names = []string{"flock", "fcntl", "dotlock"}
	case 'm':
		names = slices.Sorted(slices.Values(p.Tables))
	case 'T':
		if !slices.Contains([]string{"compile-version", "run-version", "public-key-algorithms"}, p.mode) {
			return fmt.Errorf("unknown mode -T %.100q; need compile-version, run-version or public-key-algorithms", p.mode)
		}
		names = []string{"Go crypto/tls"}
		if p.mode == "public-key-algorithms" {
			names = []string{"rsa", "ecdsa", "ed25519"}
		}
	}
	for _, name := range names {
		fmt.Fprintln(p.Out, name)
	}
	return nil
}

// load reads both files. master.cf may be missing; then there are no services.
func (p *postconf) load() (err error) {
	p.declared = p.declare()
	if p.defaults {
		p.main = maincf.Empty(filepath.Join(p.dir, "main.cf"))
	} else if p.main, err = maincf.Load(p.dir); err != nil {
		return err
	}
	for _, w := range p.main.Warnings() {
		p.warn("%s", w)
	}
	if p.dir != command.DefaultConfigDirectory && !p.defaults {
		p.main = p.main.Override("config_directory", p.dir, "-c or MAIL_CONFIG")
	}
	for _, o := range p.overrides {
		name, value, err := maincf.SplitNameValue(o)
		if err != nil {
			return fmt.Errorf("-o %s: %w", o, err)
		}
		p.main = p.main.Override(name, value, "-o")
	}
	path := filepath.Join(p.dir, "master.cf")
	p.services, err = mastercf.Load(path, mastercf.Options{Warn: p.warn, All: true})
	if os.IsNotExist(err) {
		p.warn("%v", err)
		err = nil
	}
	return err
}

func (p *postconf) warn(format string, args ...any) {
	if !p.quiet {
		p.Log.Warningf(format, args...)
	}
}

// declare collects what the programs declare.
func (p *postconf) declare() *param.Set {
	set := param.NewSet()
	p.Common.Params(set)
	for _, declare := range p.Parameters {
		declare(set)
	}
	return set
}

// warnUnused tells which settings have no effect.
func (p *postconf) warnUnused() {
	names := make(map[string]bool)
	for _, d := range p.declared.Declarations() {
		names[d.Name] = true
	}
	for _, d := range p.serviceParameters() {
		names[d.Name] = true
	}
	names["config_directory"] = true
	declared := func(name string) bool { return names[name] }
	if len(p.args) == 0 {
		for _, w := range pending.Unimplemented(p.main, declared) {
			p.warn("%s", w)
		}
	}
	for _, w := range pending.Unused(p.main, declared, p.overrideTexts()...) {
		p.warn("%s", w)
	}
}
