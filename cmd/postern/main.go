// Postern is the mail system in one binary: it acts as the program that it is
// called by ("smtpd", "postfix"), or, as "postern", as its first argument says.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/config/pending"
	"postern/internal/master"
	"postern/internal/service"
	"postern/internal/table/migration"
)

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run acts as the program that args name, and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		return usage(stderr)
	}
	if filepath.Base(args[0]) == "postern" {
		if len(args) < 2 {
			return usage(stderr)
		}
		if args = args[1:]; args[0] == "-h" || args[0] == "--help" {
			help(stdout)
			return 0
		}
		if args[0] == "programs" {
			for _, name := range names() {
				fmt.Fprintln(stdout, name)
			}
			return 0
		}
		for _, c := range tools() {
			if c.name == args[0] {
				return c.main(args, stdin, stdout, stderr)
			}
		}
	}
	name := filepath.Base(args[0])
	if p, ok := daemon(name); ok {
		return service.Main(p, tables(), args)
	}
	for _, c := range commands() {
		if c.name == name {
			return c.main(args, stdin, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "postern: unknown program: %.100q; see \"postern help\"\n", name)
	return 64
}

func daemon(name string) (service.Program, bool) {
	for _, p := range daemons() {
		if p.Name == name {
			return p, true
		}
	}
	return service.Program{}, false
}

func usage(stderr io.Writer) int {
	fmt.Fprintln(stderr, "usage: postern program [arguments]; see \"postern help\"")
	return 64
}

// names lists what the binary may be called by.
func names() []string {
	var list []string
	for _, p := range daemons() {
		list = append(list, p.Name)
	}
	for _, c := range commands() {
		list = append(list, c.name)
	}
	slices.Sort(list)
	return list
}

// help lists every program.
func help(w io.Writer) {
	fmt.Fprintf(w, "Postern is a mail system that takes the place of Postfix.\n\nusage: postern command [arguments]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-16s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nCommands that are called by the name postern only:\n")
	for _, c := range tools() {
		fmt.Fprintf(w, "  %-16s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nDaemons, which master starts as master.cf says:\n ")
	for _, p := range daemons() {
		fmt.Fprintf(w, " %s", p.Name)
	}
	fmt.Fprintln(w)
}

// problems returns what is wrong with the parameters of a service's program.
func problems(c *maincf.Config, s *mastercf.Service) []error {
	p, ok := daemon(s.Command)
	if !ok {
		return nil
	}
	set := param.NewSet()
	var common param.Common
	common.Params(set)
	p.New().Params(set)
	if list := set.Problems(c); len(list) > 0 {
		return list
	}
	if err := set.Load(c); err != nil {
		return []error{err}
	}
	if err := migration.Check(&common); err != nil {
		return []error{err}
	}
	return nil
}

// warnings returns what is to be told about settings that no program reads, and
// about defaults of older releases that compatibility_level keeps.
func warnings() master.Warnings {
	declared := sync.OnceValue(func() *param.Set {
		set := param.NewSet()
		for _, declare := range parameters() {
			declare(set)
		}
		return set
	})
	names := sync.OnceValue(func() map[string]bool {
		names := make(map[string]bool)
		for _, d := range declared().Declarations() {
			names[d.Name] = true
		}
		return names
	})
	return func(c *maincf.Config, texts []string) []string {
		list := pending.Warnings(c, func(name string) bool { return names()[name] }, texts...)
		old, err := declared().Backwards(c)
		if err != nil {
			return append(list, err.Error())
		}
		return append(list, old...)
	}
}
