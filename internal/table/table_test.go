package table_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/table"
	"postern/internal/table/inline"
	"postern/internal/table/static"
	"postern/internal/table/system"
)

type recorder struct{ lines []string }

func (r *recorder) Infof(string, ...any)        {}
func (r *recorder) Errorf(f string, a ...any)   { r.Warningf(f, a...) }
func (r *recorder) Warningf(f string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(f, a...)) }

func opener() (*table.Opener, *recorder) {
	log := &recorder{}
	o := table.NewOpener(append(system.Types(), inline.Type(), static.Type()))
	o.Log, o.UTF8 = log, true
	return o, log
}

func TestTokens(t *testing.T) {
	got := table.Tokens(" hash:/a,inline:{ a=b, { c = d } }\n pcre:/x , ")
	want := []string{"hash:/a", "inline:{ a=b, { c = d } }", "pcre:/x"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestMaps(t *testing.T) {
	ctx := context.Background()
	o, _ := opener()
	m, err := o.Maps("virtual_alias_maps", "inline:{a=1}, inline:{a=2,b=3}", 0)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"A": "1", "b": "3", "c": "", "": "", "\xff": ""} {
		if got, found, err := m.Lookup(ctx, key); got != want || found != (want != "") || err != nil {
			t.Errorf("%q: %q %v %v", key, got, found, err)
		}
	}
	var none *table.Maps
	if _, found, err := none.Lookup(ctx, "a"); found || err != nil || !none.Empty() {
		t.Error("a nil Maps has entries")
	}
}

func TestFailures(t *testing.T) {
	ctx := context.Background()
	for _, spec := range []string{"fail:x", "ldap:/etc/x", "nonesuch:x", "unix:x", "inline:{a}"} {
		o, log := opener()
		m, err := o.Maps("alias_maps", spec+", static:later", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, found, err := m.Lookup(ctx, "key"); err == nil || found {
			t.Errorf("%s: got %q, %v", spec, got, found)
		}
		if !strings.Contains(strings.Join(log.lines, "\n"), `lookup error for "key"`) {
			t.Errorf("%s: log %q", spec, log.lines)
		}
		o.ErrorIsFatal = true
		if _, err := o.With(table.NoProxy).Open(spec); err == nil && spec != "fail:x" {
			t.Errorf("%s: opened", spec)
		}
	}
	o, _ := opener()
	if _, err := o.Maps("alias_maps", "/etc/aliases", 0); err == nil {
		t.Error("a name without a type is taken")
	}
}

func TestTablesAreShared(t *testing.T) {
	o, _ := opener()
	a, err1 := o.Open("inline:{a=b}")
	b, err2 := o.Open("inline:{a=b}")
	c, err3 := o.With(table.KeepCase).Open("inline:{a=b}")
	if a != b || a == c || errors.Join(err1, err2, err3) != nil {
		t.Error("tables with the same name and flags are one")
	}
	if _, found, _ := c.Lookup(context.Background(), "A"); found {
		t.Error("KeepCase folds")
	}
}
