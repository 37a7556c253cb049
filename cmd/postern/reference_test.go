package main

import (
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
