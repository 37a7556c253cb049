package takeover

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// "make install" over Debian's package, with the configuration that the
// package installs untouched, gives a mail system that starts and delivers.
func TestStockDebian(t *testing.T) {
	root := harness.Root(t)
	top, err := harness.Top()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-mn", "true").CombinedOutput(); err != nil {
		harness.Forbidden(t, "name spaces of mounts and networks: %v %s", err, out)
	}
	script, err := filepath.Abs("testdata/stock.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-mn", "sh", script, root, top, t.TempDir()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "delivered\n") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, bad := range []string{"error: ", "fatal: "} {
		if strings.Contains(string(out), bad) {
			t.Errorf("%q in the output:\n%s", bad, out)
		}
	}
}
