package diffconfig

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/config/param"
)

var readers = []Reader{
	{"every program", new(param.Common).Params},
	{"smtpd", func(s *param.Set) {
		var text string
		s.Str(&text, "smtpd_banner", "$myhostname ESMTP")
		s.Raw(&text, "default_rbl_reply", "$rbl_code")
	}},
	{"smtp", func(s *param.Set) {
		var text string
		s.Str(&text, "smtp_helo_name", "$myhostname")
	}},
}

func directory(t *testing.T, main, master string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const services = "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		name                                 string
		oldMain, oldMaster, newMain, newMast string
		want                                 string
	}{
		{"nothing", "myhostname = a.example\n", services, "myhostname = a.example\n", services, ""},
		{"written in another way",
			"myhostname = a.example\nsmtpd_banner = $myhostname  x\n", services,
			"myhostname = a.example\n", "smtp inet n - n - - smtpd\n -o { smtpd_banner = a.example x }\nsmtp unix - - n - - smtp\n", ""},
		{"a name that others are made of",
			"myhostname = a.example\nmydomain = x\nrelay_domains =\n", services, "myhostname = b.example\nmydomain = x\nrelay_domains =\n", services,
			`mydestination: a.example, localhost.x, localhost -> b.example, localhost.x, localhost
    in all services
myhostname: a.example -> b.example
    in all services
myorigin: a.example -> b.example
    in all services
smtp_helo_name: a.example -> b.example
    in smtp/unix
smtpd_banner: a.example ESMTP -> b.example ESMTP
    in smtp/inet
`},
		{"entries", "", services + "x unix - - n - - smtp\n", "", "smtp inet n - y - 50 smtpd -v\nsmtp unix - - n - - smtp\n2525 inet n - n - - smtpd\n",
			`service 2525/inet: added: 2525 inet n - n - - smtpd
service x/unix: removed: x unix - - n - - smtp
service smtp/inet: arguments: (empty) -> -v
service smtp/inet: chroot: false -> true
service smtp/inet: process limit: - -> 50
`},
		{"text that is expanded later", "", services, "default_rbl_reply = $rbl_code no\n", services,
			"default_rbl_reply: $rbl_code -> $rbl_code no\n    in smtp/inet\n"},
		{"what nobody reads", "", services, "mine = 1\n", services, "mine: (empty) -> 1\n    in no service\n"},
		{"places", "data_directory = $config_directory/x\n", services, "data_directory = $config_directory/x\n", services, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := Main([]string{"diff-config", directory(t, tt.oldMain, tt.oldMaster), directory(t, tt.newMain, tt.newMast)}, &out, &errs, readers)
			want := 0
			if tt.want != "" {
				want = 1
			}
			if out.String() != tt.want || status != want || errs.Len() > 0 {
				t.Errorf("status %d, errors %q, got\n%s\nwant\n%s", status, errs.String(), out.String(), tt.want)
			}
		})
	}
}

func TestCompareJSON(t *testing.T) {
	var out, errs bytes.Buffer
	a, b := directory(t, "", services), directory(t, "smtp_helo_name = x\n", services)
	if status := Main([]string{"diff-config", "--json", a, b}, &out, &errs, readers); status != 1 {
		t.Fatal(status, errs.String())
	}
	var got []Change
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Name != "smtp_helo_name" || got[0].New != "x" || len(got[0].Services) != 1 || got[0].Services[0] != "smtp/unix" {
		t.Errorf("got %+v", got)
	}
}

func TestErrors(t *testing.T) {
	good := directory(t, "", services)
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{good}, 64}, {[]string{"-x", good, good}, 64}, {[]string{good, t.TempDir()}, 2},
		{[]string{good, directory(t, "a = $b\nb = $a\nsmtpd_banner = $a\n", services)}, 2},
	} {
		var out, errs bytes.Buffer
		if status := Main(append([]string{"diff-config"}, tt.args...), &out, &errs, readers); status != tt.want || errs.Len() == 0 {
			t.Errorf("%q: status %d, want %d: %s", tt.args, status, tt.want, errs.String())
		}
	}
}
