// Package manual is the command "postern help": the manual pages, which are
// Markdown in docs/man, as text for a terminal or as roff for man(1).
//
// Pages use a small part of Markdown: headings, paragraphs, lists of options,
// and indented lines. What programs declare, their parameters, is added when a
// page is shown, so that it cannot drift.
package manual

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"postern/internal/admin/command"
)

const usage = "usage: postern help [--roff] [page]; postern help --pages"

// Knowledge is what the command is told.
type Knowledge struct {
	FS         fs.FS                        // man/*.md
	Parameters func(program string) []Entry // what a program reads besides what every program reads
	Reference  func() []Entry               // all parameters, with their whole text
	Overview   func(w io.Writer)            // what is shown without a page
}

// Reference is the page made of the reference of parameters.
const Reference = "postconf.5"

// Main runs the command with args, its name first, and returns its exit status.
func Main(args []string, stdout, stderr io.Writer, k Knowledge) int {
	roff, pages := false, false
	var names []string
	for _, arg := range args[1:] {
		switch {
		case arg == "--roff":
			roff = true
		case arg == "--pages":
			pages = true
		case strings.HasPrefix(arg, "-"):
			fmt.Fprintf(stderr, "postern help: %s\n", usage)
			return command.Usage
		default:
			names = append(names, arg)
		}
	}
	var err error
	switch {
	case pages:
		err = k.list(stdout)
	case len(names) == 0:
		k.Overview(stdout)
	default:
		for _, name := range names {
			if err = k.show(stdout, name, roff); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "postern help: %v\n", err)
		return command.Failure
	}
	return command.OK
}

// list prints the names of the pages with their sections.
func (k *Knowledge) list(w io.Writer) error {
	pages, err := Pages(k.FS)
	if err != nil {
		return err
	}
	for _, p := range append(pages, Reference) {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	return nil
}

func (k *Knowledge) show(w io.Writer, name string, roff bool) error {
	page, err := k.page(name)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if roff {
		err = page.Roff(&b)
	} else {
		err = page.Text(&b)
	}
	if err == nil {
		_, err = w.Write(b.Bytes())
	}
	return err
}

func (k *Knowledge) page(name string) (*Page, error) {
	if name == Reference || name == "main.cf" {
		p := &Page{Name: "postconf", Section: "5", Summary: "the parameters of main.cf"}
		for _, e := range k.Reference() {
			def := e.Default
			if def == "" {
				def = "empty"
			}
			p.Blocks = append(p.Blocks, Block{Kind: Heading, Text: fmt.Sprintf("%s (%s)", e.Name, def)})
			q := Page{}
			for _, chunk := range strings.Split(e.Summary, "\n\n") {
				if chunk = strings.Trim(chunk, "\n"); chunk != "" {
					q.add(chunk)
				}
			}
			p.Blocks = append(p.Blocks, q.Blocks...)
		}
		return p, nil
	}
	page, err := Find(k.FS, name)
	if err != nil {
		return nil, err
	}
	page.WithParameters(k.Parameters(page.Name))
	return page, nil
}
