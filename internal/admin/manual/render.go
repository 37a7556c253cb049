package manual

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/admin/command"
)

// Roff writes the page in the language of man(7).
func (p *Page) Roff(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %s \"\" Postern\n.SH NAME\n%s \\- %s\n", strings.ToUpper(p.Name), p.Section, escape(p.Name), marked(p.Summary))
	for _, x := range p.Blocks {
		switch x.Kind {
		case Heading:
			fmt.Fprintf(&b, ".SH %s\n", escape(x.Text))
		case Paragraph:
			fmt.Fprintf(&b, ".PP\n%s\n", marked(x.Text))
		case Item:
			if x.Term == "" {
				fmt.Fprintf(&b, ".IP \\(bu 3\n%s\n", marked(x.Text))
			} else {
				fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", escape(x.Term), marked(x.Text))
			}
		case Code:
			fmt.Fprintf(&b, ".PP\n.nf\n.RS 4\n%s\n.RE\n.fi\n", escapeLines(x.Text))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escape makes text safe for roff.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`).Replace(text)
}

func escapeLines(text string) string {
	lines := strings.Split(escape(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// marked is escape with what stands in backquotes in bold.
func marked(text string) string {
	parts := strings.Split(text, "`")
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 && i < len(parts)-1 {
			b.WriteString(`\fB` + escape(part) + `\fR`)
		} else {
			b.WriteString(escape(part))
		}
	}
	if s := b.String(); strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return b.String()
}

// width is that of a line of text.
const width = 78

// Text writes the page for a terminal.
func (p *Page) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s(%s)\n\n    %s - %s\n", p.Name, p.Section, p.Name, command.Wrap(plain(p.Summary), "        ", width-7-len(p.Name)))
	last := Paragraph
	for _, x := range p.Blocks {
		if last != Item || x.Kind != Item {
			b.WriteByte('\n')
		}
		switch x.Kind {
		case Heading:
			b.WriteString(x.Text + "\n")
		case Paragraph:
			b.WriteString("    " + command.Wrap(plain(x.Text), "    ", width-4) + "\n")
		case Item:
			if x.Term == "" {
				b.WriteString("    - " + command.Wrap(plain(x.Text), "      ", width-6) + "\n")
				break
			}
			b.WriteString("    " + x.Term + "\n")
			if x.Text != "" {
				b.WriteString("        " + command.Wrap(plain(x.Text), "        ", width-8) + "\n")
			}
		case Code:
			b.WriteString("        " + strings.ReplaceAll(x.Text, "\n", "\n        ") + "\n")
		}
		last = x.Kind
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func plain(text string) string { return strings.ReplaceAll(text, "`", "") }
