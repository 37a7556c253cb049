package postconf

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config/param"
)

// showParameters prints parameters of main.cf: those that the arguments name,
// those that are set (-n), or all of the classes.
func (p *postconf) showParameters() error {
	list := p.args
	if len(list) == 0 {
		for name := range p.known.builtin {
			list = append(list, name)
		}
		for name := range p.known.service {
			list = append(list, name)
		}
		for name := range p.known.user {
			list = append(list, name)
		}
		slices.Sort(list)
		list = slices.Compact(list)
	}
	for _, name := range list {
		class, d := p.known.class(name)
		_, where, isSet := p.main.Lookup(name)
		switch {
		case class == "":
			p.Log.Warningf("%s: unknown parameter", name)
			continue
		case len(p.args) == 0 && !p.classes["all"] && !p.classes[class], p.with('n') && !isSet:
			continue
		}
		text, err := p.text(d)
		if err != nil && isSet {
			return fmt.Errorf("%s: parameter %s: %w", where, name, err)
		}
		if err != nil {
			return fmt.Errorf("default of %s: %w", name, err)
		}
		p.print(name, text)
	}
	return nil
}

// class says what kind of name a parameter has; "" for one that is not known.
func (n *names) class(name string) (string, param.Declaration) {
	if d, ok := n.service[name]; ok {
		return "service", d
	}
	if d, ok := n.builtin[name]; ok {
		return "builtin", d
	}
	if n.user[name] {
		return "user", param.Declaration{Name: name}
	}
	return "", param.Declaration{}
}

// text returns the value of a parameter as it is to be shown.
func (p *postconf) text(d param.Declaration) (string, error) {
	text, _, ok := p.main.Lookup(d.Name)
	if !ok {
		text = d.Default
		if d.Computed != nil {
			var err error
			if text, err = p.declared.Default(p.main, d); err != nil {
				return "", err
			}
			return p.declared.Expand(p.main, text)
		}
	}
	if !p.with('x') || raw[d.Name] {
		return text, nil
	}
	return p.declared.Expand(p.main, text)
}

// print prints one name with its value as the options ask for it.
func (p *postconf) print(name, text string) {
	text = strings.Join(words(text), " ")
	switch {
	case p.with('j'):
		p.printJSON(name, text)
	case p.with('H'):
		fmt.Fprintln(p.Out, name)
	case p.with('h'):
		fmt.Fprintln(p.Out, folded("", text, p.with('f')))
	default:
		fmt.Fprintln(p.Out, strings.TrimRight(folded(name+" = ", text, p.with('f')), " "))
	}
}

// printJSON prints one object, or with -h or -H only one of its halves, in a
// line of its own.
func (p *postconf) printJSON(name, text string) {
	switch {
	case p.with('H'):
		fmt.Fprintln(p.Out, quoted(name))
	case p.with('h'):
		fmt.Fprintln(p.Out, quoted(text))
	default:
		fmt.Fprintf(p.Out, "{%s: %s}\n", quoted(name), quoted(text))
	}
}

// quoted is a JSON string.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// maxColumn is the width that a line of master.cf must not have; a line of
// main.cf may have it (Postfix). indent is what the continuation starts with.
const (
	maxColumn = 80
	indent    = "    "
)

// words takes a text apart at blanks.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) })
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
