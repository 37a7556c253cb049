// Package postconf is the command postconf: it shows and changes main.cf and
// master.cf.
//
// What it knows of parameters it is told by the programs that read them, so
// that names and defaults cannot drift from what they do.
package postconf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/admin/command"
	"postern/internal/base/macro"
	"postern/internal/base/maillog"
	"postern/internal/base/netaddr"
	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/config/pending"
)

// Knowledge is what postconf is told about the programs.
type Knowledge struct {
	Parameters []func(*param.Set)          // what each program declares
	Programs   map[string]func(*param.Set) // the same by the name of the program in master.cf
	Agents     []string                    // programs that qmgr gives mail to
	Tables     []string                    // names of the lookup table types
	SASLServer []string                    // smtpd_sasl_type
	SASLClient []string                    // smtp_sasl_type
	// Templates prints the texts of bounce messages: with their parameters
	// expanded (-b) or as they are (-t), from a file or, where it is "", those
	// built in.
	Templates func(w io.Writer, log *maillog.Logger, main *maincf.Config, file string, expand bool) error
}

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, k Knowledge) int {
	c := command.New("postconf", stdin, stdout, stderr)
	o, err := parse(args[1:], c.Verbose)
	if bad := new(command.OptionError); errors.As(err, &bad) {
		command.Complain(stderr, "postconf", err)
		return c.Fail(command.Failure, "usage: %s", usage)
	}
	if err != nil {
		return c.Fail(command.Failure, "%v", err)
	}
	p := &postconf{options: o, Command: c, Knowledge: k, dir: command.ConfigDirectory(o.dir)}
	if err := p.run(); err != nil {
		return c.Fail(command.Failure, "%s", worded(err))
	}
	return c.Done(command.OK)
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
	known    *names
}

func (p *postconf) run() error {
	switch {
	case slices.Contains([]byte("aAlmT"), p.mode):
		return p.lists()
	case p.mode == 'b' || p.mode == 't':
		return p.templates()
	case p.edit != 0 && p.mode == 'p':
		return p.editMain()
	case p.edit != 0:
		return p.editMaster()
	}
	if err := p.load(); err != nil {
		return err
	}
	if p.with('d') {
		return p.showParameters()
	}
	if err := p.warnBefore(); err != nil {
		return err
	}
	show := map[byte]func() error{'M': p.showEntries, 'F': p.showFields, 'P': p.showOverrides, 'p': p.showParameters}[p.mode]
	if err := show(); err != nil {
		return err
	}
	p.warnAfter()
	return nil
}

// publicKeys are the algorithms of certificates that TLS handles.
var publicKeys = []string{"rsa", "ecdsa", "ed25519"}

// lists prints what is available.
func (p *postconf) lists() error {
	var list []string
	switch p.mode {
	case 'a':
		list = p.SASLServer
	case 'A':
		list = p.SASLClient
	case 'l':
		list = []string{"flock", "fcntl", "dotlock"}
	case 'm':
		list = slices.Sorted(slices.Values(p.Tables))
	case 'T':
		switch p.tls {
		case "compile-version", "run-version":
			list = []string{"Go crypto/tls"}
		case "public-key-algorithms":
			list = publicKeys
		default:
			return fmt.Errorf("unknown 'postconf -T' mode: %.100s; need compile-version, run-version or public-key-algorithms", p.tls)
		}
	}
	for _, name := range list {
		fmt.Fprintln(p.Out, name)
	}
	return nil
}

// templates prints the texts of bounce messages.
func (p *postconf) templates() error {
	conf, err := maincf.Load(p.dir)
	if err != nil {
		return err
	}
	conf = p.located(conf)
	file := ""
	if len(p.args) > 0 {
		file = p.args[0]
	} else if file, err = p.declare().Expand(conf, "$bounce_template_file"); err != nil {
		return err
	}
	return p.Templates(p.Out, p.Log, conf, file, p.mode == 'b')
}

// located is the configuration with config_directory in it, where that is not
// the usual one. What the file says goes before it.
func (p *postconf) located(conf *maincf.Config) *maincf.Config {
	if s, ok := conf.Get("config_directory"); ok && s.Value != p.dir {
		p.Log.Warningf("%s: overriding earlier entry: config_directory=%s", s.Where, p.dir)
		return conf
	}
	if p.dir == command.DefaultConfigDirectory {
		return conf
	}
	return conf.Override("config_directory", p.dir, "-c or MAIL_CONFIG")
}

// load reads both files. What is not to be shown of them may be missing.
func (p *postconf) load() (err error) {
	p.declared = p.declare()
	if p.with('d') {
		p.main = maincf.Empty(filepath.Join(p.dir, "main.cf"))
	} else {
		if p.main, err = maincf.Load(p.dir); err != nil {
			return err
		}
		for _, w := range p.main.Warnings() {
			p.Log.Warningf("%s", w)
		}
		p.main = p.located(p.main)
		for _, o := range p.overrides {
			name, value, err := maincf.SplitNameValue(o)
			if err != nil {
				return err
			}
			p.main = p.main.Override(name, value, "-o")
		}
	}
	path := filepath.Join(p.dir, "master.cf")
	p.services, err = mastercf.Load(path, mastercf.Options{Warn: p.Log.Warningf, Edit: true})
	if os.IsNotExist(err) && p.mode == 'p' {
		p.Log.Warningf("%s", worded(err))
		err = nil
	}
	if err != nil {
		return err
	}
	p.known = p.collect()
	return p.checkBasics()
}

// declare collects what the programs declare, and what none does yet.
func (p *postconf) declare() *param.Set {
	set := param.NewSet()
	p.Common.Params(set)
	for _, declare := range p.Parameters {
		declare(set)
	}
	pending.Declare(set)
	return set
}

// checkBasics finds out whether what many defaults hang on can be used; Postfix
// does so whatever it is asked for.
func (p *postconf) checkBasics() error {
	check := func(name string, check func(value string) error) error {
		_, where, ok := p.main.Lookup(name)
		if !ok {
			return nil
		}
		value, err := p.declared.Expand(p.main, "$"+name)
		if err == nil {
			err = check(value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		return nil
	}
	if err := check("compatibility_level", func(value string) error {
		_, err := macro.ParseLevel(value)
		return err
	}); err != nil {
		return err
	}
	if err := check("inet_protocols", func(value string) error {
		_, err := netaddr.ParseFamilies(value)
		return err
	}); err != nil {
		return err
	}
	if _, _, own := p.main.Lookup("mynetworks"); own {
		return nil
	}
	return check("mynetworks_style", func(string) error {
		_, err := p.declared.Expand(p.main, "$mynetworks")
		return err
	})
}
