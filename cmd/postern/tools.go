package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"postern/docs"
	"postern/internal/admin/check"
	"postern/internal/admin/diffconfig"
	"postern/internal/admin/explain"
	"postern/internal/admin/manual"
	"postern/internal/admin/postalias"
	"postern/internal/admin/postfix"
	"postern/internal/admin/postmap"
	"postern/internal/admin/simulate"
	lookup "postern/internal/admin/tables"
	"postern/internal/config/maincf"
	"postern/internal/config/pending"
	"postern/internal/deliver/local"
	"postern/internal/deliver/smtpclient"
	"postern/internal/master"
	"postern/internal/receive/cleanup"
	"postern/internal/receive/smtpd"
	"postern/internal/receive/smtpd/restrict"
	"postern/internal/service"
)

// checked is what "postern check" and "postfix check" are told of the programs.
func checked() check.Knowledge {
	tell := warnings()
	return check.Knowledge{
		Programs: daemons(), Tables: tables(), Parameters: parameters(), Listen: master.Check,
		Unknown: func(c *maincf.Config, texts []string) []string { return tell(c, texts) },
	}
}

// diffConfig is the command that compares configurations.
func diffConfig(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var list []diffconfig.Reader
	for _, r := range readers() {
		list = append(list, diffconfig.Reader{Name: r.Name, Params: r.Params})
	}
	return diffconfig.Main(args, stdout, stderr, list)
}

// checkConfig is the command "postern check".
func checkConfig(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return check.Main(args, stdout, stderr, checked())
}

// listTables is the command "postern tables".
func listTables(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	k := lookup.Knowledge{Parameters: parameters(), Types: tables(), Postmap: postmap.Strict, Postalias: postalias.Strict}
	for _, p := range daemons() {
		k.Programs = append(k.Programs, lookup.Program{Name: p.Name, Params: p.New().Params})
	}
	return lookup.Main(args, stdout, stderr, k)
}

// controlSystem is the command postfix.
func controlSystem(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return postfix.Main(args, stdin, stdout, stderr, checked())
}

// reference is what "postern explain" is told.
func reference() explain.Knowledge {
	k := explain.Knowledge{Programs: readers(), Parameters: pending.Parameters(), Refused: smtpclient.Refused(), Reference: docs.Pages}
	for _, r := range restrict.Names() {
		k.Restrictions = append(k.Restrictions, explain.Other{Name: r.Name, Argument: r.Argument, Built: r.Built})
	}
	for _, t := range tables() {
		k.Tables = append(k.Tables, explain.Other{Name: t.Name, Built: true})
	}
	return k
}

// explainNames is the command that shows the reference.
func explainNames(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return explain.Main(args, stdout, stderr, reference())
}

// showManual is the command that shows manual pages.
func showManual(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return manual.Main(args, stdout, stderr, manual.Knowledge{
		FS: docs.Pages, Parameters: parametersOf, Reference: allParameters, Overview: help,
	})
}

// parametersOf lists what a program reads besides what every program reads,
// with the first sentence of the reference.
func parametersOf(program string) []manual.Entry {
	list, err := reference().All()
	if err != nil {
		return nil // a test reads the reference
	}
	var entries []manual.Entry
	for _, p := range list {
		if slices.Contains(p.Programs, program) {
			entries = append(entries, manual.Entry{Name: p.Name, Default: p.Default, Summary: sentence(p.Text)})
		}
	}
	return entries
}

// sentence is the first of a text.
func sentence(text string) string {
	text = strings.Join(strings.Fields(strings.Split(text, "\n\n")[0]), " ")
	if first, _, ok := strings.Cut(text, ". "); ok {
		return first + "."
	}
	return text
}

// allParameters is the whole reference.
func allParameters() []manual.Entry {
	list, err := reference().All()
	if err != nil {
		return nil // a test reads the reference
	}
	var entries []manual.Entry
	for _, p := range list {
		text := p.Text
		if p.Example != "" {
			text += "\n\n    " + strings.ReplaceAll(p.Example, "\n", "\n    ")
		}
		entries = append(entries, manual.Entry{Name: p.Name, Default: p.Default, Summary: text})
	}
	return entries
}

// simulateSession is the command "postern simulate".
func simulateSession(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return simulate.Main(args, stdin, stdout, stderr, simulate.Knowledge{
		Programs: daemons(), Tables: tables(), Rehearse: rehearse, Watch: watchRewriting, Deliver: deliverLocally})
}

// rehearse plays a session with the SMTP server.
func rehearse(ctx context.Context, server service.Service, q simulate.Query) simulate.Rehearsed {
	played := server.(*smtpd.Server).Rehearse(ctx, smtpd.Rehearsal(q))
	r := simulate.Rehearsed{ProxyFilter: played.ProxyFilter}
	for _, e := range played.Exchanges {
		r.Session = append(r.Session, simulate.Exchange(e))
	}
	for _, m := range played.Milters {
		r.Milters = append(r.Milters, simulate.Milter(m))
	}
	return r
}

// deliverLocally has the local service say what it makes of a recipient.
func deliverLocally(ctx context.Context, server service.Service, d simulate.Delivery) *simulate.Step {
	step := localStep(server.(*local.Service).Rehearse(ctx, local.Rehearsal(d)))
	return &step
}

func localStep(s *local.Step) simulate.Step {
	to := simulate.Step{
		Kind: string(s.Kind), Name: s.Name, Result: s.Result, Note: s.Note,
		Forwarded: s.Forwarded, Sender: s.Sender, Delivered: s.Delivered,
	}
	for _, next := range s.Steps {
		to.Steps = append(to.Steps, localStep(next))
	}
	return to
}

// watchRewriting has the cleanup service tell how it rewrites addresses.
func watchRewriting(server service.Service, each func(simulate.Rewriting)) {
	server.(*cleanup.Server).Observe(func(r cleanup.Rewriting) { each(simulate.Rewriting(r)) })
}
