package oracle

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/receive/smtpd/restrict"
)

// TestEveryRestrictionHasADialogue looks for the names of restrictions in the
// configurations of the archives.
func TestEveryRestrictionHasADialogue(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`[a-z_]+`)
	used := map[string]bool{}
	dialogues := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		dialogues += strings.Count(string(b), "\ndialogue ")
		for _, w := range word.FindAllString(string(b), -1) {
			used[w] = true
		}
	}
	for _, n := range restrict.Names() {
		if !used[n.Name] && n.Built {
			t.Errorf("no archive has the restriction %s", n.Name)
		}
	}
	if dialogues < 400 {
		t.Errorf("%d dialogues, want 400", dialogues)
	}
}
