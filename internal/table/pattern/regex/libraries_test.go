package regex

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Libraries asks PCRE2 and the C library, in a process of their own.
type libraries struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startLibraries(t testing.TB) *libraries {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libraries")
	out, err := exec.Command("gcc", "-O1", "-o", path, "testdata/libraries.c", "-lpcre2-8").CombinedOutput()
	if err != nil {
		missing := fmt.Sprintf("gcc, libc6-dev or libpcre2-dev is not installed: %v %s", err, out)
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	cmd := exec.Command(path)
	in, err1 := cmd.StdinPipe()
	r, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &libraries{in, bufio.NewReader(r)}
}

// Status of an answer.
const (
	badPattern = iota
	noMatch
	matched
	gaveUp
)

func (l *libraries) ask(t testing.TB, kind byte, f Flags, pattern, subject string) (status uint32, at []int) {
	t.Helper()
	o := binary.NativeEndian
	b := o.AppendUint32(o.AppendUint32(nil, uint32(kind)), uint32(f))
	b = append(o.AppendUint32(b, uint32(len(pattern))), pattern...)
	b = append(o.AppendUint32(b, uint32(len(subject))), subject...)
	if _, err := l.in.Write(b); err != nil {
		t.Fatal(err)
	}
	var head [2]uint32
	if err := binary.Read(l.out, o, &head); err != nil {
		t.Fatal(err)
	}
	positions := make([]int32, head[1])
	if err := binary.Read(l.out, o, positions); err != nil {
		t.Fatal(err)
	}
	for _, p := range positions {
		at = append(at, int(p))
	}
	return head[0], at
}

// compare says in what we differ from a library; asked is false where we
// refuse the pattern, or one side gave up.
func (l *libraries) compare(t testing.TB, kind byte, f Flags, pattern, subject string) (difference string, asked bool) {
	t.Helper()
	compile := Perl
	if kind == 'r' {
		compile = POSIX
	}
	status, want := l.ask(t, kind, f, pattern, subject)
	re, err := compile(pattern, f)
	switch {
	case errors.Is(err, ErrUnsupported) || errors.Is(err, errTooLarge) || status == gaveUp:
		return "", false
	case err != nil && status == badPattern:
		return "", true
	case err != nil:
		return fmt.Sprintf("we refuse the pattern: %v", err), true
	case status == badPattern:
		return "we take the pattern", true
	}
	got, err := re.Match(subject)
	if err != nil {
		return "", false
	}
	if lit := re.Literals(); got != nil && len(lit) > 0 && !slices.ContainsFunc(lit, func(s string) bool {
		return strings.Contains(asciiLower(subject), s)
	}) {
		return fmt.Sprintf("none of the required texts %q is in it", lit), true
	}
	if re.linear != nil {
		m, done := re.linear.match(subject)
		if done && !slices.Equal(m, got) {
			return fmt.Sprintf("the linear engine says %v, the other %v", m, got), true
		}
	}
	if (got != nil) != (status == matched) || got != nil && !slices.Equal(got, want) {
		return fmt.Sprintf("got %v, want %v", got, want), true
	}
	return "", true
}

func asciiLower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

// parts are what patterns are made of.
var (
	perlParts = []string{"a", "b", "c", "A", "ab", ".", "\\d", "\\w", "\\s", "\\W", "[ab]", "[^a]", "[a-c]", "[[:alpha:]]", "^", "$", "\\b", "\\B",
		"\\A", "\\z", "\\Z", "(", ")", "(?:", "|", "*", "+", "?", "{2}", "{1,2}", "{0,1}", "{,2}", "{2,}", "*?", "+?", "??", "++", "*+", "\\1", "\\2",
		"(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i)", "(?-i)", "(?s)", "(?m:", "(?i:", "(?x)", " ", "#", "\\n", "\n", "\\x61", "\\141", "\\Q", "\\E", "\\K",
		"(?|", "(?(1)", "(?<n>", "\\k<n>", "\\g1", "\\g{-1}", "\\h", "\\R", "\\N", "\\.", "[", "]", "{", "}", "-", "\xe9", "0", "_", "\\e", "\\cA",
		"[\\w-]", "[]a]", "[^]a]", "[\\]a]", "[a\\-c]", "\\v", "\\H", "(?#x)", "@", ",", "(?<!a|bc)", "(?U)"}
	posixParts = []string{"a", "b", "c", "A", "ab", ".", "[ab]", "[^a]", "[a-c]", "[[:alpha:]]", "[[:space:]]", "^", "$", "(", ")", "|", "*", "+",
		"?", "{2}", "{1,2}", "{0,1}", "{,2}", "{2,}", "{", "}", "\\1", "\\2", "\\w", "\\W", "\\s", "\\b", "\\B", "\\<", "\\>", "\\`", "\\'", "\\.",
		"[]a]", "[^]a]", "[a\\]", " ", "\n", "\\(", "\\)", "\\{1,2\\}", "\\|", "\\+", "\\?", "\\{2\\}", "[", "]", "-", "\xe9", "0", "[[.a.]]", "[[=a=]]",
		"[a-]", "[-a]", "\\n", "(a*b)", "(a|ab)", "(bc?)+"}
	subjectParts = []string{"a", "b", "c", "A", "B", "ab", "abc", " ", "\n", "0", "_", "-", ".", "\xe9", "aa", "bb", "@", "\r\n", "\r", "\x00", "\x0b", "\x85", "\xc9", "\xb2", "\xa0", "\xaa", "(", ")", "((a)b)"}
)

func join(r *rand.Rand, parts []string, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// balanced adds parentheses that are missing at the end, which makes more of the
// patterns good ones.
func balanced(pattern string) string {
	if n := strings.Count(pattern, "(") - strings.Count(pattern, ")"); n > 0 && len(pattern)%2 == 0 {
		return pattern + strings.Repeat(")", n)
	}
	return pattern
}

// search compares random patterns until the number is reached, or the test has
// taken long enough.
func search(t *testing.T, kind byte, parts []string, flags []Flags) {
	searchSome(t, kind, parts, flags, "", 60_000)
}

// searchSome is search with a prefix of all patterns and another number.
func searchSome(t *testing.T, kind byte, parts []string, flags []Flags, prefix string, number int) {
	l := startLibraries(t)
	seed := uint64(1) // or SEED of the environment, to look further
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	r := rand.New(rand.NewPCG(seed, uint64(kind)))
	count, refused, differ := 0, 0, 0
	deadline := time.Now().Add(10 * time.Second)
	for n := 0; n < number && differ < 25 && time.Now().Before(deadline); n++ {
		f := flags[r.IntN(len(flags))]
		pattern, subject := join(r, parts, 8), join(r, subjectParts, 8)
		if kind == 'r' {
			subject = strings.ReplaceAll(subject, "\x00", "0")
		} else {
			pattern = prefix + balanced(pattern)
		}
		if kind == 'r' && f&Multiline == 0 {
			// The C library finds anchors at newlines inside even without REG_NEWLINE.
			subject = strings.ReplaceAll(subject, "\n", "_")
		}
		difference, asked := l.compare(t, kind, f, pattern, subject)
		if !asked {
			refused++
		} else {
			count++
		}
		if difference != "" {
			differ++
			t.Errorf("/%q/ flags %d, subject %q: %s", pattern, f, subject, difference)
		}
	}
	t.Logf("%d compared, %d refused or given up", count, refused)
}

func TestAgainstPCRE2(t *testing.T) {
	search(t, 'p', perlParts, []Flags{DotAll | IgnoreCase, DotAll, 0, IgnoreCase | Multiline, Extended | DotAll, Anchored, DollarEnd, Ungreedy | DotAll})
}

// Calls and properties are rare among random patterns; here they are not.
func TestCallsAgainstPCRE2(t *testing.T) {
	parts := append([]string{"(?R)", "(?1)", "(?2)", "(?-1)", "(?+1)", "(?0)", "(?&n)", "(?P>n)", "\\g<1>", "\\g'-1'", "(?(DEFINE)", "(*F)", "(*FAIL)", "(*pla:", "(*nlb:",
		"(*atomic:", "\\p{L}", "\\P{Lu}", "\\pN", "\\p{^Ll}", "\\p{Latin}", "\\p{Xan}", "\\p{Xsp}", "\\p{ any }", "\\p{L&}", "[\\p{Ll}0]", "[^\\pL]", "\\p{Sk}",
		"(a|b(?1)c)", "(a(?1)?b)", "\\((?:[^()]|(?R))*\\)", "(?1)*", "(?<n>a|(?&n)b)"}, perlParts[:60]...)
	search(t, 'p', parts, []Flags{DotAll | IgnoreCase, DotAll, 0, Extended | DotAll})
}

// TestVerbsAgainstPCRE2 has verbs and conditions in all places.
func TestVerbsAgainstPCRE2(t *testing.T) {
	verbs := []string{"(*ACCEPT)", "(*FAIL)", "(*F)", "(*COMMIT)", "(*PRUNE)", "(*SKIP)", "(*THEN)", "(*MARK:a)", "(*:a)", "(*PRUNE:a)", "(*THEN:a)", "(*COMMIT:a)",
		"(*SKIP)(*F)", "(*SKIP:a)", "(*SKIP:a)", "(*SKIP:b)", "(*:b)", "(*COMMIT)", "(*PRUNE)", "(*SKIP)", "(*THEN)", "(*ACCEPT)"}
	conditions := []string{"(?(R)", "(?(R1)", "(?(R2)", "(?(R&n)", "(?(n)", "(?(<n>)", "(?('n')", "(?(-1)", "(?(+1)", "(?(?=a)", "(?(?!a)", "(?(?<=a)", "(?(?<!b)", "(?(*pla:a)", "(?(DEFINE)",
		"(?1)", "(?R)", "(?&n)", "(?<n>", "(?(?=a|b)", "(?(?=a"}
	plain := []string{"a", "b", "c", "ab", "a", "b", ".", "[ab]", "(", ")", "(?:", "|", "|", ")", "*", "+", "?", "{2}", "??", "++", "(?=", "(?!", "(?<=", "(?>", "\\b", "^", "$", "\\K", "\\1", "(?|"}
	all := [][]string{slices.Concat(verbs, plain), slices.Concat(conditions, conditions, plain), slices.Concat(verbs, verbs, conditions, plain)}
	for _, nl := range []string{"(*CRLF)", "(*ANYCRLF)", "(*ANY)", "(*CR)", "(*NUL)", "(*LF)", "(*NOTEMPTY)", "(*NOTEMPTY_ATSTART)", "(*NO_START_OPT)", "(*BSR_ANYCRLF)"} {
		t.Run(nl, func(t *testing.T) {
			lines := []string{"\\X", "\\C", "\\R", "\\N", "^", "$", ".", "\\Z", "\\z", "\r", "\n", "\\r\\n", "[\\n]", "[\\r\\n]", "[^\\n]", "\\X+", "(?m)", "(?s)", "a", "(", ")", "|", "*", "+",
				"\\b", "(?<!", "(?=", "#", "\\K", "(*COMMIT)", "(*SKIP)", "x*"}
			searchSome(t, 'p', lines, []Flags{0, Multiline, DollarEnd, DotAll, Extended, Anchored}, nl, 8000)
		})
	}
	for n, parts := range all {
		t.Run([]string{"verbs", "conditions", "both"}[n], func(t *testing.T) {
			search(t, 'p', parts, []Flags{DotAll | IgnoreCase, DotAll, 0, Anchored})
		})
	}
}

func TestAgainstLibC(t *testing.T) {
	search(t, 'r', posixParts, []Flags{Extended | IgnoreCase, Extended, IgnoreCase, 0, Extended | Multiline, Multiline})
}

func FuzzAgainstPCRE2(f *testing.F) {
	l := startLibraries(f)
	f.Add("^(a|b)*c", "abac", 0)
	f.Fuzz(func(t *testing.T, pattern, subject string, flags int) {
		if difference, _ := l.compare(t, 'p', Flags(flags)&(2*Ungreedy-1), pattern, subject); difference != "" {
			t.Errorf("%q: %q: %s", pattern, subject, difference)
		}
	})
}

func FuzzAgainstLibC(f *testing.F) {
	l := startLibraries(f)
	f.Add("^(a|b)*c", "abac", 1)
	f.Fuzz(func(t *testing.T, pattern, subject string, flags int) {
		if strings.ContainsRune(pattern+subject, 0) || strings.Contains(subject, "\n") {
			return
		}
		if difference, _ := l.compare(t, 'r', Flags(flags)&(IgnoreCase|Multiline|Extended), pattern, subject); difference != "" {
			t.Errorf("%q: %q: %s", pattern, subject, difference)
		}
	})
}
