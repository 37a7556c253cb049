package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/config/param"
	"postern/internal/config/pending"
)

// ours are parameters that Postfix 3.11 does not have.
var ours = map[string]bool{
	"auto_rebuild_tables":    true,
	"maillog_format":         true,
	"queue_journal":          true,
	"smtpd_sasl_users":       true,
	"dns_resolver_addresses": true, // for tests: instead of /etc/resolv.conf
	"native_hosts_file":      true, // for tests: instead of /etc/hosts
}

// former are names that Postfix still reads where their successor is not set.
var former = map[string]bool{
	"fallback_relay": true,
	"virtual_maps":   true,
}

// different are the defaults that differ from Postfix's, and why.
var different = map[string]string{
	"mail_name":        "who this is",
	"daemon_directory": "where make install puts the programs, as Debian does",
}

// Every parameter that a program declares is one of Postfix's, with Postfix's
// default; two programs agree on it.
func TestParameters(t *testing.T) {
	known := pending.Parameters()
	first := make(map[string]param.Declaration)
	for _, declare := range parameters() {
		set := param.NewSet()
		declare(set)
		for _, d := range set.Declarations() {
			if other, ok := first[d.Name]; ok && (other.Default != d.Default || other.Kind != d.Kind) {
				t.Errorf("%s: declared as %d %q and as %d %q", d.Name, other.Kind, other.Default, d.Kind, d.Default)
			}
			first[d.Name] = d
		}
	}
	for name, d := range first {
		def, ok := known[name]
		switch {
		case ours[name]:
			if ok {
				t.Errorf("%s: Postfix has it, too", name)
			}
		case former[name]:
		case !ok:
			t.Errorf("%s: Postfix has no such parameter", name)
		case d.Computed != nil:
			if def != "(computed)" {
				t.Errorf("%s: computed; Postfix: %q", name, def)
			}
		case d.Default != def && different[name] == "":
			t.Errorf("%s: default %q; Postfix: %q", name, d.Default, def)
		}
	}
	t.Logf("%d of %d parameters", len(first), len(known))
}

// elsewhere are parameters that a program here reads and not there, and why.
var elsewhere = map[string]string{
	"qmgr allow_min_user":                   "a bad recipient is found where it is read",
	"smtpd reject_tempfail_action":          "one table of replies for every restriction",
	"smtpd smtpd_tls_session_cache_timeout": "sessions are remembered by the process that serves them all",
	"smtpd virtual_alias_domains":           "it finds the class of an address itself",
	"smtpd virtual_mailbox_domains":         "it finds the class of an address itself",
}

// TestParametersOfPrograms holds that a program reads only what the same program
// of Postfix does.
func TestParametersOfPrograms(t *testing.T) {
	text, err := os.ReadFile("testdata/programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	theirs := make(map[string]map[string]bool)
	everywhere := make(map[string]bool) // known to 3.7
	for line := range strings.Lines(string(text)) {
		program, list, ok := strings.Cut(line, ": ")
		if !ok || line[0] == '#' {
			continue
		}
		theirs[program] = make(map[string]bool)
		for _, name := range strings.Fields(list) {
			theirs[program][name], everywhere[name] = true, true
		}
	}
	common := param.NewSet()
	new(param.Common).Params(common)
	shared := make(map[string]bool)
	for _, d := range common.Declarations() {
		shared[d.Name] = true
	}
	for _, p := range daemons() {
		if p.Name == "nbdb_reindexd" {
			continue // since 3.11
		}
		if theirs[p.Name] == nil {
			t.Errorf("Postfix has no program %s", p.Name)
			continue
		}
		set := param.NewSet()
		p.New().Params(set)
		read := 0
		for _, d := range set.Declarations() {
			if shared[d.Name] || !everywhere[d.Name] {
				continue
			}
			read++
			if !theirs[p.Name][d.Name] && !theirs["library"][d.Name] && elsewhere[p.Name+" "+d.Name] == "" {
				t.Errorf("%s reads %s; in Postfix it does not", p.Name, d.Name)
			}
		}
		t.Logf("%-16s reads %3d of its %3d parameters", p.Name, read, len(theirs[p.Name]))
	}
}

// Every parameter of Postfix 3.11 is shown by postconf -d, with its default.
func TestAllParametersAreShown(t *testing.T) {
	s := ourPostconf(t)
	for _, name := range []string{"main.cf", "master.cf"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, status := s.run([]string{"-d"})
	if status != 0 || errs != "" {
		t.Fatalf("status %d: %s", status, errs)
	}
	shown := make(map[string]string)
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " =")
		shown[name] = strings.TrimPrefix(value, " ")
	}
	known := pending.Parameters()
	if len(known) != 873 {
		t.Errorf("%d parameters are known, want the 873 of Postfix 3.11", len(known))
	}
	for name, def := range known {
		got, ok := shown[name]
		switch {
		case !ok:
			t.Errorf("%s is not shown", name)
		case def == "(computed)" || different[name] != "":
		case got != strings.Join(strings.Fields(def), " "):
			t.Errorf("%s = %s; Postfix: %s", name, got, def)
		}
	}
	for name := range shown {
		if _, ok := known[name]; !ok && !ours[name] {
			t.Errorf("%s is shown; Postfix has no such parameter", name)
		}
	}
}
