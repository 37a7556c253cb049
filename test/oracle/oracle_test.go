// Package oracle runs the archives of testdata against the real Postfix, which
// writes what is expected, and against Postern, which must give the same.
//
//	go test ./test/oracle             Postern, against what is written
//	go test ./test/oracle -oracle     both
//	go test ./test/oracle -update     Postfix writes what is expected
//	go test ./test/oracle -accept     where Postern differs on purpose, it writes that
//
// An archive begins with a script, a command a line; its sections are the
// configuration, what is sent and what is expected. See script.go.
package oracle

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"postern/internal/protocol/dns/dnstest"
	"postern/test/harness"
)

var (
	update = flag.Bool("update", false, "let the real Postfix write what is expected")
	accept = flag.Bool("accept", false, "keep where Postern differs, as a section NAME.postern; say why in the archive and in docs/compatibility.md")
	real   = flag.Bool("oracle", false, "play the archives against the real Postfix, too")
)

func TestOracle(t *testing.T) {
	harness.Root(t)
	names := startDNS(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The home directories are the same for all.
			if !strings.Contains(string(archive.Comment), "/home/") {
				t.Parallel()
			}
			if *real || *update {
				t.Run("postfix", func(t *testing.T) { oracle(t, file, archive, names) })
			}
			if !*update {
				t.Run("postern", func(t *testing.T) { compare(t, file, archive, names, harness.Postern) })
			}
		})
	}
}

// oracle checks, or with -update rewrites, what the real Postfix says. An
// archive of a feature that is newer than the packaged Postfix has no oracle.
func oracle(t *testing.T, file string, archive *txtar.Archive, names *dnstest.Server) {
	if newer(archive) {
		t.Skip("the behaviour is newer than the packaged Postfix")
	}
	if !*update {
		compare(t, file, archive, names, harness.Postfix)
		return
	}
	result := play(t, archive, names, harness.Postfix)
	for _, f := range result {
		harness.SetSection(archive, f.Name, f.Data)
	}
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newer says that the archive is about a feature that the packaged Postfix does
// not have.
func newer(archive *txtar.Archive) bool { return strings.Contains(string(archive.Comment), "\nnewer ") }

// plays is how often the real Postfix may play an archive until it gives what is
// expected. The archive says that Postfix gives it; which of two of its processes
// comes first on a busy machine is not what is tested. Postern has one try.
const plays = 3

// compare plays the archive against s and compares every observed section with
// the one that is expected.
func compare(t *testing.T, file string, archive *txtar.Archive, names *dnstest.Server, s harness.System) {
	differs := difference(archive, s, play(t, archive, names, s))
	for n := 1; n < plays && differs != "" && s == harness.Postfix && !t.Failed(); n++ {
		t.Logf("played again because of\n%s", differs)
		differs = difference(archive, s, play(t, archive, names, s))
	}
	if differs == "" {
		return
	}
	t.Error(differs)
	if *accept && s == harness.Postern {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// difference compares what s gave with what the archive expects, in both the
// queue ids numbered as they appear. A section that differs is put into the
// archive as NAME.SYSTEM.
func difference(archive *txtar.Archive, s harness.System, result []txtar.File) string {
	var report strings.Builder
	wanted, given := numbering{}, numbering{}
	for _, f := range result {
		w, g := wanted.text(expected(archive, f.Name, s)), given.text(string(f.Data))
		if w != g {
			fmt.Fprintf(&report, "%s: section %s differs\n%s\n", s.Name, f.Name, harness.Diff(w, g))
			if *accept {
				harness.SetSection(archive, f.Name+"."+s.Name, f.Data)
			}
		}
	}
	return report.String()
}

// expected is what the archive says that s gives: "NAME.SYSTEM" goes before NAME.
func expected(archive *txtar.Archive, name string, s harness.System) string {
	want, ok := harness.Section(archive, name+"."+s.Name)
	if !ok {
		want, _ = harness.Section(archive, name)
	}
	return string(want)
}

// A numbering gives masked queue ids the numbers in which they appear.
type numbering map[string]string

func (n numbering) text(s string) string {
	return numberedID.ReplaceAllStringFunc(s, func(id string) string {
		if n[id] == "" {
			n[id] = fmt.Sprintf("QID%d", len(n)+1)
		}
		return n[id]
	})
}
