package bounce

import (
	"fmt"
	"io"
	"strings"

	"postern/internal/base/macro"
	"postern/internal/base/maillog"
	"postern/internal/config/maincf"
	"postern/internal/config/param"
	"postern/internal/service"
)

// ShowTemplates prints the templates of reports in the form of
// bounce_template_file: those in file, and built-in ones for what it does not
// have or where file is "". With expand it prints their texts as a report has
// them. A file that cannot be used is an error.
func ShowTemplates(w io.Writer, log *maillog.Logger, main *maincf.Config, file string, expand bool) error {
	common, s := &param.Common{}, &Server{log: log}
	set := param.NewSet()
	common.Params(set)
	s.cfg.Params(set)
	if err := set.Load(main); err != nil {
		return err
	}
	s.env = &service.Env{Config: main, Common: common}
	plain := s.plainTemplates()
	list := plain
	if file != "" {
		var err error
		if list, err = readTemplates(file, plain); err != nil {
			return err
		}
	}
	var texts []string
	for k := range list {
		t, origin := list[k], file
		if t.Text == nil || file == "" {
			t.Text, origin = plain[k].Text, builtinOrigin
		}
		if !expand {
			texts = append(texts, t.source())
			continue
		}
		if err := t.checkNames(s, set, origin); err != nil {
			return err
		}
		if err := t.expand(s, origin); err != nil {
			return fmt.Errorf("%s: %s: %w", origin, names[k], err)
		}
		for _, warning := range t.warnings {
			log.Warningf("%s", warning)
		}
		texts = append(texts, "expanded_"+strings.TrimSuffix(names[k], "_template")+"_text = <<EOF\n"+t.text())
	}
	_, err := io.WriteString(w, strings.Join(texts, "\n"))
	return err
}

// text is the lines with the mark that ends them.
func (t *template) text() string { return strings.Join(append(t.Text, "EOF", ""), "\n") }

// source is the template as it stands in a file.
func (t *template) source() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s = <<EOF\nCharset: %s\nFrom: %s\nSubject: %s\n", names[t.kind], t.Charset, t.From, t.Subject)
	if t.PostmasterSubject != "" {
		fmt.Fprintf(&b, "Postmaster-Subject: %s\n", t.PostmasterSubject)
	}
	return b.String() + "\n" + t.text()
}

// checkNames finds a line that refers to what is no parameter.
func (t *template) checkNames(s *Server, set *param.Set, origin string) error {
	known := make(map[string]bool)
	for _, d := range set.Declarations() {
		known[d.Name] = true
	}
	src := source{s: s, t: &template{kind: t.kind}, origin: origin}
	for _, line := range t.Text {
		unknown := ""
		err := macro.Names(line, func(name string) {
			if _, _, ok := src.Lookup(name); !ok && !known[name] && unknown == "" {
				unknown = name
			}
		})
		if err == nil && unknown != "" {
			err = fmt.Errorf("undefined $%s", unknown)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w in: %.200s", origin, names[t.kind], err, line)
		}
	}
	return nil
}
