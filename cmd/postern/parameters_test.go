package main

import (
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
