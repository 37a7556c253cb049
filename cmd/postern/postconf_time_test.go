package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

// longMain is a main.cf of 500 lines, as large systems have them.
func longMain() string {
	var b strings.Builder
	b.WriteString("compatibility_level = 3.6\nmyhostname = a.example\nmydomain = example\n")
	for n := range 160 {
		fmt.Fprintf(&b, "# about list %d\nlist_%d = a.example, b.example,\n  $list_%d\n", n, n, n|15+1)
	}
	b.WriteString("list_160 = end\nmydestination = $list_0\nvirtual_alias_maps = ldap:/absent\nsmtpd_recipient_restrictions = permit_mynetworks,\n")
	for strings.Count(b.String(), "\n") < 500 {
		b.WriteString("  reject_unauth_destination,\n")
	}
	return b.String()
}

// BenchmarkSettings is postconf -n without the start of the process.
func BenchmarkSettings(b *testing.B) {
	dir := b.TempDir()
	for name, text := range map[string]string{"main.cf": longMain(), "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		var out, errs bytes.Buffer
		if status := run([]string{"postconf", "-c", dir, "-n"}, strings.NewReader(""), &out, &errs); status != 0 {
			b.Fatal(errs.String())
		}
	}
}

// TestPostconfTime holds the two figures that scripts wait for: postconf -n with
// 500 lines, and postconf -d beside the real one. What counts is the processor time
// of the best run, from start to exit: what else the machine does must not.
func TestPostconfTime(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	self := builtPostern(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": longMain(), "master.cf": ""} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	var set []time.Duration
	for range 40 {
		set = append(set, duration(t, exec.Command(self, "postconf", "-c", dir, "-n")))
	}
	slices.Sort(set)
	t.Logf("postconf -n, 500 lines: fastest %v, median %v", set[0], set[len(set)/2])
	if set[0] > 20*time.Millisecond {
		t.Errorf("postconf -n with 500 lines: %v, want less than 20ms", set[0])
	}
	if os.Geteuid() != 0 {
		harness.Skip(t, "the real postconf runs in the private root")
	}
	root := harness.Root(t)
	place, err := os.MkdirTemp(filepath.Join(root, "t"), "postconf")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(place)
	copied := filepath.Join(place, "postern")
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	var ours, theirs []time.Duration
	for range 40 {
		theirs = append(theirs, duration(t, exec.Command("chroot", root, "/usr/sbin/postconf", "-d")))
		ours = append(ours, duration(t, exec.Command("chroot", root, strings.TrimPrefix(copied, root), "postconf", "-d")))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	t.Logf("postconf -d: fastest %v, real one %v; medians %v, %v", ours[0], theirs[0], ours[20], theirs[20])
	if ours[0] > 2*theirs[0] && ours[20] > 2*theirs[20] {
		t.Errorf("postconf -d: %v, more than twice the %v of the real one", ours[0], theirs[0])
	}
}

// builtPostern builds the program as it is installed.
func builtPostern(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func duration(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
