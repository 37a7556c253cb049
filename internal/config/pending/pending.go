// Package pending knows the main.cf parameters of Postfix 3.11, so that a
// setting that nothing reads is not accepted silently.
//
// A parameter that Postfix knows and no program here declares is pending: it
// has no effect yet, and whoever sets it is told so.
package pending

import (
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"postern/internal/config/maincf"
	"postern/internal/config/param"
)

// The list has the names and defaults of Postfix 3.11, a tab between them.
//
//go:embed parameters.txt
var parameters string

// Parameters returns the names and defaults that Postfix 3.11 knows. A default
// that depends on the machine is "(computed)".
func Parameters() map[string]string {
	known := make(map[string]string)
	for line := range strings.Lines(parameters) {
		if name, def, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			known[name] = def
		}
	}
	return known
}

// Declare declares in set, as texts, what Postfix knows and set does not.
func Declare(set *param.Set) {
	have := make(map[string]bool)
	for _, d := range set.Declarations() {
		have[d.Name] = true
	}
	unused := new(string)
	for line := range strings.Lines(parameters) {
		if name, def, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && !have[name] {
			set.Str(unused, name, def)
		}
	}
}

// informative are the parameters by which Postfix tells installation scripts
// where things are. No program of either system acts on them.
var informative = map[string]bool{
	"html_directory": true, "manpage_directory": true, "readme_directory": true, "sample_directory": true,
	"sendmail_path": true, "mailq_path": true, "newaliases_path": true, "shlib_directory": true,
	"meta_directory": true, "openssl_path": true, "debugger_command": true,
}

// absent are features that do not exist here; the settings that turn them off
// have their effect.
var absent = map[string]string{
	"biff": "no", // notices to users that are logged in
}

// Warnings returns a line for every setting of c that has no effect, as Unused
// and Unimplemented do. declared says whether some program reads a parameter;
// more are texts outside c that may refer to names in it: the options -o of
// master.cf.
func Warnings(c *maincf.Config, declared func(name string) bool, more ...string) []string {
	return append(Unimplemented(c, declared), Unused(c, declared, more...)...)
}

// Unimplemented returns a line for every parameter of Postfix that is set and
// that nothing reads yet. A setting that asks for what is done anyway is fine.
func Unimplemented(c *maincf.Config, declared func(name string) bool) []string {
	known := Parameters()
	var list []string
	for _, name := range c.Names() {
		def, ok := known[name]
		if !ok || declared(name) || informative[name] {
			continue
		}
		if s, _ := c.Get(name); s.Value != def && (absent[name] == "" || s.Value != absent[name]) {
			list = append(list, fmt.Sprintf("%s: parameter %s is not implemented yet: its value has no effect: %s", s.Where, name, s.Value))
		}
	}
	return list
}

// Unused returns a line for every name that nothing knows or refers to; it is
// often misspelt.
func Unused(c *maincf.Config, declared func(name string) bool, more ...string) []string {
	known := Parameters()
	used := references(c, more)
	var list []string
	for _, name := range c.Names() {
		if _, ok := known[name]; ok || declared(name) || used[name] || perService(name) {
			continue
		}
		s, _ := c.Get(name)
		where := c.Path()
		if s.Line == 0 {
			where = s.Where // an override
		}
		list = append(list, fmt.Sprintf("%s: unused parameter: %s=%s%s", where, name, s.Value, suggestion(s, known)))
	}
	return list
}

// Referenced returns the names that settings of c, or other texts, refer to as
// $name, or that are names of restriction classes. Defaults of Postfix refer to
// the former names of parameters, which still count.
func Referenced(c *maincf.Config, more ...string) map[string]bool {
	return references(c, more)
}

func references(c *maincf.Config, texts []string) map[string]bool {
	used := make(map[string]bool)
	texts = append([]string{parameters}, texts...)
	texts = append(texts, c.Values()...) // what one service overrides, another may use
	if s, ok := c.Get("smtpd_restriction_classes"); ok {
		for _, class := range param.Split(s.Value) {
			used[class] = true
		}
	}
	for _, text := range texts {
		for part := text; ; {
			_, after, ok := strings.Cut(part, "$")
			if !ok {
				break
			}
			part = strings.TrimLeft(after, "{( ")
			n := 0
			for n < len(part) && (part[n] == '_' || isAlnum(part[n])) {
				n++
			}
			used[part[:n]] = true
		}
		tableParameters(c, text, used)
	}
	return used
}

// databases are the types of tables whose parameters may stand in main.cf, as
// the name of the table, "_", and the name of the parameter.
var databases = [...]string{"ldap", "memcache", "mongodb", "mysql", "pgsql", "sqlite"}

// tableParameters marks the parameters of the tables in databases that text
// names in the old form, "mysql:name".
func tableParameters(c *maincf.Config, text string, used map[string]bool) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n{}=!", r) }) {
		typ, name, ok := strings.Cut(strings.TrimPrefix(word, "proxy:"), ":")
		if !ok || name == "" || name[0] == '/' || name[0] == '.' || !slices.Contains(databases[:], typ) {
			continue
		}
		for _, n := range c.Names() {
			if strings.HasPrefix(n, name+"_") {
				used[n] = true
			}
		}
	}
}

func isAlnum(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// serviceSuffixes end the parameters that Postfix makes of a transport's name.
var serviceSuffixes = [...]string{
	"_recipient_limit", "_extra_recipient_limit", "_recipient_refill_limit", "_recipient_refill_delay",
	"_delivery_slot_cost", "_delivery_slot_loan", "_delivery_slot_discount", "_minimum_delivery_slots",
	"_initial_destination_concurrency", "_destination_concurrency_limit", "_destination_recipient_limit",
	"_destination_concurrency_positive_feedback", "_destination_concurrency_negative_feedback",
	"_destination_concurrency_failed_cohort_limit", "_destination_rate_delay", "_transport_rate_delay",
	"_time_limit",
}

func perService(name string) bool {
	for _, s := range serviceSuffixes {
		if strings.HasSuffix(name, s) && len(name) > len(s) {
			return true
		}
	}
	return false
}

// suggestion names the known parameter that is near, if any.
func suggestion(s maincf.Setting, known map[string]string) string {
	near, ok := Near(s.Name, maps.Keys(known))
	switch {
	case !ok:
		return ""
	case s.Line == 0:
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return fmt.Sprintf("; did you mean %s (line %d)?", near, s.Line)
}

// Near returns the first in the order of the alphabet of the names that are one
// edit away from name.
func Near(name string, known iter.Seq[string]) (near string, ok bool) {
	for k := range known {
		if (!ok || k < near) && oneEdit(name, k) {
			near, ok = k, true
		}
	}
	return near, ok
}

// oneEdit says whether a becomes b by inserting, removing, replacing or
// swapping at one place.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a) {
		return true
	}
	return a[i+1:] == b[i+1:] ||
		i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
