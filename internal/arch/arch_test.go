package arch

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "postern/"

// storeys, top floor first. A package imports only from floors below its own;
// packages of one floor do not import each other, but for the pairs in kits.
var storeys = [][]string{
	{"cmd", "test"},
	{"internal/receive", "internal/deliver", "internal/support", "internal/master", "internal/admin"},
	{"internal/service"},
	{"internal/ipc"},
	{"internal/protocol"},
	{"internal/mail"},
	{"internal/table"},
	{"internal/config"},
	{"internal/base", "docs"},
}

// kits are what a floor shares: everything on the floor of the key may import
// it. The rooms of the floors named in inner may import one another, in one
// direction (the compiler refuses circles).
var kits = map[string]bool{
	"internal/deliver/agent":          true, // what is common to delivery agents
	"internal/admin/command":          true, // what is common to commands
	"internal/admin/mapfile":          true, // what postmap and postalias share
	"internal/admin/check":            true, // "postern check", and "postfix check"
	"internal/ipc/attr":               true,
	"internal/ipc/endpoint":           true,
	"internal/ipc/trigger":            true,
	"internal/receive/smtpd/restrict": true,
}

var inner = []string{"internal/ipc", "internal/protocol", "internal/mail", "internal/table", "internal/config", "internal/base", "test", "cmd"}

func floor(path string) int {
	for n, rooms := range storeys {
		for _, room := range rooms {
			if path == room || strings.HasPrefix(path, room+"/") {
				return n
			}
		}
	}
	return -1
}

// imports maps each package of the module, as a path below its top, to the
// packages of the module that its files import, tests apart.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	top := "../.."
	found := map[string]map[string]bool{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != top && (strings.HasPrefix(name, ".") || name == "testdata" || name == "build" || name == "run" || name == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if found[rel] == nil {
			found[rel] = map[string]bool{}
		}
		for _, spec := range file.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if target, ok := strings.CutPrefix(target, module); ok {
				found[rel][target] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sorted := map[string][]string{}
	for pkg, set := range found {
		for target := range set {
			sorted[pkg] = append(sorted[pkg], target)
		}
		sort.Strings(sorted[pkg])
	}
	return sorted
}

func TestImportsRunDown(t *testing.T) {
	all := imports(t)
	if len(all) < 20 {
		t.Fatalf("only %d packages found", len(all))
	}
	for pkg, targets := range all {
		from := floor(pkg)
		if from < 0 && pkg != "internal/arch" {
			t.Errorf("%s stands on no storey", pkg)
		}
		for _, target := range targets {
			if !mayImport(pkg, target) {
				t.Errorf("%s imports %s, which is not below it", pkg, target)
			}
		}
	}
}

func mayImport(pkg, target string) bool {
	from, to := floor(pkg), floor(target)
	if from != to {
		return from < to
	}
	if kits[target] || strings.HasPrefix(pkg, target+"/") || strings.HasPrefix(target, pkg+"/") {
		return true
	}
	for _, room := range inner {
		if strings.HasPrefix(pkg, room+"/") && (target == room || strings.HasPrefix(target, room+"/")) {
			return true
		}
	}
	return false
}

func TestMayImport(t *testing.T) {
	tests := []struct {
		pkg, target string
		want        bool
	}{
		{"internal/receive/smtpd", "internal/ipc/cleanup", true},
		{"internal/receive/smtpd", "internal/receive/cleanup", false},
		{"internal/receive/smtpd", "internal/receive/smtpd/restrict", true},
		{"internal/deliver/local", "internal/deliver/agent", true},
		{"internal/deliver/local", "internal/deliver/virtual", false},
		{"internal/mail/queue", "internal/ipc/cleanup", false},
		{"internal/base/sys", "internal/config/param", false},
		{"internal/mail/envelope", "internal/mail/record", true},
		{"internal/support/showq", "internal/receive/pickup", false},
	}
	for _, tt := range tests {
		if got := mayImport(tt.pkg, tt.target); got != tt.want {
			t.Errorf("mayImport(%s, %s) = %v, want %v", tt.pkg, tt.target, got, tt.want)
		}
	}
}

// The dependency lists of the set-gid programs are reviewed files: what such a
// program links is part of what it may do wrong.
func TestDependencyLists(t *testing.T) {
	all := imports(t)
	for _, program := range []string{"postdrop", "postqueue"} {
		got := strings.Join(closure(all, "cmd/"+program), "\n") + "\n"
		file := filepath.Join("..", "..", "cmd", program, "dependencies.txt")
		want, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if got != withoutComments(string(want)) {
			t.Errorf("%s: what cmd/%s imports has changed; review it and write the list anew:\n%s", file, program, got)
		}
	}
}

func closure(all map[string][]string, pkg string) []string {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(p string) {
		for _, target := range all[p] {
			if !seen[target] {
				seen[target] = true
				walk(target)
			}
		}
	}
	walk(pkg)
	var list []string
	for p := range seen {
		list = append(list, p)
	}
	sort.Strings(list)
	return list
}

func withoutComments(text string) string {
	var b strings.Builder
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			b.WriteString(s.Text() + "\n")
		}
	}
	return b.String()
}

// No package registers itself: no init functions, no blank imports.
func TestNothingRegisters(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for n, line := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(line, "func init()") || strings.HasPrefix(line, "\t_ \"") && !strings.HasSuffix(line, `_ "embed"`) {
				t.Errorf("%s:%d: %s", path, n+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
