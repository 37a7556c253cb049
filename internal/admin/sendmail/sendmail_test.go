package sendmail

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/admin/command"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/postdrop"
	"postern/internal/mail/record"
)

// TestMain lets the test binary stand for the commands that sendmail runs.
func TestMain(m *testing.M) {
	if dump := os.Getenv("TEST_DUMP"); dump != "" {
		os.Exit(fakeCommand(dump))
	}
	os.Exit(m.Run())
}

// fakeCommand writes its arguments, or as postdrop the records that it gets,
// to the file dump.
func fakeCommand(dump string) int {
	name := filepath.Base(os.Args[0])
	if name != "postdrop" {
		os.WriteFile(dump, []byte(strings.Join(append([]string{name}, os.Args[1:]...), " ")+" "+os.Getenv("MAIL_CONFIG")), 0o600)
		return 3
	}
	w := bufio.NewWriter(os.Stdout)
	attr.NewWriter(w).Do(&postdrop.Start{QueueID: "ID"})
	w.Flush()
	r := record.NewReader(os.Stdin)
	var all []string
	for {
		t, data, err := r.Next()
		if err != nil {
			return 0
		}
		if len(data) > 100 {
			data = fmt.Appendf(nil, "%c*%d", data[0], len(data))
		}
		all = append(all, fmt.Sprintf("%c%s", t, data))
		if t == record.End {
			break
		}
	}
	os.WriteFile(dump, []byte(strings.Join(all, "|")), 0o600)
	result := postdrop.Result{}
	if strings.Contains(all[1], "refused") || strings.Contains(all[2], "refused") {
		result = postdrop.Result{Status: postdrop.StatusNoPerm, Reason: "not you"}
	}
	attr.NewWriter(w).Do(&result)
	w.Flush()
	return 0
}

type fixture struct {
	etc, dump string
}

func newFixture(t *testing.T, settings string) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{etc: filepath.Join(dir, "etc"), dump: filepath.Join(dir, "dump")}
	os.Mkdir(f.etc, 0o700)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postdrop", "postqueue", "postalias", "postfix", "smtpd"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("queue_directory = %[1]s\ncommand_directory = %[1]s\ndaemon_directory = %[1]s\nalias_database = hash:/a, cdb:/b\n%[2]s\n", dir, settings)
	if err := os.WriteFile(filepath.Join(f.etc, "main.cf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_DUMP", f.dump)
	t.Setenv("MAIL_CONFIG", f.etc) // -C is not for everybody
	return f
}

func (f *fixture) run(in string, args ...string) (status int, dump, stdout, stderr string) {
	os.Remove(f.dump)
	var out, errs bytes.Buffer
	status = Main(args, strings.NewReader(in), &out, &errs)
	b, _ := os.ReadFile(f.dump)
	return status, string(b), out.String(), errs.String()
}

func TestSubmit(t *testing.T) {
	f := newFixture(t, "")
	login, _ := command.LoginName(os.Getuid())
	t.Setenv("NAME", "N")
	env := "Arewrite_context=local|FN|S" + login + "|"
	tests := []struct {
		name, in string
		args     []string
		want     string
	}{
		{"plain", "Subject: x\n\nbody\n.\nafter\n", []string{"-f", "sender@example.com", "-F", "Full Name", "a@site.example", "B <b@other.example>"},
			"Arewrite_context=local|FFull Name|Ssender@example.com|Ra@site.example|Rb@other.example|M|NSubject: x|N|Nbody|X|E"},
		{"-t -i", "From someone Mon Jan 1\nTo: T <t1@a>\nSubject: x\n\nFrom me\n..\nline",
			[]string{"-t", "-i", "-N", "success,delay", "-V", "envid1", "-R", "hdrs", "-B", "8BITMIME", "extra@x.example"},
			"Aenvelope_id=envid1|Aret_flags=2|" + env + "Aencoding=8bit|Anotify_flags=10|Rextra@x.example|M|NTo: T <t1@a>|NSubject: x|N|NFrom me|N..|Lline|N|X|Anotify_flags=10|Rt1@a|E"},
		{"-G -XV", ">>From someone\nSubject: x\n\n", []string{"-XV+=", "-f", "a@c", "-G", "-B7BIT", "-L", "lab", "-h", "3", "-om", "-O", "foo=bar", "-oem", "u@v.example,z@v.example"},
			"Arewrite_context=remote|FN|Sa@c|Aencoding=7bit|V+=|Ru@v.example|Rz@v.example|M|NSubject: x|N|X|E"},
		{"-bv", "not read", []string{"-bv", "user name@q", "c@d"},
			env + "Atrace_flags=512|Ruser|Rname@q|Rc@d|M|NFrom: " + login + "|NSubject: probe|LTo:|N\tuser name@q,|N\tc@d|X|E"},
		{"-O", "", []string{"-O", "RequireTLS=yes", "-Osmtputf8=no", "x"}, "C" + string(record.Sizes{SendOpts: 32}.Append(nil)) + "|" + env + "Rx|M|X|E"},
		{"-O both", "", []string{"-O", "requiretls=yes", "-O", "smtputf8=YES", "x"}, "C" + string(record.Sizes{SendOpts: 33}.Append(nil)) + "|" + env + "Rx|M|X|E"},
		{"-O no", "", []string{"-O", "requiretls=no", "x"}, env + "Rx|M|X|E"},
		{"-v", "", []string{"-v", "x"}, env + "Atrace_flags=1024|Rx|M|X|E"},
		{"null sender", "x\n", []string{"-f", "", "-oi", "b"}, "Arewrite_context=local|FN|S|Rb|M|Nx|X|E"},
		{"no newline", "nl", []string{"bob"}, env + "Rbob|M|Lnl|X|E"},
		{"CR LF", "x\r\n\r\n.\r\ny\r\n", []string{"bob"}, env + "Rbob|M|Nx|N|X|E"},
		{"long lines", strings.Repeat("x", 5000) + "\n" + strings.Repeat("y", 2048) + "\n.\n", []string{"bob"},
			env + "Rbob|M|Lx*2048|Lx*2048|Nx*904|Ly*2048|N|X|E"},
		{"null recipient", "x\n", []string{"<>"}, env + "R|M|Nx|X|E"},
		{"options end", "x\n", []string{"-i", "--", "-bob"}, env + "R-bob|M|Nx|X|E"},
		{"blanks before colon", "Foo : bar\nTo : x@y\nbody\nm", []string{"-t"}, env + "M|NFoo: bar|NTo: x@y|N|Nbody|Lm|N|X|Rx@y|E"},
		{"resent", "To: a@b\nResent-Cc: r1@a, r2@b\nCc: g: m1@x, m2@y;\n\nx\n", []string{"-t"},
			env + "M|NTo: a@b|NResent-Cc: r1@a, r2@b|NCc: g: m1@x, m2@y;|N|Nx|X|Rr1@a|Rr2@b|E"},
		{"folded", "To: a@b\n c@d\nBcc: e@f (comment)\nTo\n", []string{"-t"},
			env + "M|NTo: a@b|N c@d|NBcc: e@f (comment)|N|NTo|X|Ra@b|Rc@d|Re@f|E"},
		{"long header", "To: a@b\nSubject: " + strings.Repeat("s", 3000) + "\n\n", []string{"-t"},
			env + "M|NTo: a@b|LS*2048|Ns*961|N|X|Ra@b|E"},
	}
	for _, tt := range tests {
		status, dump, stdout, stderr := f.run(tt.in, append([]string{"sendmail"}, tt.args...)...)
		if status != 0 || dump != tt.want || stderr != "" {
			t.Errorf("%s: status %d, stderr %s\n got %q\nwant %q", tt.name, status, stderr, dump, tt.want)
		}
		if reports := strings.HasPrefix(tt.name, "-v") || tt.name == "-bv"; reports != strings.HasPrefix(stdout, "Mail Delivery Status Report") {
			t.Errorf("%s: stdout %q", tt.name, stdout)
		}
	}
}

func TestOtherModes(t *testing.T) {
	f := newFixture(t, "")
	tests := []struct{ args, want string }{
		{"mailq", "postqueue -p"},
		{"newaliases", "postalias -- hash:/a cdb:/b"},
		{"sendmail -bp", "postqueue -p"},
		{"sendmail -bp -v -v", "postqueue -v -v -p"},
		{"sendmail -q", "postqueue -f"},
		{"sendmail -qRsite.example", "postqueue -s site.example"},
		{"sendmail -qIABC", "postqueue -i ABC"},
		{"sendmail -bi", "postalias -- hash:/a cdb:/b"},
		{"sendmail -I -oAhash:/c", "postalias -- hash:/c"},
		{"sendmail -bd -q30m", "postfix start"},
		{"sendmail -bs", "smtpd -S"},
	}
	for _, tt := range tests {
		status, dump, _, stderr := f.run("", strings.Fields(tt.args)...)
		if status != 3 || dump != tt.want+" "+f.etc {
			t.Errorf("%s: status %d, ran %q, want %q; %s", tt.args, status, dump, tt.want, stderr)
		}
	}
	for _, args := range []string{"sendmail -bh", "sendmail -q30m"} {
		if status, dump, _, _ := f.run("", strings.Fields(args)...); status != 0 || dump != "" {
			t.Errorf("%s: status %d, ran %q", args, status, dump)
		}
	}
}

func TestRefusals(t *testing.T) {
	f := newFixture(t, "")
	tests := []struct{ args, want string }{
		{"-t", "No recipient addresses found in message header"},
		{"-i", "Recipient addresses must be specified on the command line or via the -t option"},
		{"-n x", "-n option not supported"},
		{"-bx", "unsupported: -bx"},
		{"-bv -t x", "-t option cannot be used with -bv"},
		{"-bs -t", "-t can be used only in delivery mode"},
		{"-qX", "-qX is not implemented"},
		{"-qR", "specify: -qRsitename"},
		{"-XVab bob", "-V requires two characters from -=+"},
		{"-XV -f <> bob", "-V option requires non-null sender address"},
		{"-B x bob", "-B option needs 8BITMIME or 7BIT"},
		{"-Z", "usage: sendmail [options]"},
		{"-q foo", "flush queue mode requires no recipient"},
		{"-bp foo", "display queue mode requires no recipient"},
		{"-bi foo", "alias initialization mode requires no recipient"},
		{"-oA x", "-oA requires pathname"},
		{"-O requiretls=perhaps x", "-O requiretls=perhaps: specify requiretls=yes or requiretls=no"},
		{"-f refused x", "not you"},
	}
	for _, tt := range tests {
		status, _, _, stderr := f.run("", append([]string{"sendmail"}, strings.Fields(tt.args)...)...)
		if status != command.TempFail || !strings.Contains(stderr, "fatal: ") || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: status %d, stderr %q, want %q", tt.args, status, stderr, tt.want)
		}
	}
	status, _, _, stderr := f.run("To: "+strings.Repeat(" a@b,\n", 30_000), "sendmail", "-t")
	if status != command.TempFail || !strings.Contains(stderr, "message header length exceeds safety limit") {
		t.Errorf("endless header: status %d, stderr %q", status, stderr)
	}
	f = newFixture(t, "authorized_submit_users = root-of-nothing")
	if status, _, _, stderr := f.run("", "sendmail", "x"); status != command.TempFail || !strings.Contains(stderr, "not allowed to submit") {
		t.Errorf("submit users: status %d, stderr %q", status, stderr)
	}
}

func TestLineEndings(t *testing.T) {
	for setting, want := range map[string]string{
		"strict": "Na\r|Nb|",
		"never":  "Na\r|Nb|",
		"always": "Na|Nb|",
	} {
		f := newFixture(t, "sendmail_fix_line_endings = "+setting)
		in := "a\r\nb\n"
		if setting == "strict" {
			in, want = "a\nb\r\n", "Na|Nb\r|"
		}
		_, dump, _, stderr := f.run(in, "sendmail", "x")
		if !strings.Contains(dump, want) {
			t.Errorf("%s: %q; %s", setting, dump, stderr)
		}
	}
}

func FuzzContent(f *testing.F) {
	f.Add("To: a@b\n c@d\n\nx", true)
	f.Add("From x\r\n.\r\n", false)
	f.Fuzz(func(t *testing.T, in string, extract bool) {
		var b bytes.Buffer
		m := &draft{sendmail: &sendmail{Config: Config{FixLineEndings: "never", HeaderLimit: 1000}}, w: record.NewWriter(&b)}
		m.Command = command.New("sendmail", strings.NewReader(in), nil, nil)
		m.Common.LineLengthLimit = 16
		m.opt.extract = extract
		if err := m.content(); err != nil || extract {
			return
		}
		r := record.NewReader(&b)
		var got strings.Builder
		for {
			typ, data, err := r.Next()
			if err != nil {
				break
			}
			if len(data) > 16 {
				t.Fatalf("a piece of %d octets", len(data))
			}
			got.Write(data)
			if typ == record.Norm {
				got.WriteByte('\n')
			}
		}
		want := in
		if !strings.HasPrefix(strings.TrimLeft(in, ">"), "From ") && got.String() != want {
			t.Fatalf("got %q, want %q", got.String(), want)
		}
	})
}
