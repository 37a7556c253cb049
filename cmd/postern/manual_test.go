package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/docs"
	"postern/internal/admin/manual"
)

// Every program and command has a manual page that can be read.
func TestEveryProgramHasAPage(t *testing.T) {
	want := map[string]string{"postern": "1", "postern-daemons": "8", "postqueue": "1", "postdrop": "1"}
	for _, p := range daemons() {
		want[p.Name] = "8"
	}
	for _, c := range commands() {
		want[c.name] = "1"
	}
	want["master"] = "8"
	for _, c := range tools() {
		if c.name != "help" { // in postern(1)
			want["postern-"+c.name] = "1"
		}
	}
	want["postfix-non-bdb"], want["postfix-tls"] = "1", "1" // commands of postfix
	pages, err := manual.Pages(docs.Pages)
	if err != nil {
		t.Fatal(err)
	}
	for name, section := range want {
		if _, err := manual.Find(docs.Pages, name+"."+section); err != nil {
			t.Errorf("docs/man/%s.%s.md: %v", name, section, err)
		}
		pages = slices.DeleteFunc(pages, func(p string) bool { return p == name+"."+section })
	}
	own, err := fs.ReadFile(docs.Pages, "man/postern.1.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range tools() {
		if !strings.Contains(string(own), "\n- `"+c.name+"`: ") {
			t.Errorf("docs/man/postern.1.md does not name the command %s", c.name)
		}
	}
	if len(pages) > 0 {
		t.Errorf("pages of programs that are not there: %q", pages)
	}
}

// letters match the ways in which options are declared in the code.
var letters = [...]*regexp.Regexp{
	regexp.MustCompile(`Getopt\([^"]*, "([^"]+)"`),
	regexp.MustCompile(`optionSpec = "([^"]+)"`),
	regexp.MustCompile(`Options: +"([^"]+)"`),
	regexp.MustCompile(`(?m)^\t+case ('.'(?:, '.')*):`), // only in files named options.go
}

// long and flags match long options.
var (
	long  = regexp.MustCompile(`"(--[a-z]+)"`)
	flags = regexp.MustCompile(`flags\.\w+\((?:&[\w.]+, )?"([a-z]+)"`)
)

// Each option that a program takes is on its page.
func TestEveryOptionIsOnItsPage(t *testing.T) {
	dirs := map[string]string{ // page: where the program's options are
		"postqueue.1": "../postqueue", "postdrop.1": "../postdrop",
		"postern-daemons.8": "../../internal/service", "master.8": "../../internal/master",
		"postern-check.1": "../../internal/admin/check", "postern-diff-config.1": "../../internal/admin/diffconfig",
		"postern-explain.1": "../../internal/admin/explain", "postern-tables.1": "../../internal/admin/tables", "postern-user.1": "../../internal/admin/user", "postern.1": "../../internal/admin/manual",
	}
	for _, c := range commands() {
		if dir := "../../internal/admin/" + c.name; exists(dir) {
			dirs[c.name+".1"] = dir
		}
	}
	for page, dir := range dirs {
		text, err := fs.ReadFile(docs.Pages, "man/"+page+".md")
		if err != nil {
			t.Error(err)
			continue
		}
		options := optionsOf(t, dir)
		if len(options) == 0 {
			t.Errorf("no options found in %s", dir)
		}
		for _, o := range options {
			if o == "-R" && page == "master.8" {
				continue // how master talks with itself
			}
			if !strings.Contains(string(text), "`"+o) {
				t.Errorf("docs/man/%s.md does not have the option %s", page, o)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// optionsOf finds the options that the package in dir declares.
func optionsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, re := range letters {
			cases := i == len(letters)-1
			if cases && (filepath.Base(file) != "options.go" || strings.Contains(file, "sendmail")) {
				continue
			}
			for _, m := range re.FindAllStringSubmatch(string(code), -1) {
				spec := strings.NewReplacer("'", "", ", ", "", ":", "").Replace(m[1])
				for _, c := range spec {
					list = append(list, "-"+string(c))
				}
			}
		}
		for _, m := range long.FindAllStringSubmatch(string(code), -1) {
			list = append(list, m[1])
		}
		for _, m := range flags.FindAllStringSubmatch(string(code), -1) {
			list = append(list, "--"+m[1])
		}
	}
	return list
}
