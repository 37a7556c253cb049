package pending

import (
	"slices"
	"strings"
	"testing"

	"postern/internal/config/maincf"
)

func TestWarnings(t *testing.T) {
	c, err := maincf.Read(strings.NewReader(`
myhostname = a.example
qmqpd_timeout = 10s
qmqpd_error_delay = 1s
biff = no
readme_directory = /x
smtp_destination_concurrency_limit = 3
my_list = permit
smtpd_client_restrictions = ${my_list?{$my_list}}
relayhst = b.example
frob = 1
virtual_alias_maps = hash:/x, proxy:mysql:users
users_hosts = db.example
users_query = SELECT '%s'
usersx = y
`), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	declared := func(name string) bool {
		return slices.Contains([]string{"myhostname", "smtpd_client_restrictions", "virtual_alias_maps"}, name)
	}
	want := []string{
		"main.cf, line 3: parameter qmqpd_timeout is not implemented yet: its value has no effect: 10s",
		"main.cf: unused parameter: relayhst=b.example; did you mean relayhost (line 10)?",
		"main.cf: unused parameter: frob=1",
		"main.cf: unused parameter: usersx=y",
	}
	if got := Warnings(c, declared); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A service that overrides a setting does not make what it refers to unused,
// and what is misspelt in master.cf is told with its line there.
func TestUnusedBesideOverrides(t *testing.T) {
	c, err := maincf.Read(strings.NewReader("mua_client = permit\nsmtpd_client_restrictions = $mua_client\n"), "main.cf")
	if err != nil {
		t.Fatal(err)
	}
	c = c.Override("smtpd_client_restrictions", "reject", "master.cf, line 7").Override("mua_clientt", "x", "master.cf, line 7")
	declared := func(name string) bool { return name == "smtpd_client_restrictions" }
	want := []string{"master.cf, line 7: unused parameter: mua_clientt=x"}
	if got := Unused(c, declared); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParameters(t *testing.T) {
	known := Parameters()
	if len(known) < 850 || known["smtpd_forbid_bare_newline"] != "normalize" {
		t.Errorf("%d parameters, smtpd_forbid_bare_newline = %q", len(known), known["smtpd_forbid_bare_newline"])
	}
	for name := range informative {
		if _, ok := known[name]; !ok {
			t.Errorf("%s is not a parameter", name)
		}
	}
}

func TestOneEdit(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"abc", "abd", true}, {"abc", "ab", true}, {"ab", "xab", true}, {"abcd", "abdc", true},
		{"abc", "ade", false}, {"abc", "a", false}, {"ab", "ba", true}, {"abc", "bca", false},
	} {
		if got := oneEdit(tt.a, tt.b); got != tt.want {
			t.Errorf("oneEdit(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}
