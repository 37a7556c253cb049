package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/config/maincf"
	"postern/internal/config/mastercf"
	"postern/internal/config/param"
)

// TestMain makes the test binary act as any program that it is called by.
func TestMain(m *testing.M) {
	if !strings.HasSuffix(os.Args[0], ".test") {
		os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	check := func(name string) {
		if name == "" || seen[name] {
			t.Errorf("program %q is listed twice", name)
		}
		seen[name] = true
	}
	for _, p := range daemons() {
		check(p.Name)
	}
	for _, c := range commands() {
		check(c.name)
		if c.summary == "" {
			t.Errorf("%s has no summary", c.name)
		}
	}
	types := make(map[string]bool)
	for _, typ := range tables() {
		if types[typ.Name] {
			t.Errorf("table type %s is listed twice", typ.Name)
		}
		types[typ.Name] = true
	}
}

// TestDefaultsLoad loads what each program declares with nothing set.
func TestDefaultsLoad(t *testing.T) {
	empty := maincf.Empty("main.cf").Override("myhostname", "host.example", "test")
	for i, declare := range parameters() {
		set := param.NewSet()
		declare(set)
		if i > 0 {
			new(param.Common).Params(set)
		}
		if err := set.Load(empty); err != nil {
			t.Errorf("declaration %d: %v", i, err)
		}
	}
}

func TestDispatch(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"postern", "help"}, 0, "\n  postfix "},
		{[]string{"/usr/sbin/postern"}, 64, "usage: postern program"},
		{[]string{"postern", "nonesuch"}, 64, `unknown program: "nonesuch"`},
		{[]string{"nonesuch"}, 64, `unknown program: "nonesuch"`},
		{[]string{"postern", "postlog", "-p", "loud"}, 1, `postlog: fatal: bad severity: "loud"`},
	}
	for _, tt := range tests {
		var b strings.Builder
		if status := run(tt.args, strings.NewReader(""), &b, &b); status != tt.status || !strings.Contains(b.String(), tt.want) {
			t.Errorf("%q: status %d, %q, want %d, %q", tt.args, status, b.String(), tt.status, tt.want)
		}
	}
}

func TestUnreadSettingsAreNamed(t *testing.T) {
	c := maincf.Empty("main.cf").
		Override("mydomian", "x", "main.cf, line 1").
		Override("mine", "x", "main.cf, line 2").
		Override("queue_directory", "x", "main.cf, line 3").
		Override("compatibility_level", "3.5", "main.cf, line 4")
	got := warnings()(c, []string{"-o", "myorigin=$mine"})
	if len(got) < 2 || !slices.Contains(got, "using backwards-compatible default setting smtpd_relay_before_recipient_restrictions=no") {
		t.Errorf("compatibility_level 3.5: got %q", got)
	}
	got = warnings()(c.Override("compatibility_level", "3.11", "main.cf, line 4"), []string{"-o", "myorigin=$mine"})
	if len(got) != 1 || !strings.Contains(got[0], "mydomian=x; did you mean mydomain?") {
		t.Errorf("got %q", got)
	}
}

// TestStartAndStop runs the mail system of the stock master.cf, without its
// network services, as whoever runs the test.
func TestStartAndStop(t *testing.T) {
	dir, err := os.MkdirTemp("", "postern")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"master", "postfix", "postkick"}
	for _, p := range daemons() {
		names = append(names, p.Name)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	stock, err := os.ReadFile("../../conf/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	masterCF := strings.Replace(string(stock), "\nsmtp       inet", "\n#smtp       inet", 1)
	mainCF := fmt.Sprintf(`compatibility_level = 3.11
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[1]s/bin
command_directory = %[1]s/bin
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
maillog_file_compressor = true
mail_owner = nobody
setgid_group = nogroup
myhostname = host.example
virtual_alias_maps = hash:%[1]s/etc/table
auto_rebuild_tables = yes
`, dir)
	for name, text := range map[string]string{"main.cf": mainCF, "master.cf": masterCF} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	postfix := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "bin", args[0]), append([]string{"-c", filepath.Join(dir, "etc")}, args[1:]...)...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("%q: status %d: %s\nlog:\n%s", args, cmd.ProcessState.ExitCode(), out, log)
		}
		return string(out)
	}
	table := oldTable(t, filepath.Join(dir, "etc"))
	postfix(0, "postfix", "start")
	t.Cleanup(func() { exec.Command(filepath.Join(dir, "bin/postfix"), "-c", filepath.Join(dir, "etc"), "stop").Run() })
	if out := postfix(0, "postfix", "status"); !strings.Contains(out, "is running: PID: ") {
		t.Errorf("status: %q", out)
	}
	postfix(1, "postfix", "start")
	table.awaitRebuilt(t)
	postfix(0, "postkick", "public", "qmgr", "W")
	refuseReload(t, dir, mainCF, postfix)
	postfix(0, "postfix", "reload")
	postfix(0, "postfix", "logrotate")
	postfix(0, "postfix", "check")
	postfix(0, "postfix", "stop")
	postfix(1, "postfix", "status")
	logs, _ := filepath.Glob(filepath.Join(dir, "log*"))
	var text strings.Builder
	for _, name := range logs {
		b, _ := os.ReadFile(name)
		text.Write(b)
	}
	for _, want := range []string{
		"postfix/postfix-script[", ": starting the Postfix mail system\n", ": daemon started -- version ",
		": refreshing the Postfix mail system\n", ": reload -- version ", ": stopping the Postfix mail system\n",
		": terminating on signal 15\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in the logs", want)
		}
	}
	for _, bad := range []string{"fatal: ", "panic: ", "throttling", "dropped"} {
		expected := strings.NewReplacer("fatal: the Postfix mail system is", "", "fatal: reload refused", "")
		if strings.Contains(expected.Replace(text.String()), bad) {
			t.Errorf("%q in the logs", bad)
		}
	}
	if t.Failed() {
		t.Logf("log:\n%s", text.String())
	}
}

// refuseReload has postfix and master refuse a configuration with a milter
// that does not exist, and puts the old one back.
func refuseReload(t *testing.T, dir, mainCF string, postfix func(int, ...string) string) {
	t.Helper()
	path := filepath.Join(dir, "etc/main.cf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(mainCF + "non_smtpd_milters = frob:x\n")
	want := fmt.Sprintf(`error: %s, line %d: the service would not start: non_smtpd_milters: milter service "frob:x": unknown transport`, path, 1+strings.Count(mainCF, "\n"))
	if out := postfix(1, "postfix", "reload"); !strings.Contains(out, want) || !strings.Contains(out, "fatal: reload refused, the old configuration stays in effect") {
		t.Errorf("reload: %q, want %q", out, want)
	}
	b, err := os.ReadFile(filepath.Join(dir, "queue/pid/master.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		if strings.Contains(string(log), "error: reload refused, the old configuration stays in effect: ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("master does not refuse the configuration:\n%s", log)
		}
	}
	write(mainCF)
}

// A staleTable is an index that is older than its source.
type staleTable struct {
	path string
	then os.FileInfo
}

func oldTable(t *testing.T, dir string) *staleTable {
	t.Helper()
	s := &staleTable{path: filepath.Join(dir, "table")}
	if err := os.WriteFile(s.path, []byte("a@example.com b@example.com\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if run([]string{"postmap", "-c", dir, "hash:" + s.path}, strings.NewReader(""), &out, &out) != 0 {
		t.Fatal(out.String())
	}
	for name, age := range map[string]time.Duration{s.path: time.Hour, s.path + ".db": 2 * time.Hour} {
		if err := os.Chtimes(name, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.then, err = os.Stat(s.path + ".db"); err != nil {
		t.Fatal(err)
	}
	return s
}

// awaitRebuilt waits until the index is a new file.
func (s *staleTable) awaitRebuilt(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now, err := os.Stat(s.path + ".db"); err == nil && !os.SameFile(now, s.then) {
			return
		}
	}
	t.Error("the table was not built anew")
}

// A reload is refused for what would end a service's program at its start.
func TestProblems(t *testing.T) {
	smtpd, unknown := &mastercf.Service{Command: "smtpd"}, &mastercf.Service{Command: "frob"}
	for _, tt := range []struct {
		text    string
		service *mastercf.Service
		want    string
	}{
		{"smtpd_timeout = 10m\n", smtpd, ""},
		{"smtpd_timeout = banana\n", smtpd, "main.cf, line 3: parameter smtpd_timeout: bad time value or unit: banana"},
		{"smtpd_timeout = banana\n", unknown, ""},
		{"smtp_helo_timeout = banana\n", smtpd, ""},
		{"smtpd_hard_error_limit = 0\n", smtpd, "main.cf, line 3: invalid smtpd_hard_error_limit parameter value 0 < 1"},
		{"smtpd_client_restrictions = ${x\n", smtpd, "main.cf, line 3: parameter smtpd_client_restrictions: truncated macro reference"},
		{"non_bdb_migration_level = frob\n", smtpd, `parameter non_bdb_migration_level: invalid value "frob"`},
	} {
		c, err := maincf.Read(strings.NewReader("compatibility_level = 3.11\nmyhostname = a.example\n"+tt.text), "main.cf")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := errors.Join(problems(c, tt.service)...); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", tt.text, got, tt.want)
		}
	}
}
