package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"postern/docs"
	"postern/internal/admin/explain"
	"postern/internal/config/pending"
)

// The reference explains every parameter that there is, of Postfix and our own,
// and nothing else.
func TestReference(t *testing.T) {
	book, err := explain.Read(docs.Pages, "parameters/*.md")
	if err != nil {
		t.Fatal(err)
	}
	known := pending.Parameters()
	for name := range ours {
		known[name] = ""
	}
	for name := range known {
		if _, ok := book[name]; !ok {
			t.Errorf("docs/parameters does not explain %s", name)
		}
	}
	for name, e := range book {
		if _, ok := known[name]; !ok {
			t.Errorf("docs/%s explains %s, which is no parameter", e.File, name)
		}
	}
}

// So are the restrictions and the table types.
func TestOtherReference(t *testing.T) {
	k := reference()
	for file, list := range map[string][]explain.Other{"restrictions.md": k.Restrictions, "tables.md": k.Tables} {
		book, err := explain.Read(docs.Pages, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			if _, ok := book[o.Name]; !ok {
				t.Errorf("docs/%s does not explain %s", file, o.Name)
			}
		}
		for name := range book {
			known := slices.ContainsFunc(list, func(o explain.Other) bool { return o.Name == name })
			if !known && file == "restrictions.md" {
				t.Errorf("docs/%s explains %s, which does not exist", file, name)
			}
		}
	}
}

// daemonsOfPostfix are the programs that a master.cf of 3.11 may name.
var daemonsOfPostfix = []string{
	"anvil", "bounce", "cleanup", "discard", "dnsblog", "error", "flush", "lmtp", "local", "nbdb_reindexd", "pickup", "pipe", "postlogd",
	"postscreen", "proxymap", "qmgr", "qmqpd", "scache", "showq", "smtp", "smtpd", "spawn", "tlsmgr", "tlsproxy", "trivial-rewrite",
	"verify", "virtual",
}

// The daemons that are not built are named among the differences, and no others.
func TestMissingDaemonsAreNamed(t *testing.T) {
	doc, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, ok := strings.Cut(string(doc), "\n- Daemons: ")
	list, _, _ = strings.Cut(list, ".")
	for _, name := range daemonsOfPostfix {
		_, built := daemon(name)
		if named := ok && strings.Contains(list, "`"+name+"`"); named == built {
			t.Errorf("%s: built is %v, named under \"Not built yet\" in docs/compatibility.md is %v", name, built, named)
		}
	}
}
