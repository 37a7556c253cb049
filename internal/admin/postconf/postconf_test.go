package postconf

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/config/param"
)

const mainText = `# c1
myhostname = a.example
# c2
mydestination = x,
# inner
  $my_list
# c3
my_list = list.example
relayhost =
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, check_policy_service unix:private/policy, reject_rbl_client zen.spamhaus.org
maildrop_destination_recipient_limit = 1
smtpd_delay = ${stress?{1}:{20}}s
relayhst = typo
`

const masterText = `# service
smtp      inet  n       -       y       -       -       smtpd
pickup    unix  n       -       y       60      1       pickup
postlog   unix-dgram n  -       n       -       1       postlogd
maildrop  unix  -       n       n       -       -       pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/$service_name
# inner
  -o { smtpd_client_restrictions = permit_mynetworks, reject } -v
  -o milter_macro_daemon_name=ORIGINATING
t1 unix - n n - - pipe aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff ggggggggg hhhhhhhhh -o a=b -x y zz -o c=d {e f} i j k
`

func declared(s *param.Set) {
	s.Str(new(string), "relayhost", "")
	s.Str(new(string), "smtpd_recipient_restrictions", "")
	s.Time(new(time.Duration), "smtpd_delay", "5s")
	s.Raw(new(string), "mailbox_command", "")
}

func setup(t *testing.T) (dir string, run func(args ...string) (int, string, string)) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"main.cf": mainText, "master.cf": masterText} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	k := Knowledge{Parameters: []func(*param.Set){declared}, Tables: []string{"hash", "cidr"}, Agents: []string{"pipe", "smtp"}}
	return dir, func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := Main(append([]string{"postconf", "-c", dir}, args...), strings.NewReader(""), &out, &errs, k)
		return status, out.String(), strings.ReplaceAll(errs.String(), dir, "DIR")
	}
}

// The expected texts are what Postfix prints for the same files.
func TestShow(t *testing.T) {
	_, run := setup(t)
	tests := []struct{ args, want string }{
		{"myhostname relayhost", "myhostname = a.example\nrelayhost =\n"},
		{"-h mydestination", "x, $my_list\n"},
		{"-H mydestination", "mydestination\n"},
		{"-x mydestination mydomain myorigin", "mydestination = x, list.example\nmydomain = example\nmyorigin = a.example\n"},
		{"-d mydestination smtpd_delay", "mydestination = $myhostname, localhost.$mydomain, localhost\nsmtpd_delay = 5s\n"},
		{"-x -o stress=yes smtpd_delay", "smtpd_delay = 1s\n"},
		{"-n myhostname mydomain", "myhostname = a.example\n"},
		{"-C user", "my_list = list.example\n"},
		{"maildrop_destination_recipient_limit maildrop_time_limit", "maildrop_destination_recipient_limit = 1\nmaildrop_time_limit = $command_time_limit\n"},
		{"-f smtpd_recipient_restrictions", "smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated,\n" +
			"    reject_unauth_destination, check_policy_service unix:private/policy,\n    reject_rbl_client zen.spamhaus.org\n"},
		{"-m", "cidr\nhash\n"},
		{"-l", "flock\nfcntl\ndotlock\n"},
		{"-M smtp maildrop/unix postlog", "smtp       inet  n       -       y       -       -       smtpd\n" +
			"postlog    unix-dgram n  -       n       -       1       postlogd\n" +
			"maildrop   unix  -       n       n       -       -       pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}\n"},
		{"-Mf submission/inet maildrop t1", "maildrop   unix  -       n       n       -       -       pipe flags=DRXhu\n" +
			"    user=vmail argv=/usr/bin/maildrop -d ${recipient}\n" +
			"submission inet  n       -       y       -       -       smtpd\n" +
			"    -o syslog_name=postfix/$service_name\n" +
			"    -o {smtpd_client_restrictions=permit_mynetworks, reject}\n" +
			"    -v\n" +
			"    -o milter_macro_daemon_name=ORIGINATING\n" +
			"t1         unix  -       n       n       -       -       pipe aaaaaaaaa\n" +
			"    bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff ggggggggg hhhhhhhhh -o\n" +
			"    a=b -x y zz -o c=d {e f} i j k\n"},
		{"-F pickup/unix/wakeup pickup/unix/process_limit submission/inet/command", "pickup/unix/wakeup = 60\npickup/unix/process_limit = 1\n" +
			"submission/inet/command = smtpd -o syslog_name=postfix/$service_name -o {smtpd_client_restrictions=permit_mynetworks, reject} -v -o milter_macro_daemon_name=ORIGINATING\n"},
		{"-P", "submission/inet/milter_macro_daemon_name = ORIGINATING\n" +
			"submission/inet/smtpd_client_restrictions = permit_mynetworks, reject\n" +
			"submission/inet/syslog_name = postfix/$service_name\n"},
		{"-Px */inet/syslog_name", "submission/inet/syslog_name = postfix/submission\n"},
	}
	for _, tt := range tests {
		status, out, errs := run(strings.Fields(tt.args)...)
		if status != 0 || out != tt.want {
			t.Errorf("postconf %s: status %d, got\n%s\nwant\n%s\n%s", tt.args, status, out, tt.want, errs)
		}
	}
}

func TestShowSet(t *testing.T) {
	dir, run := setup(t)
	status, out, errs := run("-n")
	want := "config_directory = " + dir + "\nmaildrop_destination_recipient_limit = 1\nmy_list = list.example\n" +
		"mydestination = x, $my_list\nmyhostname = a.example\nrelayhost =\nsmtpd_delay = ${stress?{1}:{20}}s\nsmtpd_recipient_restrictions = "
	if status != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("status %d, got\n%s\nwant\n%s…", status, out, want)
	}
	if want := "postconf: warning: DIR/main.cf: unused parameter: relayhst=typo; did you mean relayhost (line 13)?\n"; errs != want {
		t.Errorf("got %q, want %q", errs, want)
	}
	if status, out, errs := run("nosuch"); status != 0 || out != "" || !strings.HasPrefix(errs, "postconf: warning: nosuch: unknown parameter\n") {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
}

func TestUsage(t *testing.T) {
	_, run := setup(t)
	for _, args := range []string{"-Z", "-nd", "-hH", "-e", "-eX a", "-X", "-T x", "-C x", "-FX smtp/inet/chroot", "-b a b", "-ne a=b"} {
		if status, out, errs := run(strings.Fields(args)...); status == 0 || errs == "" {
			t.Errorf("postconf %s: status %d, %q, %q", args, status, out, errs)
		}
	}
}

func file(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEditMain(t *testing.T) {
	dir, run := setup(t)
	for _, args := range [][]string{
		{"-e", "mydestination=z w", "alias_maps=hash:/x"},
		{"myhostname = new.example"},
		{"-X", "smtpd_recipient_restrictions", "smtpd_delay", "relayhst"},
		{"-#", "my_list"},
	} {
		if status, _, errs := run(args...); status != 0 || errs != "" {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
	want := "# c1\nmyhostname = new.example\n# c2\nmydestination = z w\n# inner\n# c3\n#my_list = list.example\nrelayhost =\n" +
		"maildrop_destination_recipient_limit = 1\nalias_maps = hash:/x\n"
	if got := file(t, dir, "main.cf"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if st, err := os.Stat(filepath.Join(dir, "main.cf")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, args := range [][]string{{"-e", "foo"}, {"-e", "a=b\nc"}, {"-X", "a=b"}, {"-e", "#a=b"}} {
		if status, _, errs := run(args...); status == 0 || errs == "" {
			t.Errorf("%q: status %d, %q", args, status, errs)
		}
	}
	if got := file(t, dir, "main.cf"); got != want {
		t.Errorf("after errors: got\n%s", got)
	}
}

// Edits at the same time all have their effect.
func TestEditTogether(t *testing.T) {
	dir, run := setup(t)
	var wg sync.WaitGroup
	for _, name := range strings.Split("abcdefghij", "") {
		wg.Go(func() {
			if status, _, errs := run("-e", name+"=x"); status != 0 {
				t.Errorf("%s: %s", name, errs)
			}
		})
	}
	wg.Wait()
	text := file(t, dir, "main.cf")
	for _, name := range strings.Split("abcdefghij", "") {
		if !strings.Contains(text, "\n"+name+" = x\n") {
			t.Errorf("%s is missing in\n%s", name, text)
		}
	}
	if list, _ := filepath.Glob(dir + "/*.tmp"); len(list) != 0 {
		t.Errorf("left behind: %q", list)
	}
}

func TestEditMaster(t *testing.T) {
	dir, run := setup(t)
	for _, args := range [][]string{
		{"-M", "-e", "smtp/inet=smtp inet n - n - - smtpd -v"},
		{"-Me", "new/unix=new unix - - n - - smtp -o {a=b c}"},
		{"-F", "-e", "pickup/unix/chroot=n", "pickup/unix/command=pickup -v"},
		{"-Pe", "submission/inet/syslog_name=s", "submission/inet/x=y z"},
		{"-PX", "submission/inet/milter_macro_daemon_name"},
		{"-MX", "t1/unix"},
		{"-M#", "maildrop/unix"},
	} {
		if status, _, errs := run(args...); status != 0 || errs != "" {
			t.Errorf("%q: status %d, %s", args, status, errs)
		}
	}
	want := `# service
smtp       inet  n       -       n       -       -       smtpd -v
pickup     unix  n       -       n       60      1       pickup -v
postlog   unix-dgram n  -       n       -       1       postlogd
#maildrop  unix  -       n       n       -       -       pipe
#  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
submission inet  n       -       y       -       -       smtpd
    -o syslog_name=s
    -o {smtpd_client_restrictions=permit_mynetworks, reject}
    -v
    -o {x=y z}
# inner
new        unix  -       -       n       -       -       smtp
    -o {a=b c}
`
	if got := file(t, dir, "master.cf"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, args := range [][]string{
		{"-Me", "smtp/inet=smtp inet"}, {"-MX", "absent"},
		{"-Fe", "smtp/inet/nofield=y"}, {"-Fe", "smtp/inet/chroot=maybe"}, {"-Me", "smtp=x"}, {"-Fe", "smtp/inet/type=tcp"},
	} {
		if status, _, errs := run(args...); status == 0 || errs == "" {
			t.Errorf("%q: status %d, %q", args, status, errs)
		}
	}
	if got := file(t, dir, "master.cf"); got != want {
		t.Errorf("after errors: got\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	_, run := setup(t)
	tests := []struct{ args, want string }{
		{"-j myhostname mydestination", `{"myhostname": "a.example"}` + "\n" + `{"mydestination": "x, $my_list"}` + "\n"},
		{"-jh myhostname", `"a.example"` + "\n"},
		{"-jH myhostname", `"myhostname"` + "\n"},
		{"-jP */*/milter_macro_daemon_name", `{"submission/inet/milter_macro_daemon_name": "ORIGINATING"}` + "\n"},
		{"-jF pickup/unix/wakeup", `{"pickup/unix/wakeup": "60"}` + "\n"},
		{"-jM pickup", `{"pickup/unix": "pickup     unix  n       -       y       60      1       pickup"}` + "\n"},
	}
	for _, tt := range tests {
		if status, out, errs := run(strings.Fields(tt.args)...); status != 0 || out != tt.want {
			t.Errorf("postconf %s: status %d, got\n%s\nwant\n%s\n%s", tt.args, status, out, tt.want, errs)
		}
	}
}

// -PP shows what a service sees.
func TestEffective(t *testing.T) {
	dir, run := setup(t)
	tests := []struct{ args, want string }{
		{"-PP pickup/unix/config_directory pickup/unix/mydestination pickup/unix/nosuch", "pickup/unix/config_directory = " + dir + "\npickup/unix/mydestination = x, $my_list\n"},
		{"-PP -o mynetworks=192.0.2.1 pickup/unix/mynetworks pickup/unix/soft_bounce", "pickup/unix/mynetworks = 192.0.2.1\npickup/unix/soft_bounce = no\n"},
		{"-PP pickup/unix/myorigin", "pickup/unix/myorigin = $myhostname\n"},
		{"-PPx pickup/unix/myorigin", "pickup/unix/myorigin = a.example\n"},
		{"-PP submission/inet/syslog_name", "submission/inet/syslog_name = postfix/$service_name\n"},
		{"-PPx pickup/unix/syslog_name", "pickup/unix/syslog_name = postfix\n"},
	}
	for _, tt := range tests {
		if status, out, errs := run(strings.Fields(tt.args)...); status != 0 || out != tt.want {
			t.Errorf("postconf %s: status %d, got\n%s\nwant\n%s\n%s", tt.args, status, out, tt.want, errs)
		}
	}
	if status, _, errs := run("-e", "-P", "submission/inet/mydestination="); status != 0 {
		t.Fatal(errs)
	}
	// An empty value in master.cf hides that of main.cf.
	if _, out, _ := run("-PP", "submission/inet/mydestination"); out != "submission/inet/mydestination =\n" {
		t.Errorf("got %s", out)
	}
	// Without names all that the program reads is there.
	_, out, _ := run("-PP", "pickup")
	_, defaults, _ := run("-d")
	if n := strings.Count(out, "\n"); n < 80 || n > strings.Count(defaults, "\n") {
		t.Errorf("%d parameters", n)
	}
}
