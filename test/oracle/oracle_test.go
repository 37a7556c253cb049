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

// compare plays the archive against s and compares every observed section with
// the one that is expected: "NAME.postern" goes before NAME for Postern.
func compare(t *testing.T, file string, archive *txtar.Archive, names *dnstest.Server, s harness.System) {
	differs := false
	for _, f := range play(t, archive, names, s) {
		want, ok := harness.Section(archive, f.Name+"."+s.Name)
		if !ok {
			want, _ = harness.Section(archive, f.Name)
		}
		if got := string(f.Data); got != string(want) {
			t.Errorf("%s: section %s differs\n%s", s.Name, f.Name, harness.Diff(string(want), got))
			harness.SetSection(archive, f.Name+"."+s.Name, f.Data)
			differs = true
		}
	}
	if differs && *accept && s == harness.Postern {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
