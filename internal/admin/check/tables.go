package check

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/table"
	"postern/internal/table/migration"
)

// tableEndings end the names of parameters that list tables, or lists in which
// tables may stand.
var tableEndings = [...]string{
	"_maps", "_checks", "_restrictions", "_domains", "_networks", "_hosts", "_clients", "_users", "_access_list", "_filter",
	"_destinations", "_exceptions", "_exceptions_networks", "_footer_maps", "_reply_map", "_clientcerts",
}

// tableNames are others.
var tableNames = [...]string{"alias_database", "mydestination", "mynetworks", "defer_transports", "debug_peer_list"}

// listsTables says whether tables may stand in a parameter's value.
func listsTables(name string) bool {
	if strings.Contains(name, "_cache_") || strings.HasPrefix(name, "proxy_") || strings.HasSuffix(name, "_delivery_status_filter_maps") {
		return false
	}
	return slices.Contains(tableNames[:], name) ||
		slices.ContainsFunc(tableEndings[:], func(end string) bool { return strings.HasSuffix(name, end) })
}

// checkTables opens every table that a setting names.
func (c *checker) checkTables() {
	classes := param.Split(c.value(c.main, "smtpd_restriction_classes"))
	known := make(map[string]bool)
	for _, d := range c.set.Declarations() {
		known[d.Name] = true
	}
	look := func(conf *maincf.Config, name, service string) {
		if c.reloading && !known[name] && !slices.Contains(classes, name) {
			return // nothing reads it
		}
		if listsTables(name) || slices.Contains(classes, name) {
			c.checkTablesOf(conf, name, service)
		}
	}
	for _, name := range c.main.Names() {
		look(c.main, name, "")
	}
	for i := range c.services {
		s := &c.services[i]
		conf := c.overridden(s)
		for _, o := range s.Overrides {
			look(conf, o.Name, s.Key())
		}
	}
}

func (c *checker) checkTablesOf(conf *maincf.Config, name, service string) {
	items := param.Split(c.value(conf, name))
	for i, item := range items {
		if i > 0 && items[i-1] == "check_policy_service" {
			continue
		}
		spec := strings.TrimPrefix(item, "!")
		typ, rest, ok := strings.Cut(spec, ":")
		if !ok || rest == "" || strings.ContainsAny(typ, "/[]{}.@$=") {
			continue
		}
		if typ == "unix" && !strings.HasSuffix(rest, ".byname") && !strings.HasSuffix(rest, ".byuid") {
			continue // a socket
		}
		if f, bad := c.openTable(spec, tablesOnly(name)); bad {
			f.Service = service
			c.add(at(conf, name, c.mainFile(), f))
		}
	}
}

// tablesOnly says whether what has a colon in a parameter's value is a table,
// and not a host and its port.
func tablesOnly(name string) bool {
	return strings.HasSuffix(name, "_maps") || strings.HasSuffix(name, "_checks") ||
		strings.HasPrefix(name, "smtpd_") && strings.HasSuffix(name, "_restrictions")
}

// What is said of a table type that does not exist.
const (
	unsupported = "unsupported dictionary type: "
	typesRemedy = `"postconf -m" lists the types`
)

// openTable opens one table; sure says that it is one.
func (c *checker) openTable(spec string, sure bool) (Finding, bool) {
	said := &complaints{}
	o := table.NewOpener(c.Tables)
	o.Log, o.DefaultType, o.ErrorIsFatal = said, c.common.DefaultDatabaseType, true
	o.Setting = c.set.Settings(c.main)
	if err := migration.Apply(o, &c.common, nil); err != nil {
		return Finding{Severity: Error, Message: fmt.Sprintf("table %s: %v", spec, err)}, true
	}
	inner := *o
	o.Proxy = func(spec string, f table.Flags) (table.Table, error) { return inner.With(f).Open(spec) }
	o.Setting = c.set.Settings(c.main)
	defer o.Close()
	typ, path, _ := strings.Cut(strings.TrimPrefix(spec, "proxy:"), ":")
	if _, known := o.Lookup(typ); !known && typ != "proxy" {
		if !sure {
			return Finding{}, false // a host and a port, or the like
		}
		return Finding{Severity: Error, Message: fmt.Sprintf("table %s: %s%s", spec, unsupported, typ), Remedy: typesRemedy}, true
	}
	moved := false
	if o.Redirect != nil {
		if to, err := o.Redirect(typ, path); err == nil {
			typ, moved = to, to != typ
		}
	}
	if _, err := o.Open(spec); err != nil {
		if c.builtLater(typ, path, moved) {
			return Finding{}, false
		}
		return Finding{Severity: Error, Message: fmt.Sprintf("table %s: %v", spec, err), Remedy: remedyFor(typ, path)}, true
	}
	if len(said.texts) > 0 {
		return Finding{Severity: Warning, Message: fmt.Sprintf("table %s: %s", spec, said.texts[0])}, true
	}
	if f, old := stale(typ, path); old {
		return f, true
	}
	return Finding{}, false
}

// indexes are the types that are built from a text file, with the ends of
// their files' names.
var indexes = map[string]string{"hash": ".db", "btree": ".db", "cdb": ".cdb", "lmdb": ".lmdb"}

func remedyFor(typ, path string) string {
	end, built := indexes[typ]
	if !built {
		return "correct the name, or make the file"
	}
	if _, err := os.Stat(path + end); err == nil {
		return fmt.Sprintf("rebuild %s%s: postmap %s:%s", path, end, typ, path)
	}
	if _, err := os.Stat(path); err == nil {
		return fmt.Sprintf("build it: postmap %s:%s (postalias for aliases)", typ, path)
	}
	return fmt.Sprintf("make the file %s and run: postmap %s:%s", path, typ, path)
}

// stale says whether a table is older than the text that it was built from.
func stale(typ, path string) (Finding, bool) {
	end, built := indexes[typ]
	if !built {
		return Finding{}, false
	}
	source, err := os.Stat(path)
	if err != nil {
		return Finding{}, false
	}
	index, err := os.Stat(path + end)
	if err != nil || !source.ModTime().After(index.ModTime()) {
		return Finding{}, false
	}
	return Finding{Severity: Warning, Message: fmt.Sprintf("table %s:%s: %s is newer than %s%s", typ, path, path, path, end),
		Remedy: fmt.Sprintf("run: postmap %s:%s (postalias for aliases)", typ, path)}, true
}

// complaints keeps what a table says while it is opened.
type complaints struct{ texts []string }

func (c *complaints) Infof(string, ...any) {}
func (c *complaints) Warningf(format string, args ...any) {
	c.texts = append(c.texts, fmt.Sprintf(format, args...))
}
func (c *complaints) Errorf(format string, args ...any) {
	c.texts = append(c.texts, fmt.Sprintf(format, args...))
}
