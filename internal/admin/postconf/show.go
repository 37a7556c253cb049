package postconf

import (
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/param"
	"postern/internal/config/pending"
)

// A parameter is a name with what is known about it.
type parameter struct {
	param.Declaration
	class string // builtin, service, user
}

// showParameters prints parameters of main.cf: those that the arguments name,
// those that are set (-n), or all.
func (p *postconf) showParameters() error {
	known := p.known()
	names := p.args
	if len(names) == 0 {
		for name, x := range known {
			if p.classes["all"] || p.classes[x.class] {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for _, name := range names {
		x, ok := known[name]
		_, _, isSet := p.main.Lookup(name)
		if !ok {
			p.warn("%s: unknown parameter", name)
			continue
		}
		if p.set && !isSet {
			continue
		}
		text, err := p.text(x)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
		p.print(name, text)
	}
	if !p.defaults {
		p.warnUnused()
	}
	return nil
}

// known returns every parameter that there is: those that programs declare,
// those made of the names of services, those that the administrator has
// invented, and what Postfix knows and is set here.
func (p *postconf) known() map[string]parameter {
	known := make(map[string]parameter)
	for _, d := range p.declared.Declarations() {
		known[d.Name] = parameter{d, "builtin"}
	}
	for _, d := range p.serviceParameters() {
		if _, ok := known[d.Name]; !ok {
			known[d.Name] = parameter{d, "service"}
		}
	}
	others := pending.Parameters()
	referenced := pending.Referenced(p.main, p.overrideTexts()...)
	for _, name := range p.main.Names() {
		if _, ok := known[name]; ok {
			continue
		}
		if def, ok := others[name]; ok {
			known[name] = parameter{param.Declaration{Name: name, Default: def}, "builtin"}
		} else if referenced[name] {
			known[name] = parameter{param.Declaration{Name: name}, "user"}
		}
	}
	return known
}

// overrideTexts returns the values of the options -o in master.cf.
func (p *postconf) overrideTexts() []string {
	var texts []string
	for _, s := range p.services {
		for _, o := range s.Overrides {
			texts = append(texts, o.Value)
		}
	}
	return texts
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

// serviceParameters returns the parameters that the services of master.cf have.
func (p *postconf) serviceParameters() []param.Declaration {
	var list []param.Declaration
	for _, s := range p.services {
		if s.Type != "unix" {
			continue
		}
		if slices.Contains(p.Agents, s.Command) {
			for _, x := range suffixes {
				list = append(list, param.Declaration{Name: s.Name + x[0], Default: x[1]})
			}
		}
		if s.Command == "pipe" || s.Command == "spawn" {
			list = append(list, param.Declaration{Name: s.Name + "_time_limit", Default: "$command_time_limit"})
		}
	}
	return list
}

// text returns the value of a parameter as it is to be shown.
func (p *postconf) text(x parameter) (string, error) {
	text, _, ok := p.main.Lookup(x.Name)
	if !ok {
		text = x.Default
		if x.Computed != nil {
			var err error
			if text, err = p.declared.Default(p.main, x.Declaration); err != nil {
				return "", err
			}
			return p.declared.Expand(p.main, text)
		}
	}
	if !p.expand || x.Kind == param.Raw {
		return text, nil
	}
	return p.declared.Expand(p.main, text)
}

// print prints one line as the options ask for it.
func (p *postconf) print(name, text string) {
	text = strings.Join(words(text), " ")
	switch {
	case p.hideValue:
		fmt.Fprintln(p.Out, name)
	case p.hideName:
		fmt.Fprintln(p.Out, folded("", text, p.fold))
	default:
		fmt.Fprintln(p.Out, strings.TrimRight(folded(name+" = ", text, p.fold), " "))
	}
}

// maxColumn is the width that a line of master.cf must not have; a line of
// main.cf may have it (Postfix). indent is what the continuation starts with.
const (
	maxColumn = 80
	indent    = "    "
)

// words takes a text apart at blanks.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n\v\f", r) })
}

// folded puts words after head, in several lines if asked for.
func folded(head, text string, fold bool) string {
	if !fold || text == "" {
		return head + text
	}
	list := words(text)
	if head != "" && len(head)+len(list[0]) > maxColumn {
		return strings.TrimRight(head, " ") + "\n" + indent + joined(len(indent), list, maxColumn+1)
	}
	return head + joined(len(head), list, maxColumn+1)
}

// joined joins words by blanks, and by line ends where a line, which has
// column octets already, would reach the limit.
func joined(column int, words []string, limit int) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case column+1+len(w) < limit:
			b.WriteByte(' ')
			column++
		default:
			b.WriteString("\n" + indent)
			column = len(indent)
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String()
}
