package manual

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Page is one manual page, taken apart.
type Page struct {
	Name, Section string // "smtpd", "8"
	Summary       string // what the program does, in a line
	Blocks        []Block
}

// A Kind of block.
type Kind int

// The blocks that pages are made of. They are all that Markdown is used for.
const (
	Heading   Kind = iota // "## Text"
	Paragraph             // lines
	Item                  // "- `term`: text", or "- text"
	Code                  // lines indented by four blanks
)

// A Block is a piece of a page.
type Block struct {
	Kind Kind
	Term string // of an Item; may be empty
	Text string // without line ends, but for Code
}

// An Entry is a parameter in the list that is generated.
type Entry struct{ Name, Default, Summary string }

// Pages lists the pages of fsys, "smtpd.8", sorted.
func Pages(fsys fs.FS) ([]string, error) {
	files, err := fs.Glob(fsys, "man/*.md")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".md"))
	}
	slices.Sort(names)
	return names, nil
}

// Find returns the page called name, "smtpd" or "smtpd.8".
func Find(fsys fs.FS, name string) (*Page, error) {
	pages, err := Pages(fsys)
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		base, section, _ := strings.Cut(p, ".")
		if p != name && base != name {
			continue
		}
		text, err := fs.ReadFile(fsys, "man/"+p+".md")
		if err != nil {
			return nil, err
		}
		page, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("docs/man/%s.md: %w", p, err)
		}
		if page.Name != base || page.Section != section {
			return nil, fmt.Errorf("docs/man/%s.md: the title is %s(%s)", p, page.Name, page.Section)
		}
		return page, nil
	}
	return nil, fmt.Errorf("no page %.100q", name)
}

// parse takes a page apart.
func parse(text string) (*Page, error) {
	title, text, _ := strings.Cut(text, "\n")
	name, section, ok := strings.Cut(strings.TrimPrefix(title, "# "), "(")
	if !ok || !strings.HasSuffix(section, ")") {
		return nil, fmt.Errorf("want a title \"# name(section)\", got %.100q", title)
	}
	p := &Page{Name: name, Section: strings.TrimSuffix(section, ")")}
	for _, chunk := range strings.Split(text, "\n\n") {
		if chunk = strings.Trim(chunk, "\n"); chunk != "" {
			p.add(chunk)
		}
	}
	if len(p.Blocks) == 0 || p.Blocks[0].Kind != Paragraph {
		return nil, fmt.Errorf("no summary after the title")
	}
	p.Summary = strings.TrimSuffix(p.Blocks[0].Text, ".")
	p.Blocks = p.Blocks[1:]
	return p, nil
}

func (p *Page) add(chunk string) {
	switch {
	case strings.HasPrefix(chunk, "## "):
		head, rest, _ := strings.Cut(chunk, "\n")
		p.Blocks = append(p.Blocks, Block{Kind: Heading, Text: strings.ToUpper(strings.TrimPrefix(head, "## "))})
		if rest != "" {
			p.add(rest)
		}
	case strings.HasPrefix(chunk, "    "):
		lines := strings.Split(chunk, "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "    ")
		}
		p.Blocks = append(p.Blocks, Block{Kind: Code, Text: strings.Join(lines, "\n")})
	case strings.HasPrefix(chunk, "- "):
		for _, item := range strings.Split("\n"+chunk, "\n- ")[1:] {
			p.Blocks = append(p.Blocks, itemOf(joined(item)))
		}
	default:
		p.Blocks = append(p.Blocks, Block{Kind: Paragraph, Text: joined(chunk)})
	}
}

func joined(text string) string { return strings.Join(strings.Fields(text), " ") }

// itemOf takes "`term`: text" apart.
func itemOf(text string) Block {
	if strings.HasPrefix(text, "`") {
		if term, rest, ok := strings.Cut(text, "`: "); ok {
			return Block{Kind: Item, Term: strings.ReplaceAll(term, "`", ""), Text: rest}
		}
	}
	return Block{Kind: Item, Text: text}
}

// WithParameters puts the list of parameters before the files, or at the end.
func (p *Page) WithParameters(list []Entry) {
	if len(list) == 0 {
		return
	}
	add := []Block{{Kind: Heading, Text: "PARAMETERS"}, {Kind: Paragraph,
		Text: "Parameters of main.cf that this program reads, besides those that every program reads. `postern explain` says more of each."}}
	for _, e := range list {
		def := e.Default
		if def == "" {
			def = "empty"
		}
		add = append(add, Block{Kind: Item, Term: fmt.Sprintf("%s (%s)", e.Name, def), Text: e.Summary})
	}
	at := slices.IndexFunc(p.Blocks, func(b Block) bool { return b.Kind == Heading && (b.Text == "FILES" || b.Text == "SEE ALSO") })
	if at < 0 {
		at = len(p.Blocks)
	}
	p.Blocks = slices.Insert(p.Blocks, at, add...)
}
