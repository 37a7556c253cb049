package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/admin/check"
)

// reloadable writes a configuration directory with all that a usual one has.
func reloadable(t *testing.T, main, master string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir) // the trial changes the working directory
	for name, text := range map[string]string{
		"main.cf": "compatibility_level = 3.11\nmyhostname = mail.example.com\nalias_maps =\nqueue_directory = " + dir + "\ndaemon_directory = " + dir + "\n" +
			strings.ReplaceAll(main, "DIR", dir),
		"master.cf": "127.0.0.1:0 inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\n" +
			"smtp unix - - n - - smtp\nlocal unix - n n - - local\nvirtual unix - n n - - virtual\nproxymap unix - - n - - proxymap\n" + strings.ReplaceAll(master, "DIR", dir),
		"smtpd": "", "cleanup": "", "trivial-rewrite": "", "smtp": "", "local": "", "virtual": "", "pipe": "", "proxymap": "",
		"plain": "a b\n", "down.cf": "hosts = 127.0.0.1:1\nserver_host = 127.0.0.1:1\nuser = u\npassword = p\ndbname = d\nquery = SELECT a FROM b WHERE c = '%s'\n" +
			"search_base = dc=example\nmemcache = inet:127.0.0.1:1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What services would find when they open is found before a reload, with its
// place and a remedy.
func TestReloadIsRefused(t *testing.T) {
	const sixth = "DIR/main.cf, line 6: "
	for _, tt := range []struct{ name, main, master, want string }{
		{"nothing", "", "", ""},
		{"an unknown restriction", "smtpd_sender_restrictions = reject_frobs\n", "", sixth + `smtpd_sender_restrictions: unknown smtpd restriction: "reject_frobs" (service 127.0.0.1:0/inet); "postern explain smtpd_sender_restrictions" says what it takes`},
		{"in a class", "smtpd_restriction_classes = c\nc = permit_frobs\nsmtpd_sender_restrictions = c\n", "", `DIR/main.cf, line 7: c: unknown smtpd restriction: "permit_frobs"`},
		{"of one service", "", "127.0.0.1:00 inet n - n - - smtpd -o smtpd_client_restrictions=reject_frobs\n", `DIR/master.cf, line 8: smtpd_client_restrictions: unknown smtpd restriction: "reject_frobs" (service 127.0.0.1:00/inet)`},
		{"a restriction without its table", "smtpd_sender_restrictions = check_sender_access\n", "", sixth + "smtpd_sender_restrictions: restriction check_sender_access: bad argument"},
		{"no key", "smtpd_tls_cert_file = DIR/none.pem\n", "", sixth + "smtpd_tls_cert_file: DIR/none.pem: no such file or directory (service 127.0.0.1:0/inet); name a key"},
		{"no key of the client", "smtp_tls_chain_files = DIR/none.pem\n", "", sixth + "smtp_tls_chain_files: DIR/none.pem: no such file or directory"},
		{"a bad milter", "smtpd_milters = frob:x\n", "", sixth + "the service would not start: "},
		{"a bad milter of cleanup", "non_smtpd_milters = nowhere\n", "", sixth + "the service would not start: "},
		{"an unknown type", "virtual_alias_maps = frob:x\n", "", sixth + `table frob:x: unsupported dictionary type: frob; "postconf -m" lists the types`},
		{"an unknown type in a list", "smtpd_recipient_restrictions = check_sender_access frob:x, reject\n", "", sixth},
		{"no index", "transport_maps = hash:DIR/plain\n", "", sixth + "table hash:DIR/plain: "},
		{"an index that nobody reads", "frob_maps = hash:DIR/plain\n", "", ""},
		{"an index that master builds", "transport_maps = hash:DIR/plain\nauto_rebuild_tables = yes\n", "", ""},
		{"a bad pattern", "header_checks = pcre:DIR/none\n", "", sixth + "table pcre:DIR/none: "},
		{"no configuration of a database", "virtual_alias_maps = mysql:DIR/none\n", "", sixth},
		{"a bad TLS level", "smtp_tls_security_level = frob\n", "", sixth},
		{"a bad override", "receive_override_options = frob\n", "", sixth},
		{"no program", "", "x unix - - n - - smptd\n", "DIR/master.cf, line 8: program DIR/smptd: no such file or directory (service x/unix); name a program in daemon_directory, or remove the entry"},
		{"a program that is not built", "", "tlsproxy unix - - n - 0 tlsproxy\n", ""},
		{"a transport without a command", "default_transport = x\n", "x unix - n n - - pipe user=nobody\n", "DIR/master.cf, line 8: the service would not start: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := reloadable(t, tt.main, tt.master)
			var lines []string
			for _, f := range check.Reload(dir, checked()) {
				lines = append(lines, f.String())
				if f.Remedy == "" {
					t.Errorf("no remedy: %s", f)
				}
			}
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			said := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) })
			if want == "" && len(lines) > 0 || want != "" && !said {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), want)
			}
		})
	}
}

// A server that is down, or that never answers, does not keep a configuration
// from coming into effect: nobody asks it.
func TestReloadAsksNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			asked <- struct{}{}
		}
	}()
	for _, server := range []string{"127.0.0.1:1", l.Addr().String()} {
		main := fmt.Sprintf(`virtual_alias_maps = mysql:DIR/down.cf, proxy:pgsql:DIR/down.cf, ldap:DIR/down.cf
virtual_mailbox_maps = tcp:%[1]s, socketmap:inet:%[1]s:name, memcache:DIR/down.cf
smtpd_client_restrictions = check_policy_service inet:%[1]s, check_client_access proxy:mysql:DIR/down.cf, reject_rbl_client list.example
smtpd_milters = inet:%[1]s, unix:/nonexistent
non_smtpd_milters = $smtpd_milters
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/none
smtpd_proxy_filter = %[1]s
relayhost = [nowhere.example]
content_filter = smtp:[nowhere.example]
`, server)
		dir := reloadable(t, main, "")
		text, err := os.ReadFile(dir + "/down.cf")
		if err == nil {
			err = os.WriteFile(dir+"/down.cf", []byte(strings.ReplaceAll(string(text), "127.0.0.1:1", server)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range check.Reload(dir, checked()) {
			t.Errorf("%s: %s", server, f)
		}
	}
	if len(asked) > 0 {
		t.Errorf("the server was asked %d times", len(asked))
	}
}
