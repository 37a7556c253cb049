package explain

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/admin/command"
)

// width is that of a line of text.
const width = 78

// print shows a parameter to a reader.
func (p Parameter) print(w io.Writer) {
	fmt.Fprintln(w, p.Name)
	row := func(head, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-9s %s\n", head, text)
		}
	}
	if p.Sort == "parameter" {
		kind := p.Kind
		if p.Unit != "" {
			kind += "; a number alone counts " + p.Unit
		}
		row("Kind", kind)
		def := p.Default
		if def == "" {
			def = "(empty)"
		}
		row("Default", def)
	} else {
		row("Kind", p.Sort)
		row("Argument", p.Argument)
	}
	if p.Value != nil {
		row("Set to", fmt.Sprintf("%s  (%s)", *p.Value, p.Where))
	}
	for _, o := range p.Overrides {
		row("For", fmt.Sprintf("%s: %s  (master.cf, line %d)", o.Service, o.Value, o.Line))
	}
	row("Read by", command.Wrap(strings.Join(p.Programs, ", "), "            ", width-12))
	if p.Since != "" {
		row("Since", "Postfix "+p.Since)
	}
	switch {
	case p.Implemented:
	case p.Refused:
		row("Status", "not built yet: a value that asks for it is refused at start")
	case p.Sort != "parameter":
		row("Status", "not built yet: a configuration that names it is refused")
	default:
		row("Status", "no program reads it yet: setting it has no effect, and the log says so at start")
	}
	printText(w, p.Text)
	if p.Example != "" {
		fmt.Fprintf(w, "\n      %s\n", strings.ReplaceAll(p.Example, "\n", "\n      "))
	}
}

// printText prints paragraphs and lists of Markdown.
func printText(w io.Writer, text string) {
	for _, paragraph := range strings.Split(strings.ReplaceAll(text, "`", ""), "\n\n") {
		if paragraph == "" {
			continue
		}
		fmt.Fprintln(w)
		for i, item := range strings.Split("\n"+paragraph, "\n- ") {
			switch item = strings.TrimSpace(item); {
			case item == "":
			case i == 0:
				fmt.Fprintf(w, "  %s\n", command.Wrap(item, "  ", width-2))
			default:
				fmt.Fprintf(w, "  - %s\n", command.Wrap(item, "    ", width-4))
			}
		}
	}
}
