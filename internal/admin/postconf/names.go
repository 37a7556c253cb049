package postconf

import (
	"fmt"
	"slices"

	"postern/internal/base/macro"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
	"postern/internal/config/pending"
)

// Names is every parameter that there is: those that are built in, those made
// of the names of services, and those that the administrator has invented.
type names struct {
	builtin  map[string]param.Declaration
	service  map[string]param.Declaration
	former   map[string]bool // names that defaults refer to: what a parameter was called once
	user     map[string]bool // set in main.cf and referred to, or of an old name
	problems []string        // names that are referred to and not there
	failed   error           // a reference that cannot be read
}

// suffixes make parameters of the names of transports, and their defaults.
var suffixes = [...][2]string{
	{"_recipient_limit", "$default_recipient_limit"},
	{"_extra_recipient_limit", "$default_extra_recipient_limit"},
	{"_recipient_refill_limit", "$default_recipient_refill_limit"},
	{"_recipient_refill_delay", "$default_recipient_refill_delay"},
	{"_delivery_slot_cost", "$default_delivery_slot_cost"},
	{"_delivery_slot_loan", "$default_delivery_slot_loan"},
	{"_delivery_slot_discount", "$default_delivery_slot_discount"},
	{"_minimum_delivery_slots", "$default_minimum_delivery_slots"},
	{"_initial_destination_concurrency", "$initial_destination_concurrency"},
	{"_destination_concurrency_limit", "$default_destination_concurrency_limit"},
	{"_destination_recipient_limit", "$default_destination_recipient_limit"},
	{"_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback"},
	{"_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback"},
	{"_destination_concurrency_failed_cohort_limit", "$default_destination_concurrency_failed_cohort_limit"},
	{"_destination_rate_delay", "$default_destination_rate_delay"},
	{"_transport_rate_delay", "$default_transport_rate_delay"},
}

// raw are the parameters whose value is expanded by what reads it, when it does;
// -x leaves them as they are (Postfix).
var raw = map[string]bool{
	"command_execution_directory": true, "default_rbl_reply": true, "forward_path": true, "luser_relay": true,
	"mailbox_command": true, "postscreen_expansion_filter": true, "postscreen_reject_footer": true,
	"smtpd_expansion_filter": true, "smtpd_reject_footer": true,
}

// collect finds the names, and what is wrong with references to them.
func (p *postconf) collect() *names {
	n := &names{builtin: make(map[string]param.Declaration), service: make(map[string]param.Declaration),
		former: make(map[string]bool), user: make(map[string]bool)}
	postfix := pending.Parameters()
	for _, d := range p.declared.Declarations() {
		_, current := postfix[d.Name]
		if _, old := pending.Deprecated(d.Name); old && !current {
			n.former[d.Name] = true
			continue
		}
		n.builtin[d.Name] = d
	}
	for _, d := range n.builtin {
		if raw[d.Name] {
			continue
		}
		n.fail(eachName(d.Default, func(name string) {
			if _, ok := n.builtin[name]; !ok {
				n.former[name] = true
			}
		}))
	}
	for i := range p.services {
		for _, d := range p.serviceParameters(&p.services[i]) {
			if b, ok := n.builtin[d.Name]; ok {
				d = b // Postfix: local_destination_concurrency_limit has a default of its own
			}
			n.service[d.Name] = d
		}
	}
	unused := new(string)
	for _, d := range n.service {
		if _, ok := n.builtin[d.Name]; !ok {
			p.declared.Str(unused, d.Name, d.Default)
		}
	}
	if !p.with('d') {
		n.fromMain(p)
		for i := range p.services {
			n.fromService(p, &p.services[i])
		}
		p.databases(n)
	}
	return n
}

// fail keeps the first error.
func (n *names) fail(err error) {
	if n.failed == nil {
		n.failed = err
	}
}

// serviceParameters returns the parameters that a service of master.cf has.
func (p *postconf) serviceParameters(s *mastercf.Service) []param.Declaration {
	var list []param.Declaration
	if slices.Contains(p.Agents, s.Command) {
		for _, x := range suffixes {
			list = append(list, param.Declaration{Name: s.Name + x[0], Default: x[1]})
		}
	}
	if s.Command == "pipe" || s.Command == "spawn" {
		list = append(list, param.Declaration{Name: s.Name + "_time_limit", Default: "$command_time_limit"})
	}
	return list
}

// eachName calls each for the names that a text refers to.
func eachName(text string, each func(string)) error {
	err := macro.Names(text, each)
	if err != nil {
		return fmt.Errorf("%w in %.100q", err, text)
	}
	return nil
}

// declares says whether a name is one that Postfix or a service has.
func (n *names) declares(name string) bool {
	_, builtin := n.builtin[name]
	_, service := n.service[name]
	return builtin || service
}

// fromMain finds what the settings of main.cf refer to. A name counts as there
// when any service sets it.
func (n *names) fromMain(p *postconf) {
	local := make(map[string]bool)
	for i := range p.services {
		for _, o := range p.services[i].Overrides {
			local[o.Name] = true
		}
	}
	refer := func(name string) {
		_, _, isSet := p.main.Lookup(name)
		switch {
		case n.declares(name):
		case isSet:
			n.user[name] = true
		case n.former[name] || local[name]:
		default:
			n.problem("%s: undefined parameter: %s", p.main.Path(), name)
		}
	}
	for _, name := range p.main.Names() {
		value, where, _ := p.main.Lookup(name)
		if n.former[name] {
			n.user[name] = true
		}
		if raw[name] {
			continue
		}
		if err := eachName(value, refer); err != nil {
			n.wrong(p, p.main, value, fmt.Errorf("%s: parameter %s: %w", where, name, err))
		}
	}
	classes, err := p.declared.Expand(p.main, "$smtpd_restriction_classes")
	n.fail(err)
	for _, class := range param.Split(classes) {
		refer(class)
	}
}

// wrong notes a reference in a value that cannot be read. Postfix: in an
// alternative that is not taken it does no harm.
func (n *names) wrong(p *postconf, src param.Source, value string, err error) {
	if _, harm := p.declared.Expand(src, value); harm != nil {
		n.fail(err)
		return
	}
	n.problem("%v", err)
}

func (n *names) problem(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(n.problems, text) {
		n.problems = append(n.problems, text)
	}
}

// fromService finds what the options -o of a service refer to: first to one
// another, then to main.cf.
func (n *names) fromService(p *postconf, s *mastercf.Service) {
	own := overridden(s)
	refer := func(name string) {
		_, _, isSet := p.main.Lookup(name)
		switch _, ok := own[name]; {
		case ok || n.declares(name) || n.former[name] && !isSet:
		case isSet:
			n.user[name] = true
		default:
			n.problem("%s: undefined parameter: %s", p.masterPath(), name)
		}
	}
	for _, o := range s.Overrides {
		if raw[o.Name] {
			continue
		}
		if err := eachName(o.Value, refer); err != nil {
			n.wrong(p, p.scope(s), o.Value, fmt.Errorf("%s, line %d: parameter %s: %w", p.masterPath(), s.Line, o.Name, err))
		}
	}
	_, ownClasses := own["smtpd_restriction_classes"]
	for class := range p.classesOf(s) {
		if ownClasses {
			refer(class)
		}
	}
}

// classesOf returns the names of the restriction classes of a service.
func (p *postconf) classesOf(s *mastercf.Service) map[string]bool {
	classes := make(map[string]bool)
	list, err := p.declared.Expand(p.scope(s), "$smtpd_restriction_classes")
	if err != nil {
		return classes // the same error comes from the setting itself
	}
	for _, class := range param.Split(list) {
		classes[class] = true
	}
	return classes
}

// overridden returns the options -o of a service by their names; the last counts.
func overridden(s *mastercf.Service) map[string]string {
	own := make(map[string]string)
	for _, o := range s.Overrides {
		own[o.Name] = o.Value
	}
	return own
}

// uses returns the names among the options -o of a service that something
// reads: a program, or another option.
func (n *names) uses(p *postconf, s *mastercf.Service) map[string]bool {
	used := p.classesOf(s)
	for _, o := range s.Overrides {
		if n.declares(o.Name) || n.former[o.Name] {
			used[o.Name] = true
		}
		_ = eachName(o.Value, func(name string) { used[name] = true }) // told before
	}
	for _, name := range p.main.Names() {
		value, _, _ := p.main.Lookup(name)
		_ = eachName(value, func(name string) { used[name] = true })
	}
	for _, o := range s.Overrides {
		if text, err := p.declared.Expand(p.scope(s), o.Value); err == nil {
			eachTable(text, func(t databaseTable) { t.eachLegacy(func(name string) { used[name] = true }) })
		}
	}
	return used
}
