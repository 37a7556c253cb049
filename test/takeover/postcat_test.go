package takeover

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// views are what postcat can be asked for.
var views = []string{"", "-e", "-b", "-h", "-v", "-o", "-r", "-ebv"}

// comparePostcat shows every message file of a stopped instance with both
// systems' postcat, by queue id and by path: they print the same bytes. It
// returns the number of files.
func comparePostcat(t *testing.T, i *harness.Instance) int {
	t.Helper()
	files := 0
	for _, queue := range []string{"maildrop", "incoming", "deferred", "hold"} {
		err := filepath.WalkDir(i.Host("queue/"+queue), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			files++
			inside := strings.TrimPrefix(path, i.Root)
			for _, view := range views {
				options := strings.Fields(view)
				compareOutput(t, i, append(options, inside))
				compareOutput(t, i, append(append([]string{}, options...), "-q", d.Name()))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// compareOutput runs postcat of both systems with the same arguments.
func compareOutput(t *testing.T, i *harness.Instance, args []string) {
	t.Helper()
	var printed, said [2]bytes.Buffer
	for n, s := range []harness.System{harness.Postfix, harness.Postern} {
		cmd := i.Command(s.SbinDir+"/postcat", args...)
		cmd.Stdout, cmd.Stderr = &printed[n], &said[n]
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: postcat %v: %v\n%s", s.Name, args, err, said[n].String())
		}
	}
	if !bytes.Equal(printed[0].Bytes(), printed[1].Bytes()) {
		t.Errorf("postcat %v:\n%s", args, firstDifference(printed[0].Bytes(), printed[1].Bytes()))
	}
	// With -v Postfix logs what its library does.
	if said[1].Len() > 0 || said[0].Len() > 0 && !strings.Contains(args[0], "v") {
		t.Errorf("postcat %v: on standard error postfix %q, postern %q", args, said[0].String(), said[1].String())
	}
}

// firstDifference shows the first line in which two outputs differ.
func firstDifference(want, got []byte) string {
	a, b := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for n := 0; n < len(a) || n < len(b); n++ {
		switch {
		case n >= len(a):
			return fmt.Sprintf("line %d: postfix ends, postern prints %q", n+1, b[n])
		case n >= len(b):
			return fmt.Sprintf("line %d: postfix prints %q, postern ends", n+1, a[n])
		case a[n] != b[n]:
			return fmt.Sprintf("line %d: postfix prints %q, postern %q", n+1, a[n], b[n])
		}
	}
	return ""
}
