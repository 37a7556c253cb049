package main

import (
	"io"

	setgid "postern/internal/admin/command"
	"postern/internal/admin/explain"
	"postern/internal/admin/postalias"
	"postern/internal/admin/postcat"
	"postern/internal/admin/postconf"
	"postern/internal/admin/postfix"
	"postern/internal/admin/postkick"
	"postern/internal/admin/postlock"
	"postern/internal/admin/postlog"
	"postern/internal/admin/postmap"
	"postern/internal/admin/postmulti"
	"postern/internal/admin/postsuper"
	"postern/internal/admin/qshape"
	"postern/internal/admin/sendmail"
	"postern/internal/admin/user"
	"postern/internal/admin/why"
	"postern/internal/config/param"
	"postern/internal/deliver/discard"
	"postern/internal/deliver/errord"
	"postern/internal/deliver/local"
	"postern/internal/deliver/pipe"
	"postern/internal/deliver/qmgr"
	"postern/internal/deliver/smtpclient"
	"postern/internal/deliver/virtual"
	"postern/internal/master"
	"postern/internal/receive/cleanup"
	"postern/internal/receive/pickup"
	"postern/internal/receive/smtpd"
	"postern/internal/service"
	"postern/internal/support/anvil"
	"postern/internal/support/bounce"
	"postern/internal/support/flush"
	"postern/internal/support/nbdbreindexd"
	"postern/internal/support/postlogd"
	"postern/internal/support/proxymap"
	"postern/internal/support/showq"
	"postern/internal/support/tlsmgr"
	"postern/internal/support/trivialrewrite"
	"postern/internal/support/verify"
	"postern/internal/table"
)

// daemons lists the programs of master.cf.
func daemons() []service.Program {
	return []service.Program{
		{Name: "anvil", New: anvil.New, Single: true},
		{Name: "bounce", New: bounce.New, Unlimited: true},
		{Name: "cleanup", New: cleanup.New, Unlimited: true},
		{Name: "discard", New: discard.New},
		{Name: "error", New: errord.New},
		{Name: "flush", New: flush.New, Unlimited: true},
		{Name: "lmtp", New: smtpclient.NewLMTP},
		{Name: "local", New: local.New, Root: true},
		{Name: "nbdb_reindexd", New: nbdbreindexd.New, Root: true, Single: true},
		{Name: "pickup", New: pickup.New, Single: true},
		{Name: "pipe", New: pipe.New, Root: true},
		{Name: "postlogd", New: postlogd.New, Single: true},
		proxymap.Program(),
		{Name: "qmgr", New: qmgr.New, Single: true, Permanent: true},
		{Name: "showq", New: showq.New},
		{Name: "smtp", New: smtpclient.NewSMTP},
		{Name: "smtpd", New: smtpd.New},
		{Name: "tlsmgr", New: tlsmgr.New, Single: true},
		trivialrewrite.Program(),
		{Name: "verify", New: verify.New, Single: true},
		{Name: "virtual", New: virtual.New, Root: true},
	}
}

// A command is a program for administrators and users.
type command struct {
	name, summary string
	main          func(args []string, stdin io.Reader, stdout, stderr io.Writer) int
}

// commands lists them.
func commands() []command {
	return []command{
		{"mailq", "list the mail queue", sendmail.Main},
		{"master", "the supervisor of all daemons", func(args []string, _ io.Reader, _, _ io.Writer) int { return master.Main(args, warnings(), problems) }},
		{"newaliases", "build the alias database", sendmail.Main},
		{"postalias", "build, look up and change an alias database", withTables(postalias.Main)},
		{"postcat", "show a queue file", postcat.Main},
		{"postconf", "show and change main.cf and master.cf", showConfig},
		{"postfix", "start, stop and look after the mail system", controlSystem},
		{"postkick", "send a request to a service", postkick.Main},
		{"postlock", "run a command while a mailbox is locked", postlock.Main},
		{"postlog", "write a line into the log of the mail system", postlog.Main},
		{"postmap", "build, look up and change a lookup table", withTables(postmap.Main)},
		{"postmulti", "manage several instances of the mail system", postmulti.Main},
		{"postsuper", "remove, hold, release, requeue messages; repair the queue", postsuper.Main},
		{"qshape", "count the messages in the queue by domain and age", qshape.Main},
		{"sendmail", "submit mail, list the queue, build the alias database", sendmail.Main},
	}
}

// tools lists the commands of our own, which are called as "postern NAME" only.
func tools() []command {
	return []command{
		{"check", "look the configuration through for what will not work", checkConfig},
		{"diff-config", "say what changes for each service between two configuration directories", diffConfig},
		{"explain", "say what a parameter of main.cf means", explainNames},
		{"help", "show the manual page of a program", showManual},
		{"simulate", "say what would become of a message, without one", simulateSession},
		{"tables", "list the lookup tables that the configuration names, and build anew what is old", listTables},
		{"user", "look after the users who may log in (smtpd_sasl_type = postern)", user.Main},
		{"why", "say from the log what decided", why.Main},
	}
}

// withTables gives a command the types of lookup tables.
func withTables(f func([]string, io.Reader, io.Writer, io.Writer, []table.Type) int) func([]string, io.Reader, io.Writer, io.Writer) int {
	return func(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		return f(args, stdin, stdout, stderr, tables())
	}
}

// readers lists the programs that declare main.cf parameters.
func readers() []explain.Program {
	list := []explain.Program{
		{Name: "every program", Params: new(param.Common).Params},
		{Name: "master", Params: master.Params},
		{Name: "postfix", Params: postfix.Params},
		{Name: "postlock", Params: postlock.Params},
		{Name: "postmulti", Params: postmulti.Params},
		{Name: "sendmail", Params: new(sendmail.Config).Params},
		{Name: "postdrop", Params: new(setgid.SubmitAccess).Params},
		{Name: "postqueue", Params: new(setgid.QueueAccess).Params},
	}
	for _, p := range daemons() {
		list = append(list, explain.Program{Name: p.Name, Params: p.New().Params})
	}
	return list
}

// parameters lists who declares main.cf parameters.
func parameters() []func(*param.Set) {
	var list []func(*param.Set)
	for _, p := range readers() {
		list = append(list, p.Params)
	}
	return list
}

// showConfig is postconf with what the programs say of themselves.
func showConfig(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	k := postconf.Knowledge{
		Parameters: parameters(),
		Programs:   make(map[string]func(*param.Set)),
		Agents:     []string{"error", "lmtp", "local", "pipe", "smtp", "virtual"}, // Postfix: not discard
		SASLServer: []string{"cyrus", "dovecot", "postern"},
		SASLClient: []string{"cyrus"},
		Templates:  bounce.ShowTemplates,
	}
	for _, p := range daemons() {
		k.Programs[p.Name] = p.New().Params
	}
	for _, t := range tables() {
		k.Tables = append(k.Tables, t.Name)
	}
	return postconf.Main(args, stdin, stdout, stderr, k)
}
