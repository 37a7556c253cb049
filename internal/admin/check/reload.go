package check

import (
	"os"
	"slices"
)

// Reload says what a reload with the configuration directory dir is refused
// for: what would keep a service from starting, or mail from passing. What the
// system has lived with, or may mean, is left to Configuration.
//
// Nobody is asked over a network or a socket: a server that is down must not
// keep a configuration from coming into effect.
func Reload(dir string, k Knowledge) []Finding {
	c := &checker{Knowledge: k, dir: dir, seen: make(map[string]bool), reloading: true}
	if c.load() {
		c.checkListening()
		c.checkTLS()
		c.checkTables()
		c.checkServices()
	}
	return slices.DeleteFunc(c.findings, func(f Finding) bool { return f.Severity != Error })
}

// postfixOnly are programs of Postfix that are not built here. Their entries in
// master.cf were there before, and mail goes on without them.
var postfixOnly = [...]string{"dnsblog", "oqmgr", "postscreen", "qmqpd", "scache", "spawn", "tlsproxy"}

// excused says whether a reload leaves out a missing program.
func (c *checker) excused(program string) bool {
	return c.reloading && slices.Contains(postfixOnly[:], program)
}

// builtLater says whether a table that cannot be opened yet will be built from
// its text without anybody's doing. moved: it is of a type that takes the place
// of another (non_bdb_migration_level).
func (c *checker) builtLater(typ, path string, moved bool) bool {
	end, built := indexes[typ]
	if !c.reloading || !built || !moved && c.value(c.main, "auto_rebuild_tables") != "yes" {
		return false
	}
	if _, err := os.Stat(path + end); err == nil {
		return false // it is there and cannot be used
	}
	_, err := os.Stat(path)
	return err == nil
}
