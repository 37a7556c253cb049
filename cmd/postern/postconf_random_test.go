package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/test/harness"
)

var expressions = flag.Int("expressions", 20, "how many random values TestExpandRandom compares")

// TestExpandRandom compares what postconf -x prints for random values with what
// the real one prints: the same text, or an error from both.
func TestExpandRandom(t *testing.T) {
	if os.Geteuid() != 0 {
		harness.Skip(t, "the real postconf runs in the private root")
	}
	seed := uint64(time.Now().UnixNano())
	if *expressions <= 20 {
		seed = 1 // the same in every run of the suite
	}
	r := rand.New(rand.NewPCG(seed, 2))
	compareValue(t, realPostconf(t), ourPostconf(t), r, *expressions)
}

func compareValue(t *testing.T, theirs, ours postconfSystem, r *rand.Rand, n int) {
	old := time.Now().Add(-time.Hour)
	for range n {
		value := strings.TrimSpace(randomValue(r, 3))
		text := "compatibility_level = 3.6\nmyhostname = a.example\nmydomain = example\none = 1\nempty =\nten = 10\nref = <$one>\nsmtpd_banner = " + value + "\n"
		for _, s := range []postconfSystem{theirs, ours} {
			for name, data := range map[string]string{"main.cf": text, "master.cf": ""} {
				path := filepath.Join(s.dir, name)
				if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, old, old); err != nil {
					t.Fatal(err)
				}
			}
		}
		want, wantErr, status1 := theirs.run([]string{"-xh", "smtpd_banner"})
		got, gotErr, status2 := ours.run([]string{"-xh", "smtpd_banner"})
		if status1 != 0 && status2 != 0 {
			continue
		}
		if status1 != status2 || got != want {
			t.Errorf("%s\ngot  %d %q %s\nwant %d %q %s", value, status2, got, firstFatal(gotErr), status1, want, firstFatal(wantErr))
		}
	}
}

func firstFatal(stderr string) string {
	var list []string
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "unused parameter") && !strings.Contains(line, "undefined parameter") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return strings.Join(list, "; ")
}

// randomValue makes a text with references, right ones and, now and then, wrong
// ones.
func randomValue(r *rand.Rand, depth int) string {
	var b strings.Builder
	for range 1 + r.IntN(3) {
		b.WriteString(randomPiece(r, depth))
	}
	return b.String()
}

func randomPiece(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	name := pick("one", "empty", "ten", "ref", "nosuch", "mydomain", "smtpd_timeout")
	blank := func() string { return pick("", "", "", " ", "  ") }
	if depth == 0 {
		return pick("x", " ", "$"+name, "${"+name+"}", "$("+name+")", "$$", "1", "?", ":", "a b")
	}
	inner := func() string { return randomValue(r, depth-1) }
	braced := func() string { return blank() + "{" + inner() + "}" + blank() }
	operator := pick("==", "!=", "<", "<=", ">=", ">", "==", "<level", "==level", "=", "==x")
	switch r.IntN(12) {
	case 0:
		return pick("text", ".", ",", "-", "_", "9", "{", "}", "(", ")", "\\", "\"", "=", "%", "#")
	case 1:
		return "$" + name
	case 2:
		return "${" + blank() + name + blank() + "}"
	case 3:
		return "$(" + name + ")"
	case 4:
		return "${" + name + blank() + pick("?", ":") + inner() + "}"
	case 5:
		return "${" + name + blank() + pick("?", ":") + braced() + "}"
	case 6:
		return fmt.Sprintf("${%s?%s:%s}", name, braced(), pick(braced(), inner()))
	case 7:
		return fmt.Sprintf("${%s%s%s?%s:%s}", braced(), operator, braced(), braced(), braced())
	case 8:
		return fmt.Sprintf("${%s%s%s}", braced(), operator, braced())
	case 9:
		return "$" + pick("", "{", "}", "$", "{}", "${one}", "-", "1x")
	case 10:
		return fmt.Sprintf("${%s%s%s%s%s}", braced(), operator, braced(), pick("?", ":"), inner())
	}
	return fmt.Sprintf("$(%s%s%s)", name, pick("?", ":"), inner())
}
