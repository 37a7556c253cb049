package arch

import (
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
	files, err := filepath.Glob("../../test/oracle/testdata/*.txtar")
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
