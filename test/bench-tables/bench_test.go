//go:build bench

// Package benchtables measures lookup tables beside the real Postfix: postmap
// of both, in turn, on the same files, in one run.
//
//	make bench-tables
//
// The floors are those that the project sets itself: lookups of indexed tables
// at least as fast, building an index at least twice as fast, a table of a
// thousand patterns in at most one and a half times the time.
package benchtables

import (
	"bufio"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

var (
	keys   = flag.Int("keys", 1_000_000, "entries of an indexed table")
	lines  = flag.Int("lines", 100_000, "strings that are looked up in a table of patterns")
	rules  = flag.Int("rules", 1_000, "patterns")
	rounds = flag.Int("rounds", 3, "how often each is measured; the median counts")
)

// A run is what one process took.
type run struct {
	wall   time.Duration
	cpu    time.Duration
	memory int64 // KiB, resident at most
	sum    string
}

// A bench is a folder in the private root.
type bench struct {
	t         *testing.T
	root, dir string
	table     []string
}

func TestTables(t *testing.T) {
	root := harness.Installed(t)
	host, err := os.MkdirTemp(filepath.Join(root, "t"), "bench-tables-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(host) })
	b := &bench{t: t, root: root, dir: strings.TrimPrefix(host, root)}
	b.write("main.cf", func(w *bufio.Writer) {
		fmt.Fprintf(w, "compatibility_level = 3.6\nmyhostname = mail.example.com\nsmtputf8_enable = yes\nqueue_directory = %s\n", b.dir)
		fmt.Fprintf(w, "data_directory = %s\nmail_owner = postfix\nsetgid_group = postdrop\nlmdb_map_size = 1000000000\n", b.dir)
	})
	b.write("master.cf", func(*bufio.Writer) {})
	b.write("source", source)
	b.write("keys", someKeys)
	b.write("rules", someRules)
	b.write("headers", headers)
	for _, kind := range []string{"cdb", "lmdb", "hash", "btree"} {
		b.compare("build "+kind, 0.5, func(s harness.System) run { return b.postmap(s, "", kind+":"+b.dir+"/source") })
		b.compare("lookup "+kind, 1, func(s harness.System) run { return b.postmap(s, "keys", "-q", "-", kind+":"+b.dir+"/source") })
		for _, end := range []string{".db", ".cdb", ".lmdb"} {
			os.Remove(filepath.Join(host, "source"+end))
		}
	}
	b.compare("pcre", 1.5, func(s harness.System) run { return b.postmap(s, "headers", "-q", "-", "pcre:"+b.dir+"/rules") })
	t.Logf("\n%-14s %10s %10s %8s %8s %12s\n%s", "", "Postfix", "Postern", "ratio", "floor", "memory MiB", strings.Join(b.table, ""))
}

// compare measures both systems in turn.
func (b *bench) compare(name string, floor float64, measure func(s harness.System) run) {
	b.t.Helper()
	var theirs, ours []run
	for range *rounds {
		theirs = append(theirs, measure(harness.Postfix))
		ours = append(ours, measure(harness.Postern))
	}
	x, y := median(theirs), median(ours)
	if x.sum != y.sum {
		b.t.Errorf("%s: the answers differ", name)
	}
	ratio := y.wall.Seconds() / x.wall.Seconds()
	b.table = append(b.table, fmt.Sprintf("%-14s %8.2f s %8.2f s %8.2f %8.2f %5d %5d\n", name, x.wall.Seconds(), y.wall.Seconds(), ratio, floor, x.memory>>10, y.memory>>10))
	if ratio > floor {
		b.t.Errorf("%s takes %.2f of Postfix's time, the floor is %.2f (processor time: %.2f s against %.2f s)",
			name, ratio, floor, y.cpu.Seconds(), x.cpu.Seconds())
	}
}

func median(list []run) run {
	slices.SortFunc(list, func(a, b run) int { return int(a.wall - b.wall) })
	return list[len(list)/2]
}

// postmap runs the command of s; the file called stdin is its input.
func (b *bench) postmap(s harness.System, stdin string, args ...string) run {
	b.t.Helper()
	cmd := exec.Command("chroot", append([]string{b.root, s.SbinDir + "/postmap", "-c", b.dir}, args...)...)
	if stdin != "" {
		f, err := os.Open(filepath.Join(b.root, b.dir, stdin))
		if err != nil {
			b.t.Fatal(err)
		}
		defer f.Close()
		cmd.Stdin = f
	}
	hash := sha256.New()
	cmd.Stdout, cmd.Stderr = hash, io.Discard
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s: %v", cmd, err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return run{time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss, fmt.Sprintf("%x", hash.Sum(nil))}
}

func (b *bench) write(name string, fill func(w *bufio.Writer)) {
	b.t.Helper()
	f, err := os.Create(filepath.Join(b.root, b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fill(w)
	if err := w.Flush(); err != nil {
		b.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.t.Fatal(err)
	}
}

func key(i int) string { return fmt.Sprintf("user%06d@host%d.example.com", i, i%1000) }

// source has the keys in no order.
func source(w *bufio.Writer) {
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(*keys) {
		fmt.Fprintf(w, "%s\tmailbox/%d/user%06d/\n", key(i), i%97, i)
	}
}

func someKeys(w *bufio.Writer) {
	for _, i := range rand.New(rand.NewPCG(2, 2)).Perm(*keys) {
		fmt.Fprintln(w, key(i))
	}
}

var words = strings.Fields("account bitcoin casino cheap credit degree diploma discount expired free invoice lottery meeting mortgage " +
	"newsletter offer password pharmacy pills project replica suspended update urgent watches weight winner")

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

// someRules are header checks as administrators write them.
func someRules(w *bufio.Writer) {
	r := rand.New(rand.NewPCG(3, 3))
	forms := []string{
		`/^Subject: .*%[1]s%[3]d/ REJECT spam %[3]d`,
		`/^From:.*@%[1]s%[3]d\.example\.(com|net)/ REJECT from $1`,
		`/^Received:.*\[10\.%[4]d\.%[5]d\.[0-9]+\]/ REJECT net`,
		`/%[1]s.{0,10}%[2]s%[3]d/ HOLD`,
		`/^X-Mailer: (%[1]s|%[2]s) v?[0-9.]+%[3]d/ WARN $1`,
		`/^(To|Cc): .*<?%[1]s\.%[2]s%[3]d@/ REDIRECT a@b`,
		`/^Content-(Type|Disposition):.*name="?.*\.(exe|scr)%[3]d"?/ REJECT $2`,
		`/\b%[1]s\W+%[2]s\b.*%[3]d$/ DISCARD`,
		`/^Message-ID: <[a-z0-9]{8,}%[3]d@/ REJECT`,
		`/^List-Id: .*(%[1]s|%[2]s)-%[3]d/ FILTER x:y`,
	}
	for i := range *rules {
		text := fmt.Sprintf(forms[i%len(forms)]+"%[6]s", word(r), word(r), i, i%256, i*7%256, "")
		fmt.Fprintln(w, text)
	}
}

func headers(w *bufio.Writer) {
	r := rand.New(rand.NewPCG(4, 4))
	for i := range *lines {
		n := r.IntN(5000)
		fmt.Fprintln(w, []string{
			fmt.Sprintf("Subject: %s %s %s %s %d", word(r), word(r), word(r), word(r), n),
			fmt.Sprintf("From: \"%s\" <%s.%s@%s%d.example.com>", word(r), word(r), word(r), word(r), n),
			fmt.Sprintf("Received: from mail%d.example.net (mail%d.example.net [10.%d.%d.9]) by mx.example.com (Postfix) with ESMTPS id 4ABCDEF", i, i, n%256, i%256),
			fmt.Sprintf("To: <%s.%s%d@example.com>", word(r), word(r), n),
			fmt.Sprintf("X-Mailer: %s v%d.%d", word(r), n%20, n),
			fmt.Sprintf("Message-ID: <%x%d@mail.example.com>", r.Uint64(), n),
			"Content-Type: text/plain; charset=\"utf-8\"; name=\"" + word(r) + ".txt\"",
			fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=mail; h=from:to:subject; bh=%x%x; b=%x%x%x%x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()),
			"MIME-Version: 1.0",
			"Date: Mon, 23 Nov 2026 10:00:00 +0000",
			fmt.Sprintf("List-Id: <%s-%d.lists.example.com>", word(r), n),
		}[r.IntN(11)])
	}
}
