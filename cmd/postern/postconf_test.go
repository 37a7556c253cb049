package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/rogpeppe/go-internal/txtar"

	"postern/test/harness"
)

var (
	withOracle = flag.Bool("oracle", false, "run the archives of testdata/postconf against the real postconf, too")
	update     = flag.Bool("update", false, "let the real postconf write what is expected")
	accept     = flag.Bool("accept", false, "write sections want.postern where Postern differs")
)

// TestPostconf plays the archives of testdata/postconf. Sections without a "/"
// are files of the configuration directory that every case of the archive has.
// A case NAME has files of its own, NAME/main.cf and others, which go before
// these, and
//
//	NAME/run           commands, a line each: "postconf ARGS", "cat FILE", "rm FILE"
//	NAME/want          what they print; written by the real postconf
//	NAME/want.postern  what ours prints where that differs, and NAME/why:
//	                   the release of Postfix that prints the same, or the reason
//
// Standard error comes after standard output, its lines in the order of the
// alphabet with "! " before them.
func TestPostconf(t *testing.T) {
	files, err := filepath.Glob("testdata/postconf/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	count := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases := caseNames(a)
			count += len(cases)
			for _, name := range cases {
				t.Run(name, func(t *testing.T) { playCase(t, a, name) })
			}
			if *update || *accept {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Logf("%d cases", count)
}

func caseNames(a *txtar.Archive) []string {
	var names []string
	for _, f := range a.Files {
		if name, ok := strings.CutSuffix(f.Name, "/run"); ok {
			names = append(names, name)
		}
	}
	return names
}

func playCase(t *testing.T, a *txtar.Archive, name string) {
	if *update || *withOracle {
		got := play(t, a, name, realPostconf(t))
		if *update {
			setSection(a, name+"/want", name+"/run", got)
		} else if want := sectionText(a, name+"/want"); got != want {
			t.Errorf("postfix: %s", diff.Diff("want", []byte(want), "got", []byte(got)))
		}
	}
	got := play(t, a, name, ourPostconf(t))
	want, differs := sectionText(a, name+"/want"), false
	if own := sectionText(a, name+"/want.postern"); own != "" {
		if own == want {
			t.Errorf("want.postern is want")
		}
		want, differs = own, true
	}
	if why := sectionText(a, name+"/why"); differs != (why != "") {
		t.Errorf("sections why and want.postern belong together")
	}
	if got == want {
		return
	}
	t.Errorf("%s", diff.Diff("want", []byte(want), "got", []byte(got)))
	if *accept {
		setSection(a, name+"/want.postern", name+"/want", got)
	}
}

func sectionText(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// setSection replaces a section, or puts it after another one.
func setSection(a *txtar.Archive, name, after, text string) {
	at := len(a.Files)
	for i, f := range a.Files {
		if f.Name == name {
			a.Files[i].Data = []byte(text)
			return
		}
		if f.Name == after {
			at = i + 1
		}
	}
	a.Files = slices.Insert(a.Files, at, txtar.File{Name: name, Data: []byte(text)})
}

// A postconf command is run in a configuration directory, which it calls inside.
type postconfSystem struct {
	dir, inside string
	run         func(args []string) (stdout, stderr string, status int)
}

func play(t *testing.T, a *txtar.Archive, name string, s postconfSystem) string {
	t.Helper()
	old := time.Now().Add(-time.Hour) // Postfix reads a file again that has just been changed
	write := func(file string, data []byte) {
		path := filepath.Join(s.dir, file)
		text := strings.ReplaceAll(string(data), "@DIR@", s.inside)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, own := range []bool{false, true} {
		for _, f := range a.Files {
			file, mine := strings.CutPrefix(f.Name, name+"/")
			if mine == own && !strings.Contains(file, "/") && !slices.Contains([]string{"run", "want", "want.postern", "why"}, file) {
				write(file, f.Data)
			}
		}
	}
	var out strings.Builder
	for line := range strings.Lines(sectionText(a, name+"/run")) {
		line = strings.TrimSuffix(line, "\n")
		args := shellWords(strings.ReplaceAll(line, "@DIR@", s.inside))
		fmt.Fprintf(&out, "$ %s\n", line)
		switch args[0] {
		case "cat":
			text, err := os.ReadFile(filepath.Join(s.dir, args[1]))
			if err != nil {
				t.Fatal(err)
			}
			out.Write(text)
		case "rm":
			if err := os.Remove(filepath.Join(s.dir, args[1])); err != nil {
				t.Fatal(err)
			}
		default:
			stdout, stderr, status := s.run(args[1:])
			out.WriteString(strings.ReplaceAll(stdout, s.inside, "DIR"))
			out.WriteString(errorLines(strings.ReplaceAll(stderr, s.inside, "DIR")))
			if status != 0 {
				fmt.Fprintf(&out, "exit %d\n", status)
			}
		}
	}
	return out.String()
}

// suggestions are what Postern adds to a message; whereFound is the line of a
// mistake, which Postfix does not tell.
var (
	suggestions = regexp.MustCompile(`; (did you mean|need) .*`)
	whereFound  = regexp.MustCompile(`(main\.cf|master\.cf)(, line \d+|: line \d+)(: logical line)`)
)

// errorLines orders the lines of standard error, each once.
func errorLines(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "/usr/sbin/")
		lines = append(lines, "! "+whereFound.ReplaceAllString(suggestions.ReplaceAllString(line, ""), "$1$3")+"\n")
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

// shellWords takes a command line apart at blanks; quotes protect.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	quote, open := byte(0), false
	for _, c := range []byte(line + " ") {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case quote == 0 && c == ' ':
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	return words
}

func ourPostconf(t *testing.T) postconfSystem {
	dir := t.TempDir()
	return postconfSystem{dir, dir, func(args []string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"postconf", "-c", dir}, args...), strings.NewReader(""), &stdout, &stderr)
		return stdout.String(), stderr.String(), status
	}}
}

func realPostconf(t *testing.T) postconfSystem {
	root := harness.Root(t)
	dir, err := os.MkdirTemp(filepath.Join(root, "t"), "postconf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inside := strings.TrimPrefix(dir, root)
	return postconfSystem{dir, inside, func(args []string) (string, string, int) {
		cmd := exec.Command("chroot", append([]string{root, "/usr/sbin/postconf", "-c", inside}, args...)...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LANG=C"}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	}}
}
