package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every archive in which Postern differs from Postfix is named among the
// differences that are wanted.
func TestDifferencesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../test/*/testdata/*.txtar")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d archives: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if strings.Contains(string(text), ".postern --\n") && !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/compatibility.md does not name the archive %s, which has a section of Postern's own", name)
		}
	}
}

// Every difference names the tests that hold it, and these exist.
func TestDifferencesAreTested(t *testing.T) {
	doc, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	parts := strings.Split(string(doc), "\n## ")
	for _, part := range parts[1:] {
		title, body, _ := strings.Cut(part, "\n")
		if title == "Not built yet" {
			body, _, _ = strings.Cut(body, "\n- ")
			body = "\n- " + body
		}
		for _, entry := range strings.Split("\n"+body, "\n- ")[1:] {
			begin, end := strings.LastIndex(entry, "["), strings.LastIndex(entry, "]")
			if begin < 0 || end < begin {
				t.Errorf("docs/compatibility.md, %s: no test in brackets holds the entry %.60q", title, entry)
				continue
			}
			for _, name := range strings.Split(strings.ReplaceAll(entry[begin+1:end], "\n", " "), ",") {
				name = strings.Trim(name, " `")
				if !tests[name] {
					t.Errorf("docs/compatibility.md, %s: there is no test or archive %q", title, name)
				}
			}
		}
	}
}

// testNames are the names of tests of Go and of archives.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, top := range []string{"cmd", "internal", "test"} {
		err := filepath.WalkDir("../../"+top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name, ok := strings.CutSuffix(d.Name(), ".txtar"); ok {
				names[name] = true
			}
			if !strings.HasSuffix(d.Name(), "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(string(text), "\n") {
				if rest, ok := strings.CutPrefix(line, "func "); ok && (strings.HasPrefix(rest, "Test") || strings.HasPrefix(rest, "Fuzz")) {
					name, _, _ := strings.Cut(rest, "(")
					names[name] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// Decision records have numbers of their own, and tell of every library.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("../../docs/decisions/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	var all strings.Builder
	numbers := make(map[string]string)
	for _, file := range files {
		number, _, _ := strings.Cut(filepath.Base(file), "-")
		if other := numbers[number]; other != "" {
			t.Errorf("%s and %s have one number", other, file)
		}
		numbers[number] = file
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"\n## Context\n", "\n## Decision\n", "\n## Consequences\n"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s has no %q", file, strings.TrimSpace(part))
			}
		}
		all.Write(text)
	}
	for module := range libraries(t) {
		name := module[strings.LastIndexByte(module, '/')+1:]
		if rest, ok := strings.CutPrefix(module, "golang.org/"); ok {
			name = rest
		}
		if !strings.Contains(all.String(), name) {
			t.Errorf("no decision record tells why %s is used", module)
		}
	}
}

// libraries are the modules outside of this one that packages import.
func libraries(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, top := range []string{"cmd", "internal", "test"} {
		err := filepath.WalkDir("../../"+top, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range file.Imports {
				parts := strings.Split(strings.Trim(spec.Path.Value, `"`), "/")
				if !strings.Contains(parts[0], ".") {
					continue
				}
				n := 3
				if parts[0] == "go.etcd.io" || parts[0] == "go.mongodb.org" {
					n = 2
				}
				found[strings.Join(parts[:min(n, len(parts))], "/")] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// ARCHITECTURE.md names every service, every protocol and every command of ours.
func TestArchitectureIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, wing := range []string{"receive", "deliver", "support", "protocol", "admin"} {
		rooms, err := os.ReadDir("../" + wing)
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range rooms {
			name := room.Name()
			if !room.IsDir() || wing == "admin" && (strings.HasPrefix(name, "post") || name == "sendmail") {
				continue
			}
			if !strings.Contains(string(doc), name) {
				t.Errorf("ARCHITECTURE.md does not name internal/%s/%s", wing, name)
			}
		}
	}
}
