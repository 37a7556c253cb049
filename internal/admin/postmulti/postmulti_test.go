package postmulti

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/admin/check"
	"postern/internal/admin/postconf"
	"postern/internal/admin/postfix"
	"postern/internal/config/param"
)

// TestMain makes the test binary act as the commands that postmulti runs.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "postconf":
		k := postconf.Knowledge{Parameters: []func(*param.Set){new(param.Common).Params, Params}}
		os.Exit(postconf.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, k))
	case "postfix":
		os.Exit(postfix.Main(os.Args, os.Stdin, os.Stdout, os.Stderr, check.Knowledge{}))
	}
	os.Exit(m.Run())
}

// A machine has a primary instance in etc/postfix below its top.
type machine struct {
	t   *testing.T
	top string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t, t.TempDir()}
	if err := os.Chmod(m.top, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/postfix", "bin", "q/postfix", "d/postfix"} {
		if err := os.MkdirAll(filepath.Join(m.top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postconf", "postfix"} {
		if err := os.Symlink(self, filepath.Join(m.top, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	m.write("etc/postfix/main.cf", "compatibility_level = 3.11\nqueue_directory = @/q/postfix\ndata_directory = @/d/postfix\ncommand_directory = @/bin\ndaemon_directory = @/bin\n"+
		"meta_directory = @/etc/postfix\nmaillog_file = @/log\nmaillog_file_prefixes = @\nmail_owner = nobody\nsetgid_group = nogroup\n")
	m.write("etc/postfix/master.cf", "postlog unix-dgram n - n - 1 postlogd\n")
	m.write("etc/postfix/main.cf.proto", "# The stock file.\ncompatibility_level = 3.11\nmail_owner = somebody\nhtml_directory = no\nmaillog_file = @/log\nmaillog_file_prefixes = @\n")
	m.write("etc/postfix/master.cf.proto", "postlog unix-dgram n - n - 1 postlogd\n")
	t.Setenv("MAIL_CONFIG", "")
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.top, path), []byte(strings.ReplaceAll(text, "@", m.top)), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.top, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), m.top, "@")
}

// run runs the command and returns its status and what it printed.
func (m *machine) run(line string, args ...string) (int, string) {
	m.t.Helper()
	var out bytes.Buffer
	args = append(append([]string{"postmulti"}, strings.Fields(strings.ReplaceAll(line, "@", m.top))...), args...)
	status := run(args, nil, &out, &out, filepath.Join(m.top, "etc/postfix"))
	return status, strings.ReplaceAll(out.String(), m.top, "@")
}

// want runs the command and compares.
func (m *machine) want(line string, status int, text string) {
	m.t.Helper()
	got, out := m.run(line)
	if got != status || out != text {
		m.t.Errorf("postmulti %s: status %d, want %d; got\n%s\nwant\n%s", line, got, status, out, text)
	}
}

func TestInstances(t *testing.T) {
	m := newMachine(t)
	m.want("-l", 0, "-               -               y         @/etc/postfix\n")
	m.want("-e create -I postfix-a", 1, "postfix/postmulti-script: fatal: multi_instance_wrapper is empty, run 'postmulti -e init' first.\n")
	m.want("-e init", 0, "")
	m.want("-e create -I postfix-a -G mta", 0, "")
	m.want("-e create -I postfix-b -G out queue_directory=@/q/bb", 0, "")
	m.want("-e create -I postfix-c -i postfix-b", 0, "")
	m.want("-e create -a -I postfix-d -G mta", 0, "")
	m.want("-e create -I postfix-e -g out", 0, "")
	m.want("-l", 0, `-               -               y         @/etc/postfix
postfix-d       mta             n         @/etc/postfix-d
postfix-a       mta             n         @/etc/postfix-a
postfix-c       -               n         @/etc/postfix-c
postfix-e       -               n         @/etc/postfix-e
postfix-b       out             n         @/etc/postfix-b
`)
	m.want("-l -R -g mta", 0, "postfix-a       mta             n         @/etc/postfix-a\npostfix-d       mta             n         @/etc/postfix-d\n")
	m.want("-l -j -i postfix-b", 0, `{"name":"postfix-b","group":"out","enabled":"n","config_directory":"@/etc/postfix-b"}`+"\n")
	m.want("-l -j -i -", 0, `{"name":"-","group":"-","enabled":"y","config_directory":"@/etc/postfix"}`+"\n")
	m.want("-l -i @/etc/postfix-c", 0, "postfix-c       -               n         @/etc/postfix-c\n")
	m.want("-l -i nope", 0, "")
	for _, want := range []string{
		"queue_directory = @/q/bb\n", "data_directory = @/d/postfix-b\n", "mail_owner = nobody\n", "#html_directory = no\n",
		"master_service_disable = inet\n", "multi_instance_name = postfix-b\n", "multi_instance_group = out\n", "authorized_submit_users =",
	} {
		if text := m.read("etc/postfix-b/main.cf"); !strings.Contains(text, want) {
			t.Errorf("no %q in the new main.cf:\n%s", want, text)
		}
	}
	if st, err := os.Stat(m.top + "/q/bb/maildrop"); err != nil || st.Mode().Perm() != 0o730 {
		t.Errorf("maildrop of the new instance: %v, %v", st, err)
	}
	m.want("-e assign -i postfix-b -I postfix-x -G -", 0, "")
	m.want("-l -i postfix-x", 0, "postfix-x       -               n         @/etc/postfix-b\n")
	m.want("-e deport -i postfix-c", 0, "")
	if text := m.read("etc/postfix/main.cf"); !strings.Contains(text, "alternate_config_directories = @/etc/postfix-c\n") {
		t.Errorf("the deported instance is not in alternate_config_directories:\n%s", text)
	}
	m.want("-e import -I postfix-c", 0, "")
	m.want("-l -g nope", 0, "")
	if text := m.read("etc/postfix/main.cf"); !strings.Contains(text, "multi_instance_directories = @/etc/postfix-d @/etc/postfix-a @/etc/postfix-e @/etc/postfix-b @/etc/postfix-c\n") {
		t.Errorf("the list of instances:\n%s", text)
	}
}

func TestDestroy(t *testing.T) {
	m := newMachine(t)
	m.run("-e init")
	for _, name := range []string{"a", "b"} {
		m.want("-e create -I postfix-"+name, 0, "")
	}
	m.want("-e enable -i postfix-a", 0, "")
	m.want("-e destroy -i postfix-a", 1, "postmulti: fatal: Cannot remove enabled instances\n")
	m.want("-e disable -i postfix-a", 0, "")
	m.want("-e destroy -i postfix-a", 0, "")
	for _, path := range []string{"etc/postfix-a", "q/postfix-a", "d/postfix-a"} {
		if _, err := os.Stat(filepath.Join(m.top, path)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	m.write("q/postfix-b/maildrop/ABC", "mail")
	m.write("etc/postfix-b/virtual", "mine")
	m.want("-e destroy -i postfix-b", 0, `postfix/postmulti-script: warning: @/q/postfix-b/maildrop: please verify contents and remove by hand
postfix/postmulti-script: warning: @/q/postfix-b: please verify contents and remove by hand
postfix/postmulti-script: warning: @/etc/postfix-b: please verify contents and remove by hand
`)
	if m.read("q/postfix-b/maildrop/ABC") != "mail" || m.read("etc/postfix-b/virtual") != "mine" {
		t.Error("what is not the mail system's was changed")
	}
	m.want("-l", 0, "-               -               y         @/etc/postfix\n")
}

func TestCommands(t *testing.T) {
	m := newMachine(t)
	m.run("-e init")
	m.run("-e create -I postfix-a -G g")
	m.run("-e create -I postfix-b")
	m.run("-e enable -i postfix-b")
	show := `echo "$config_directory $queue_directory $multi_instance_name,$multi_instance_group,$multi_instance_enable $MAIL_CONFIG" "$@"`
	status, out := m.run("-x sh -c", show, "x", "a b")
	want := `@/etc/postfix @/q/postfix ,,yes @/etc/postfix a b
@/etc/postfix-a @/q/postfix-a postfix-a,g,no @/etc/postfix-a a b
@/etc/postfix-b @/q/postfix-b postfix-b,,yes @/etc/postfix-b a b
`
	if status != 0 || out != want {
		t.Errorf("status %d, got\n%s\nwant\n%s", status, out, want)
	}
	if status, out := m.run("-x -R -i postfix-b sh -c", "exit 3"); status != 1 || out != "" {
		t.Errorf("a command that fails: status %d, %q", status, out)
	}
	m.want("-i postfix-a -x nosuchcommand", 1, "postmulti: fatal: execvp nosuchcommand: No such file or directory\n")
	not := ": the Postfix mail system is not running\n"
	m.want("-p status", 1, "postfix/postfix-script"+not+"postfix-a/postfix-script"+not+"postfix-b/postfix-script"+not)
	m.want("-p reload", 1, "postfix/postfix-script: fatal"+not+"postfix-b/postfix-script: fatal"+not)
	m.want("-p stop", 1, "postfix-b/postfix-script: fatal"+not+"postfix/postfix-script: fatal"+not)
	m.want("-g g -p stop", 0, "")
	m.want("-g nope -p stop", 1, "postmulti: fatal: No matching instances\n")
	// An instance that is not enabled is checked in place of started.
	if status, out := m.run("-i postfix-a -p start"); status != 0 || regexp.MustCompile("start|fatal").MatchString(out) {
		t.Errorf("start of an instance that is not enabled: status %d, %q", status, out)
	}
}

func TestRefusals(t *testing.T) {
	m := newMachine(t)
	m.run("-e init")
	m.run("-e create -I postfix-a")
	for _, tt := range [][2]string{
		{"", "Specify exactly one of '-e', '-l', '-p', '-x'"},
		{"-l -p", "Specify exactly one of '-e', '-l', '-p', '-x'"},
		{"-e frob", "Invalid '-e' edit action 'frob'. Specify 'create', 'destroy', 'import', 'deport', 'enable', 'disable', 'assign' or 'init'"},
		{"-l -a -g mta", "Specity no more than one of '-a', '-g', '-i'"},
		{"-R -p status", "The '-p' and '-e' options preclude the use of '-R'"},
		{"-l x", "Command not allowed with '-l'"},
		{"-x", "Command required with '-p' or '-x' option"},
		{"-I postfix-x -l", "Cannot assign instance name or group without '-e assign'"},
		{"-e create -I bad", "New instance name must start with 'postfix-'"},
		{"-e create", "Missing config_directory parameter value"},
		{"-e create -I -", "Missing config_directory parameter value"},
		{"-e create -I postfix-a", "new config_directory=@/etc/postfix-a is already in use by instance @/etc/postfix-a, config_directory=@/etc/postfix-a"},
		{"-e create -I postfix-a config_directory=@/etc/postfix-b", "instance @/etc/postfix-b, multi_instance_name=postfix-a conflicts with instance @/etc/postfix-a, multi_instance_name=postfix-a"},
		{"-e create -I postfix-t queue_directory=@/q/postfix", "instance @/etc/postfix-t, queue_directory=@/q/postfix conflicts with instance @/etc/postfix, queue_directory=@/q/postfix"},
		{"-e create -I postfix-t frob=1", "Parameter 'frob' not valid with action create"},
		{"-e create -I postfix-t a", "Malformed parameter setting 'a'"},
		{"-e create -I postfix-t queue_directory=rel", "Parameter setting 'queue_directory' is not an absolute path"},
		{"-e create -I postfix-t -i nope", "No matching secondary instances"},
		{"-e import -I postfix-zz", "Failed to obtain all required @/etc/postfix-zz/main.cf parameters: open @/etc/postfix-zz/main.cf: No such file or directory"},
		{"-e enable", "Select an instance via '-i name'"},
		{"-e enable -i nope", "No instance named nope"},
		{"-e enable -i postfix-a x=y", "Parameter overrides not valid with '-e enable'"},
		{"-e enable -i postfix-a -G x", "Cannot assign instance name or group with '-e enable'"},
		{"-e assign -i postfix-a", "Specify new instance name or group with '-e assign'"},
		{"-e assign -i - -I postfix-a", "instance @/etc/postfix, multi_instance_name=postfix-a conflicts with instance @/etc/postfix-a, multi_instance_name=postfix-a"},
		{"-e destroy -i -", "Cannot remove the primary instance"},
	} {
		m.want(tt[0], 1, "postmulti: fatal: "+tt[1]+"\n")
	}
	m.want("-z", 1, "postmulti: invalid option -- 'z'\npostmulti: fatal: "+usage+"\n")
	t.Setenv("MAIL_CONFIG", "/elsewhere")
	m.want("-l", 1, "postmulti: fatal: Non-default configuration directory: MAIL_CONFIG=/elsewhere\n")
}
