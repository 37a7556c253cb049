package postfix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/admin/check"
	"postern/internal/base/sys"
)

// instance lays out the configuration of a system of the user's own.
func instance(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir) // the command changes the working directory
	files := map[string]string{
		"etc/main.cf": "queue_directory = " + dir + "/queue\ndata_directory = " + dir + "/data\n" +
			"daemon_directory = " + dir + "/bin\ncommand_directory = " + dir + "/bin\n" +
			"maillog_file = " + dir + "/log\nmail_owner = nobody\nsetgid_group = " + group(t) + "\n" + more,
		"etc/master.cf": "postlog unix-dgram n - n - 1 postlogd\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("MAIL_CONFIG", "")
	return dir
}

// group is any group but root's.
func group(t *testing.T) string {
	for _, name := range []string{"nogroup", "nobody"} {
		if _, err := sys.LookupGroup(name); err == nil {
			return name
		}
	}
	t.Skip("no group nogroup or nobody")
	return ""
}

func run(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	var stderr strings.Builder
	status := Main(append([]string{"postfix", "-c", dir + "/etc"}, args...), nil, &stderr, &stderr, check.Knowledge{})
	return status, stderr.String()
}

func TestCheckCreatesDirectories(t *testing.T) {
	dir := instance(t, "")
	if status, text := run(t, dir, "check"); status != 0 {
		t.Fatalf("status %d: %s", status, text)
	}
	for name, want := range map[string]os.FileMode{
		"queue": 0o755, "queue/maildrop": 0o730, "queue/public": 0o710, "queue/private": 0o700,
		"queue/incoming": 0o700, "queue/pid": 0o755, "data": 0o700,
	} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", name, st, err, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("owners are looked at by root only")
	}
	if err := os.Chown(dir+"/queue/incoming", 0, -1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/queue/pid", 0o777); err != nil {
		t.Fatal(err)
	}
	_, text := run(t, dir, "check")
	for _, want := range []string{
		"postfix/postfix-script: warning: not owned by nobody: " + dir + "/queue/incoming\n",
		"postfix/postfix-script: warning: group or other writable: " + dir + "/queue/pid\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if status, text := run(t, dir, "set-permissions"); status != 0 {
		t.Fatalf("set-permissions: %s", text)
	}
	if _, text := run(t, dir, "check"); strings.Contains(text, "not owned") || strings.Contains(text, "writable") {
		t.Errorf("after set-permissions:\n%s", text)
	}
}

func TestMessages(t *testing.T) {
	dir := instance(t, "")
	tests := []struct {
		args   string
		status int
		want   string
	}{
		{"status", 1, "postfix/postfix-script: the Postfix mail system is not running\n"},
		{"stop", 1, "postfix/postfix-script: fatal: the Postfix mail system is not running\n"},
		{"reload", 1, "postfix/postfix-script: fatal: the Postfix mail system is not running\n"},
		{"abort", 1, "postfix/postfix-script: fatal: the Postfix mail system is not running\n"},
		{"nonesuch", 1, "fatal: unknown command: 'nonesuch'. Usage: postfix start"},
		{"start", 1, "fatal: no Postfix master program " + dir + "/bin/master!\n"},
		{"", 1, "usage: postfix [-c config_dir] [-Dv] command\n"},
		{"status now", 1, "usage: postfix status (no arguments)\n"},
		{"set-permissions mail_owner=x", 1, `set mail_owner=x with "postconf -e" first`},
	}
	for _, tt := range tests {
		status, text := run(t, dir, strings.Fields(tt.args)...)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("postfix %s: %d, %q, want %d, %q", tt.args, status, text, tt.status, tt.want)
		}
	}
}

func TestStatusOfARunningMaster(t *testing.T) {
	dir := instance(t, "")
	run(t, dir, "check")
	f, err := sys.OpenPIDFile(dir + "/queue/pid/master.pid")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sys.Flock(f, true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("                            4242\n"); err != nil {
		t.Fatal(err)
	}
	if status, text := run(t, dir, "status"); status != 0 || !strings.HasSuffix(text, "the Postfix mail system is running: PID: 4242\n") {
		t.Errorf("%d, %q", status, text)
	}
	if status, text := run(t, dir, "start"); status != 1 || !strings.Contains(text, "is already running") {
		t.Errorf("start: %d, %q", status, text)
	}
}

func TestMissingPostlogService(t *testing.T) {
	dir := instance(t, "")
	if err := os.WriteFile(dir+"/etc/master.cf", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, text := run(t, dir, "check"); status != 1 || !strings.Contains(text, "missing 'postlog' service in master.cf") {
		t.Errorf("%d, %q", status, text)
	}
}

func TestLogrotate(t *testing.T) {
	dir := instance(t, "maillog_file_rotate_suffix = old%%\nmaillog_file_compressor = true\n")
	if err := os.WriteFile(dir+"/log", []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, text := run(t, dir, "logrotate"); status != 0 {
		t.Fatalf("%d, %q", status, text)
	}
	if b, err := os.ReadFile(dir + "/log.old%"); err != nil || string(b) != "old\n" {
		t.Errorf("%q, %v", b, err)
	}
	dir = instance(t, "maillog_file = /dev/stdout\n")
	if status, _ := run(t, dir, "logrotate"); status != 1 {
		t.Errorf("/dev/stdout is rotated")
	}
}

func TestStrftime(t *testing.T) {
	when := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	got, err := strftime("%Y%m%d-%H%M%S.%j.%s%%", when)
	if err != nil || got != "20260203-040506.034.1770091506%" {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"%", "%Q"} {
		if _, err := strftime(bad, when); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// stub puts a program into the command directory that notes its arguments.
func stub(t *testing.T, dir, name string) (called func() string) {
	t.Helper()
	if err := os.MkdirAll(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	log := dir + "/" + name + ".calls"
	if err := os.WriteFile(dir+"/bin/"+name, []byte("#!/bin/sh\necho \"$*\" >>"+log+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return func() string {
		b, _ := os.ReadFile(log)
		os.Remove(log)
		return strings.ReplaceAll(string(b), dir, "DIR")
	}
}

func TestNonBDB(t *testing.T) {
	const service = "nbdb_reindex/unix"
	for _, tt := range []struct {
		setting, args string
		status        int
		calls, says   string
	}{
		{"", "status", 0, "", "disable\n"},
		{"non_bdb_migration_level = enable-redirect", "status", 0, "", "enable-redirect\n"},
		{"", "", 1, "", nonBDBUsage},
		{"", "status now", 1, "", nonBDBUsage},
		{"", "frob", 1, "", "unknown command: 'frob'"},
		{"", "enable-redirect", 1, "", "first run: postconf default_database_type=lmdb"},
		{"default_database_type = cdb\ndefault_cache_db_type = btree", "enable-reindex", 1, "", "first run: postconf default_cache_db_type=lmdb"},
		{"default_database_type = cdb", "enable-redirect", 0,
			"-q -c DIR/etc -e non_bdb_migration_level=enable-redirect\n-q -c DIR/etc -MX " + service + "\n", "postfix reload"},
		{"default_database_type = lmdb", "enable-reindex", 0,
			"-q -c DIR/etc -e non_bdb_migration_level=enable-reindex\n" +
				"-q -c DIR/etc -Me " + service + "=nbdb_reindex unix - n n - 1 nbdb_reindexd\n", "postfix reload"},
		{"", "disable", 0, "-q -c DIR/etc -X non_bdb_migration_level\n-q -c DIR/etc -MX " + service + "\n", "postfix reload"},
	} {
		dir := instance(t, tt.setting+"\n")
		calls := stub(t, dir, "postconf")
		status, says := run(t, dir, append([]string{"non-bdb"}, strings.Fields(tt.args)...)...)
		if got := calls(); status != tt.status || got != tt.calls || !strings.Contains(says, tt.says) {
			t.Errorf("%q, %s: status %d, calls %q, says %q", tt.setting, tt.args, status, got, says)
		}
	}
}
