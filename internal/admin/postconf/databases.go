package postconf

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/config/pending"
)

// sqlNames are what mysql, pgsql and sqlite tables share.
var sqlNames = []string{"domain", "query", "result_format", "expansion_limit", "table", "select_field", "where_field", "additional_conditions"}

// databaseNames are the parameters that the configuration file of a table may
// have: ldap_table(5) and its relatives.
var databaseNames = map[string][]string{
	"ldap": {"server_host", "server_port", "version", "timeout", "bind", "bind_dn", "bind_pw", "search_base", "scope",
		"query_filter", "result_attribute", "special_result_attribute", "leaf_result_attribute", "terminal_result_attribute",
		"result_format", "result_filter", "domain", "recursion_limit", "expansion_limit", "size_limit", "dereference",
		"chase_referrals", "debuglevel", "sasl_mechs", "sasl_realm", "sasl_authz_id", "sasl_minssf", "start_tls",
		"tls_ca_cert_dir", "tls_ca_cert_file", "tls_cert", "tls_key", "tls_require_cert", "tls_random_file",
		"tls_cipher_suite", "cache", "cache_expiry", "cache_size"},
	"mysql": append([]string{"hosts", "user", "password", "dbname", "charset", "idle_interval", "retry_interval", "require_result_set",
		"option_file", "option_group", "tls_cert_file", "tls_key_file", "tls_CAfile", "tls_CApath", "tls_ciphers", "tls_verify_cert"}, sqlNames...),
	"pgsql":  append([]string{"hosts", "user", "password", "dbname", "encoding", "idle_interval", "retry_interval", "select_function"}, sqlNames...),
	"sqlite": append([]string{"dbpath"}, sqlNames...),
	"memcache": {"memcache", "backup", "key_format", "key_digest", "domain", "flags", "ttl", "max_try", "retry_pause",
		"timeout", "line_size_limit", "data_size_limit"},
	"mongodb": {"uri", "dbname", "collection", "query_filter", "projection", "result_attribute", "result_format", "domain", "expansion_limit"},
}

// A databaseTable is a table with parameters of its own, as a setting names it.
type databaseTable struct{ typ, name string }

// maxNesting is how deep tables may stand in tables.
const maxNesting = 20

// eachTable calls each for the database tables that a text names.
func eachTable(text string, each func(databaseTable)) { nestedTables(text, each, maxNesting) }

func nestedTables(text string, each func(databaseTable), depth int) {
	if depth == 0 || !strings.Contains(text, ":") {
		return
	}
	for _, item := range param.Split(text) {
		if inner, braced, err := param.Unbrace(item); braced && err == nil {
			nestedTables(inner, each, depth-1)
			continue
		}
		typ, name, _ := strings.Cut(item, ":")
		for typ == "proxy" || typ == "debug" {
			typ, name, _ = strings.Cut(name, ":")
		}
		switch {
		case typ == "pipemap" || typ == "unionmap":
			nestedTables(name, each, depth-1)
		case databaseNames[typ] != nil:
			each(databaseTable{typ, strings.TrimRight(name, ",")})
		}
	}
}

// eachLegacy calls each for the main.cf parameters of a table that has no file:
// its name, "_", and the name of the parameter.
func (t databaseTable) eachLegacy(each func(name string)) {
	if strings.HasPrefix(t.name, "/") || strings.HasPrefix(t.name, ".") {
		return
	}
	for _, suffix := range databaseNames[t.typ] {
		each(t.name + "_" + suffix)
	}
}

// namesDatabase says whether a setting may name a database table at all.
func (p *postconf) namesDatabase() bool {
	named := func(value string) bool {
		for typ := range databaseNames {
			if strings.Contains(value, typ+":") {
				return true
			}
		}
		return false
	}
	for _, name := range p.main.Names() {
		if value, _, _ := p.main.Lookup(name); strings.Contains(value, ":") && named(value) {
			return true
		}
	}
	return slices.ContainsFunc(p.services, func(s mastercf.Service) bool {
		return slices.ContainsFunc(s.Overrides, func(o mastercf.Override) bool { return named(o.Value) })
	})
}

// databases looks at the tables of the settings that count.
func (p *postconf) databases(n *names) {
	if !p.namesDatabase() {
		return
	}
	seen := make(map[databaseTable]bool)
	look := func(src param.Source, value string) {
		if !strings.Contains(value, ":") && !strings.Contains(value, "$") {
			return
		}
		text, err := p.declared.Expand(src, value)
		if err != nil {
			return // told where the value is shown
		}
		eachTable(text, func(t databaseTable) {
			t.eachLegacy(func(name string) {
				if _, _, ok := p.main.Lookup(name); ok {
					n.user[name] = true
				}
			})
			if !seen[t] && strings.HasPrefix(t.name, "/") {
				seen[t] = true
				n.fail(n.checkFile(t))
			}
		})
	}
	for _, name := range p.main.Names() {
		if value, _, _ := p.main.Lookup(name); n.declares(name) || n.user[name] && !n.former[name] {
			look(p.main, value)
		}
	}
	for i := range p.services {
		for _, o := range p.services[i].Overrides {
			if n.declares(o.Name) {
				look(p.scope(&p.services[i]), o.Value)
			}
		}
	}
}

// checkFile reads the file of a table.
func (n *names) checkFile(t databaseTable) error {
	conf, err := maincf.LoadFile(t.name)
	if perr := new(fs.PathError); errors.As(err, &perr) {
		n.problem("open %q configuration %q: %s", t.typ, t.name, capital(perr.Err))
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range conf.Names() {
		if slices.Contains(databaseNames[t.typ], name) {
			continue
		}
		value, _, _ := conf.Lookup(name)
		n.problem("%s:%s: unused parameter: %s=%s%s", t.typ, t.name, name, value, nearest(name, slices.Values(databaseNames[t.typ]), conf))
	}
	return nil
}

// capital is an error of the system as the C library words it, which begins
// with a capital letter.
func capital(err error) string {
	text := err.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// worded is the text of err, that of a failed open as Postfix words it.
func worded(err error) string {
	if perr := new(fs.PathError); errors.As(err, &perr) && perr.Op == "open" {
		return fmt.Sprintf("open %s: %s", perr.Path, capital(perr.Err))
	}
	return err.Error()
}

// nearest names the parameter that was meant, if one is near.
func nearest(name string, known iter.Seq[string], conf *maincf.Config) string {
	near, ok := pending.Near(name, known)
	s, _ := conf.Get(name)
	switch {
	case !ok:
		return ""
	case s.Line > 0:
		return fmt.Sprintf("; did you mean %s (line %d)?", near, s.Line)
	}
	return fmt.Sprintf("; did you mean %s?", near)
}
