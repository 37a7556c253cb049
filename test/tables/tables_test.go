// Package tables runs the archives of testdata against postmap and postalias of
// the real Postfix, which write what is expected, and against ours, which must
// give the same answers, exit codes and words.
//
//	go test ./test/tables             ours, against what is written
//	go test ./test/tables -oracle     both, and each on index files of the other
//	go test ./test/tables -update     Postfix writes what is expected
//	go test ./test/tables -accept     where ours differ on purpose, they write that
//
// Without root ours are run in a temporary folder, with the real Postfix in a
// private root. See script_test.go for the commands of an archive.
package tables

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/test/harness"
)

var (
	update = flag.Bool("update", false, "let the real Postfix write what is expected")
	accept = flag.Bool("accept", false, "keep where ours differ, as a section want.postern; say why in the archive and in docs/compatibility.md")
	real   = flag.Bool("oracle", false, "run the archives with the real Postfix, too")
)

// A side is whose programs write and read tables.
type side struct {
	name           string
	writer, reader command
}

// A command starts postmap, or postalias, with args.
type command func(args ...string) *exec.Cmd

func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				rewrite(t, file, archive)
				return
			}
			for _, s := range sides(t, archive) {
				t.Run(s.name, func(t *testing.T) { compare(t, file, archive, s) })
			}
		})
	}
}

func sides(t *testing.T, archive *txtar.Archive) []side {
	var ours command
	if os.Geteuid() == 0 {
		ours = inRoot(harness.Installed(t), harness.Postern)
	} else {
		ours = onHost(t)
	}
	list := []side{{"postern", ours, ours}}
	if !*real || newer(archive) {
		return list
	}
	theirs := inRoot(harness.Root(t), harness.Postfix)
	return append(list, side{"postfix", theirs, theirs},
		side{"postern-reads", theirs, ours}, side{"postfix-reads", ours, theirs})
}

// newer says that an archive is of what the packaged Postfix does not have.
func newer(a *txtar.Archive) bool { return strings.Contains(string(a.Comment), "\nnewer ") }

func inRoot(root string, s harness.System) command {
	return func(args ...string) *exec.Cmd {
		return exec.Command("chroot", append([]string{root, filepath.Join(s.SbinDir, args[0])}, args[1:]...)...)
	}
}

var build = sync.OnceValues(func() (string, error) {
	top, err := harness.Top()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-s", "build")
	cmd.Dir = top
	cmd.Stderr = os.Stderr
	return filepath.Join(top, "bin", "postern"), cmd.Run()
})

func onHost(t *testing.T) command {
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) *exec.Cmd { return exec.Command(path, args...) }
}

func rewrite(t *testing.T, file string, archive *txtar.Archive) {
	if newer(archive) {
		t.Skip("the behaviour is newer than the packaged Postfix")
	}
	theirs := inRoot(harness.Root(t), harness.Postfix)
	harness.SetSection(archive, "want", play(t, archive, side{"postfix", theirs, theirs}))
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compare plays the archive and compares what was seen with what is expected.
// What ours say on purpose in other words is "want.postern": it goes for all
// sides in which they take part.
func compare(t *testing.T, file string, archive *txtar.Archive, s side) {
	want, ok := harness.Section(archive, "want.postern")
	if !ok || s.name == "postfix" {
		want, _ = harness.Section(archive, "want")
	}
	got := play(t, archive, s)
	mixed := strings.HasSuffix(s.name, "-reads")
	if mixed && ok {
		t.Skip("ours differ on purpose")
	}
	if string(got) == string(want) {
		return
	}
	t.Errorf("%s differs\n%s", s.name, diff(string(want), string(got)))
	if *accept && s.name == "postern" {
		harness.SetSection(archive, "want.postern", got)
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// diff shows the lines that differ: "-" wanted, "+" got, in pairs, with the
// command under which they stand.
func diff(want, got string) string {
	a, b := blocks(want), blocks(got)
	var out strings.Builder
	for n := range max(len(a), len(b)) {
		var x, y []string
		if n < len(a) {
			x = a[n]
		}
		if n < len(b) {
			y = b[n]
		}
		if strings.Join(x, "\n") == strings.Join(y, "\n") {
			continue
		}
		if len(x) > 0 && len(y) > 0 && x[0] == y[0] {
			out.WriteString("\t" + x[0] + "\n")
			x, y = x[1:], y[1:]
		}
		out.WriteString(harness.Diff(strings.Join(x, "\n"), strings.Join(y, "\n")))
	}
	return out.String()
}

// blocks cuts what was seen at the lines that name a command.
func blocks(text string) [][]string {
	var out [][]string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "== ") || len(out) == 0 {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], line)
	}
	return out
}
