package cidr

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/table"
)

type recorder struct{ lines []string }

func (r *recorder) Infof(f string, a ...any)    {}
func (r *recorder) Errorf(f string, a ...any)   {}
func (r *recorder) Warningf(f string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(f, a...)) }

// The expected results and warnings are Postfix's.
func TestLookup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "map")
	os.WriteFile(path, []byte("1.2.3.4 a\nif 10.0.0.0/8\n10.1.0.0/16 b\n10.0.0.0/8\n  c d\nendif\n!1.2.3.6 rest\nfoo x\n1.2.3.4/33 x\n1.2.3.4\nendif\n"), 0o600)
	log := &recorder{}
	o := table.NewOpener([]table.Type{Type()})
	o.Log = log
	tab, err := o.Open("cidr:" + path)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"1.2.3.4": "a", "10.1.1.1": "b", "10.2.1.1": "c d", "1.2.3.6": "", "2.2.2.2": "rest", "name": "",
	} {
		got, found, err := tab.Lookup(context.Background(), key)
		if got != want || found != (want != "") || err != nil {
			t.Errorf("%s: got %q %v %v, want %q", key, got, found, err, want)
		}
	}
	want := []string{
		`line 8: bad address pattern: "foo": skipping this rule`,
		`line 9: bad mask length in "1.2.3.4/33": skipping this rule`,
		`line 10: no lookup result: skipping this rule`,
		`line 11: ENDIF without IF: skipping this rule`,
	}
	if got := strings.ReplaceAll(strings.Join(log.lines, "\n"), "cidr map "+path+", ", ""); got != strings.Join(want, "\n") {
		t.Errorf("warnings:\n%s", got)
	}
	os.WriteFile(path, []byte("0.0.0.0/0 changed now\n"), 0o600)
	if got, _, _ := tab.Lookup(context.Background(), "1.2.3.4"); got != "changed now" {
		t.Errorf("after a change: %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("{ {if 1.2.3.0/24}, {!1.2.3.4 x}, {endif} }", "1.2.3.5")
	f.Fuzz(func(t *testing.T, rules, key string) {
		tab, err := open("{"+rules, table.NewOpener(nil))
		if err == nil {
			tab.Lookup(context.Background(), key)
		}
	})
}
