package mastercf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(text string, o Options) ([]Service, error) {
	return Read(strings.NewReader(text), "master.cf", o)
}

const sample = `# service type  private unpriv  chroot  wakeup  maxproc command + args
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       n       -       10      smtpd
  -o syslog_name=postfix/submission
# in between
  -o { smtpd_client_restrictions = permit_mynetworks, reject } -v -vv
pickup    unix  n       -       -       60      1       pickup
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
maildrop  unix  -       n       n       -       0       pipe
  flags=DRXhu user=vmail argv={/usr/bin/mail drop} -d ${recipient} -o x
`

func TestRead(t *testing.T) {
	list, err := read(sample, Options{DefaultLimit: 50})
	if err != nil || len(list) != 5 {
		t.Fatalf("got %v, %v", list, err)
	}
	s := list[0]
	if s.Key() != "smtp/inet" || s.Private || !s.Unprivileged || !s.Chroot || s.Wakeup != 0 || s.Limit != 50 || s.Command != "smtpd" || s.Line != 2 {
		t.Errorf("smtp: %+v", s)
	}
	s = list[1]
	wantArgs := []string{"-o", "syslog_name=postfix/submission", "-o", "smtpd_client_restrictions = permit_mynetworks, reject", "-v", "-vv"}
	if !slices.Equal(s.Args, wantArgs) || s.Verbose != 3 || s.Limit != 10 {
		t.Errorf("submission: %+v", s)
	}
	if want := (Override{"smtpd_client_restrictions", "permit_mynetworks, reject"}); len(s.Overrides) != 2 || s.Overrides[1] != want {
		t.Errorf("overrides: %v", s.Overrides)
	}
	if s = list[2]; s.Wakeup != time.Minute || !s.WakeupBeforeUse || s.Chroot {
		t.Errorf("pickup: %+v", s)
	}
	if s = list[3]; s.Wakeup != 1000*time.Second || s.WakeupBeforeUse || !s.Private {
		t.Errorf("tlsmgr: %+v", s)
	}
	s = list[4]
	wantArgs = []string{"flags=DRXhu", "user=vmail", "argv={/usr/bin/mail drop}", "-d", "${recipient}", "-o", "x"}
	if !slices.Equal(s.Args, wantArgs) || len(s.Overrides) != 0 || s.Unprivileged || s.Limit != 0 {
		t.Errorf("maildrop: %+v", s)
	}
}

func TestDuplicate(t *testing.T) {
	var warnings []string
	o := Options{Warn: func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }}
	list, err := read("smtp inet n - - - - smtpd\nx unix - - - - - x\nsmtp inet n - - - 1 postscreen\n", o)
	if err != nil || len(list) != 2 || list[0].Command != "postscreen" || list[0].Line != 3 {
		t.Errorf("got %v, %v", list, err)
	}
	want := []string{`master.cf: line 3: duplicate master.cf entry for service "smtp" (inet) -- using the last entry`}
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings: got %q, want %q", warnings, want)
	}
	list, err = read("a unix - - - - - x\na unix - - - - - y\n", Options{Edit: true})
	if err != nil || len(list) != 2 || list[0].Command != "x" {
		t.Errorf("to edit: got %v, %v", list, err)
	}
}

// What postconf shows and mends is more than master accepts.
func TestEdit(t *testing.T) {
	for _, text := range []string{
		"a/b unix - - - - - x\n", "a unix - - - - - b/x\n", "- unix - - - - - x\n",
		"a unix - - - - - x -o\n", "a unix - - - - - x -o b\n",
	} {
		if _, err := read(text, Options{}); err == nil {
			t.Errorf("%q: master accepts it", text)
		}
		if _, err := read(text, Options{Edit: true}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	list, err := read("a unix - - - - - x -ob=c -v -o {d = e f} -oz\n", Options{Edit: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-o", "b=c", "-v", "-o", "d = e f", "-o", "z"}
	if s := list[0]; !slices.Equal(s.Args, want) || len(s.RawArgs) != len(want) || len(s.Overrides) != 2 {
		t.Errorf("got %q, %q, %q", s.Args, s.RawArgs, s.Overrides)
	}
}

func TestDisable(t *testing.T) {
	const text = "smtp inet n - - - - smtpd\nfoo inet n - - - - smtpd\nsmtp unix - - - - - smtp\n"
	tests := []struct{ disable, want string }{
		{"", "smtp/inet foo/inet smtp/unix"},
		{"smtp/inet", "foo/inet smtp/unix"},
		{"inet", "smtp/unix"},
		{"!foo/inet, inet", "foo/inet smtp/unix"},
		{"unix inet", ""},
		{"all foo/x, inet", "smtp/unix"},
	}
	for _, tt := range tests {
		list, err := read(text, Options{Disable: tt.disable})
		var got []string
		for _, s := range list {
			got = append(got, s.Key())
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.disable, got, err, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"smtp inet n - - -", `master.cf: line 1: missing "maxproc" field`},
		{"\n\nsmtp inet n - - - -", `master.cf: line 3: missing "command" field`},
		{"smtp tcp n - - - - smtpd", `master.cf: line 1: field "type": bad value: "tcp"`},
		{"smtp inet x - - - - smtpd", `field "private": bad value: "x"`},
		{"smtp inet n Y - - - smtpd", `field "unprivileged": bad value: "Y"`},
		{"smtp inet n - ? - - smtpd", `field "chroot": bad value: "?"`},
		{"smtp inet n - - x - smtpd", `field "wakeup": bad value: "x"`},
		{"smtp inet n - - -? - smtpd", `field "wakeup": bad value: "-?"`},
		{"smtp inet n - - - -1 smtpd", `field "maxproc": bad value: "-1"`},
		{"smtp inet n - - - 99999999999 smtpd", `field "maxproc": bad value`},
		{"- inet n - - - - smtpd", `field "service" has no default value`},
		{"smtp inet n - - - - ../../bin/sh", `field "command": bad value`},
		{"../x unix n - - - - smtpd", `field "service": bad value`},
		{"smtp inet n - - - - smtpd -o", `missing "name=value"`},
		{"smtp inet n - - - - smtpd -o foo", `missing '=' after attribute name: "foo"`},
		{"smtp inet n - - - - smtpd -o { a = b", `missing '}'`},
		{"smtp inet n - - - - smtpd { a }b", `syntax error after '}'`},
	}
	for _, tt := range tests {
		if _, err := read(tt.text, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.text, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample)
	f.Add("smtp inet n - - - - smtpd -o { a = b } { c d } {\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := read(text, Options{})
		if err != nil {
			return
		}
		for _, s := range list {
			if s.Line < 1 || s.Limit < 0 || len(s.Args) != len(s.RawArgs) {
				t.Errorf("%+v", s)
			}
		}
	})
}
