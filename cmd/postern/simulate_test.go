package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/admin/simulate"
)

// TestSimulate asks about messages that there are not; nothing is left behind
// in the queue of the configuration.
func TestSimulate(t *testing.T) {
	t.Chdir(t.TempDir()) // the command changes the directory
	dir := t.TempDir()
	queue := filepath.Join(dir, "queue")
	os.Mkdir(queue, 0o755)
	t.Setenv("TMPDIR", dir)
	os.WriteFile(filepath.Join(dir, "main.cf"), []byte(`compatibility_level = 3.6
queue_directory = `+queue+`
myhostname = mail.example.com
mydestination = example.com
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
local_recipient_maps = inline:{alice=1,bob=1}
alias_maps =
virtual_alias_domains = virt.example
virtual_alias_maps = inline:{{info@virt.example=alice@example.com, bob@else.example}}
relayhost = [smart.example]
smtpd_client_restrictions = check_client_access cidr:{{192.0.2.0/24 REJECT bad net}}
smtpd_sender_restrictions = check_sender_access inline:{{c.example=HOLD wait}}
recipient_canonical_maps = inline:{{old@example.com=alice@example.com}}
smtpd_peername_lookup = no
smtpd_milters = inet:127.0.0.1:1
`), 0o644)
	os.WriteFile(filepath.Join(dir, "master.cf"), []byte("smtp inet n - n - - smtpd\n"+
		"submission inet n - n - - smtpd -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n"+
		"cleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\nproxymap unix - - n - - proxymap\n"), 0o644)
	ask := func(args ...string) (int, simulate.Result) {
		t.Helper()
		var out, errs bytes.Buffer
		status := run(append([]string{"postern", "simulate", "--json", "--config", dir}, args...), nil, &out, &errs)
		var r simulate.Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s%s", err, out.String(), errs.String())
		}
		return status, r
	}
	status, r := ask("--client", "203.0.113.5", "--from", "a@b.example", "--to", "info@virt.example", "--to", "old@example.com", "--to", "x@y.example")
	want := []simulate.Recipient{
		{Address: "alice@example.com", Original: "info@virt.example", Class: "local", Transport: "local", Nexthop: "mail.example.com"},
		{Address: "bob@else.example", Original: "info@virt.example", Class: "default", Transport: "smtp", Nexthop: "[smart.example]"},
	}
	if status != 0 || r.Message == nil || r.Message.Queue != "incoming" || len(r.Message.Recipients) < 2 || r.Message.Recipients[0] != want[0] || r.Message.Recipients[1] != want[1] {
		t.Errorf("status %d, message %+v", status, r.Message)
	}
	refused := r.Session[len(r.Session)-2]
	last := refused.Trail[len(refused.Trail)-1]
	if refused.Command != "RCPT TO:<x@y.example>" || last.Restriction != "defer_unauth_destination" || !strings.HasPrefix(last.Reply, "454 4.7.1") {
		t.Errorf("the refusal: %+v", refused)
	}
	status, r = ask("--client", "192.0.2.9", "--from", "a@b.example", "--to", "alice@example.com")
	if status != 1 || r.Message != nil || r.Session[len(r.Session)-1].Trail[0].Answer != "REJECT bad net" {
		t.Errorf("status %d, %+v", status, r)
	}
	status, r = ask("--service", "submission", "--sasl-user", "joe", "--client", "203.0.113.5", "--from", "a@c.example", "--to", "alice@example.com")
	if status != 1 || r.Service != "submission/inet" { // SASL is not configured
		t.Errorf("status %d, %+v", status, r)
	}
	status, r = ask("--client", "127.0.0.1", "--from", "a@c.example", "--to", "alice@example.com", "--tls", "--helo", "h.example")
	if status != 0 || r.Message.Queue != "hold" {
		t.Errorf("status %d, %+v", status, r.Message)
	}
	if left, _ := filepath.Glob(filepath.Join(queue, "*")); len(left) > 0 {
		t.Errorf("left in the queue directory: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "postern-simulate-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
