package main

import (
	"testing"

	"postern/docs"
	"postern/internal/admin/explain"
	"postern/internal/config/pending"
)

// The reference explains only parameters that there are: those of Postfix and
// our own.
func TestReference(t *testing.T) {
	book, err := explain.Read(docs.Parameters, "parameters/*.md")
	if err != nil {
		t.Fatal(err)
	}
	known := pending.Parameters()
	for name, e := range book {
		if _, ok := known[name]; !ok && !ours[name] {
			t.Errorf("docs/%s explains %s, which is no parameter", e.File, name)
		}
	}
}
