package user

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/protocol/sasl"
)

// run calls the command in a configuration directory.
func run(t *testing.T, dir, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"user", args[0], "--config", dir}, args[1:]...)
	status = Main(args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

func configure(t *testing.T, settings string) string {
	t.Helper()
	dir := t.TempDir()
	text := "queue_directory = " + dir + "\nmaillog_file = " + filepath.Join(dir, "log") + "\nmail_owner = root\n" + settings
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUsers(t *testing.T) {
	dir := configure(t, "")
	file := filepath.Join(dir, "sasl_users")
	os.WriteFile(file, []byte("# people\njim:{SSHA}2yS+Iidof693s52BSNEzvuI4yV7egr51:1000::x\nbob:{PLAIN}y\n"), 0o600)
	for _, tt := range []struct {
		args  []string
		stdin string
		want  int
		says  string
	}{
		{[]string{"add", "ann"}, "secret\n", 0, "smtpd_sasl_type = cyrus: the server does not ask " + file},
		{[]string{"add", "ann"}, "secret\n", 1, "user ann exists already"},
		{[]string{"add", "--scheme", "argon2id", "tim"}, "pass word\n", 0, ""},
		{[]string{"add", "--scheme", "bcrypt", "kim"}, "pass word\n", 0, ""},
		{[]string{"del", "kim"}, "", 0, ""},
		{[]string{"add", "--scheme", "PLAIN", "tom"}, "x\n", 1, `unknown scheme "PLAIN"`},
		{[]string{"add", "a:b"}, "x\n", 1, "colons"},
		{[]string{"add", "eve"}, "", 1, "no password"},
		{[]string{"passwd", "jim"}, "new\r\n", 0, ""},
		{[]string{"passwd", "joe"}, "new\n", 1, "no user joe"},
		{[]string{"del", "bob"}, "", 0, ""},
		{[]string{"del", "bob"}, "", 1, "no user bob"},
		{[]string{"del"}, "", 64, "usage"},
		{[]string{"add", "ann", "secret"}, "", 64, "usage"},
		{[]string{"nonsense"}, "", 64, "usage"},
	} {
		status, _, stderr := run(t, dir, tt.stdin, tt.args...)
		if status != tt.want || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: got status %d, %q; want %d, %q", tt.args, status, stderr, tt.want, tt.says)
		}
	}
	_, text, _ := run(t, dir, "", "list")
	if want := "jim\tSCRAM-SHA-256\nann\tSCRAM-SHA-256\ntim\tARGON2ID\n"; text != want {
		t.Errorf("list: got %q, want %q", text, want)
	}
	_, text, _ = run(t, dir, "", "list", "--json")
	var list []entry
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 3 || list[0] != (entry{User: "jim", Scheme: "SCRAM-SHA-256", Line: 2}) {
		t.Errorf("list --json: %s, %v", text, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	content, _ := os.ReadFile(file)
	if !strings.HasPrefix(string(content), "# people\njim:{SCRAM-SHA-256}") || !strings.Contains(string(content), ":1000::x\n") {
		t.Errorf("comments and other fields are not kept:\n%s", content)
	}
	for _, u := range [][2]string{{"ann", "secret"}, {"tim", "pass word"}, {"jim", "new"}} {
		sasl.ReadUsers(bytes.NewReader(content), func(_ int, user, secret, _ string, _ error) error {
			if s, err := sasl.ParseSecret(secret); user == u[0] && (err != nil || !s.Verify(u[1])) {
				t.Errorf("%s: the secret does not fit the password", user)
			}
			return nil
		})
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".sasl*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Edits at the same time do not lose one another's users.
func TestConcurrentEdits(t *testing.T) {
	dir := configure(t, "")
	var wg sync.WaitGroup
	names := strings.Fields("a b c d e f g h")
	for _, name := range names {
		wg.Go(func() { run(t, dir, "secret\n", "add", "--scheme", "SSHA", name) })
	}
	wg.Wait()
	_, text, _ := run(t, dir, "", "list")
	for _, name := range names {
		if !strings.Contains(text, name+"\tSSHA\n") {
			t.Errorf("%s is lost: %q", name, text)
		}
	}
}

func TestOtherTable(t *testing.T) {
	dir := configure(t, "smtpd_sasl_users = hash:/etc/users\n")
	if status, _, stderr := run(t, dir, "x\n", "add", "ann"); status != 78 || !strings.Contains(stderr, "smtpd_sasl_users = hash:/etc/users") {
		t.Errorf("got %d, %q", status, stderr)
	}
}

// A command without arguments says in one clean line how it is used, and a list
// before the first user says how there will be one.
func TestBeforeTheFirstUser(t *testing.T) {
	var out, errs bytes.Buffer
	if status := Main([]string{"user"}, strings.NewReader(""), &out, &errs); status != 64 || strings.Contains(errs.String(), "?") {
		t.Errorf("got status %d, %q", status, errs.String())
	}
	dir := configure(t, "smtpd_sasl_type = postern\n")
	if status, _, stderr := run(t, dir, "", "list"); status != 1 || !strings.Contains(stderr, `"postern user add" makes the file`) {
		t.Errorf("list: got status %d, %q", status, stderr)
	}
	if status, _, stderr := run(t, dir, "secret\n", "add", "ann"); status != 0 || stderr != "" {
		t.Errorf("add: got status %d, %q", status, stderr)
	}
}
