package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/internal/admin/simulate"
	"postern/internal/base/sys/systest"
	"postern/internal/ipc/attr"
	"postern/internal/ipc/verify"
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
myorigin = example.com
sender_bcc_maps = static:watch@far.example
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
local_recipient_maps = inline:{alice=1,bob=1,old=1}
alias_maps = inline:{{alice=alice, root, "|/bin/prog arg"}, {root=carol@far.example, :include:/nonexistent/list}, {bob=/dev/null}}
virtual_alias_domains = virt.example
virtual_alias_maps = inline:{{info@virt.example=alice@example.com, bob@else.example}}
relayhost = [smart.example]
smtpd_client_restrictions = check_client_access cidr:{{192.0.2.0/24 REJECT bad net}}
smtpd_sender_restrictions = check_sender_access inline:{{c.example=HOLD wait}}
recipient_canonical_maps = inline:{{old@example.com=alice@example.com}}
content_filter = scan:[127.0.0.1]:10025
always_bcc = archive@far.example
smtpd_peername_lookup = no
smtpd_milters = inet:127.0.0.1:1
`), 0o644)
	os.WriteFile(filepath.Join(dir, "master.cf"), []byte("smtp inet n - n - - smtpd\n"+
		"submission inet n - n - - smtpd -o smtpd_client_restrictions=permit_sasl_authenticated,reject\n"+
		"cleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\nproxymap unix - - n - - proxymap\nlocal unix - n n - - local\n"), 0o644)
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
		{Address: "alice@example.com", Original: "info@virt.example", Class: "local", Transport: "local", Nexthop: "mail.example.com", Becomes: []simulate.Recipient{{Address: "alice", Class: "alias", Becomes: []simulate.Recipient{
			{Address: "alice@example.com", Class: "local", Transport: "local", Nexthop: "mail.example.com",
				Problem: `it would be returned: 5.1.1 unknown user: "alice"`},
			{Address: "root@example.com", Class: "local", Transport: "local", Nexthop: "mail.example.com", Becomes: []simulate.Recipient{
				{Address: "root", Class: "alias", Becomes: []simulate.Recipient{
					{Address: "carol@far.example", Class: "default", Transport: "smtp", Nexthop: "[smart.example]", NewMessage: true},
					{Address: "/nonexistent/list", Class: "included list", Problem: "it would wait: mail system configuration error",
						Note: "unable to lookup :include: file /nonexistent/list: No such file or directory"}}}}},
			{Address: "/bin/prog arg", Class: "command"}}}}},
		{Address: "bob@else.example", Original: "info@virt.example", Class: "default", Transport: "smtp", Nexthop: "[smart.example]"},
	}
	if status != 0 || r.Message == nil || r.Message.Queue != "incoming" || len(r.Message.Recipients) < 3 || !reflect.DeepEqual(r.Message.Recipients[1:3], want) {
		t.Errorf("status %d, message %+v", status, r.Message)
	}
	rewriting := []simulate.Rewriting{
		{By: "sender_bcc_maps", From: "a@b.example", To: []string{"watch@far.example"}},
		{By: "virtual_alias_maps", From: "info@virt.example", To: []string{"alice@example.com", "bob@else.example"}},
		{By: "recipient_canonical_maps", From: "old@example.com", To: []string{"alice@example.com"}},
		{By: "always_bcc", To: []string{"archive@far.example"}},
	}
	if r.Message != nil && !reflect.DeepEqual(r.Message.Rewriting, rewriting) {
		t.Errorf("rewriting: got %+v, want %+v", r.Message.Rewriting, rewriting)
	}
	if hop := r.Message.FilterHop; hop == nil || *hop != (simulate.Hop{Transport: "scan", Nexthop: "[127.0.0.1]:10025"}) {
		t.Errorf("filter %+v", hop)
	}
	if want := []simulate.Milter{{Name: "inet:127.0.0.1:1", DefaultAction: "shutdown"}}; !reflect.DeepEqual(r.Milters, want) {
		t.Errorf("milters: got %+v, want %+v", r.Milters, want)
	}
	var out, errs bytes.Buffer
	run([]string{"postern", "simulate", "--config", dir, "--client", "203.0.113.5", "--from", "a@b.example", "--to", "info@virt.example"}, nil, &out, &errs)
	for _, text := range []string{
		"\nmilter inet:127.0.0.1:1: not asked (without it: shutdown)\nWith --ask, ",
		"\n  recipient <info@virt.example> -> <alice@example.com>, <bob@else.example> by virtual_alias_maps\n",
		"\n  recipient <watch@far.example> added by sender_bcc_maps for <a@b.example>\n", "\n  recipient <archive@far.example> added by always_bcc\n",
		"\nIt would first go to the content filter: transport scan, next hop [127.0.0.1]:10025. After that:\n",
		"\n  <alice@example.com>, for <info@virt.example>: class local, transport local, next hop mail.example.com\n    alias alice\n      <alice@example.com>: ",
		"\n          <carol@far.example>: class default, transport smtp, next hop [smart.example]; in a new message\n          included list /nonexistent/list; unable to lookup ",
		"\n      command /bin/prog arg\n",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s%s", text, out.String(), errs.String())
		}
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
	status, r = ask("--client", "127.0.0.1", "--from", "<a@c.example>", "--to", "<alice@example.com>", "--tls", "--helo", "h.example")
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

// knowing is a verify service that knows an address and is not to probe another.
func knowing(t *testing.T, path string, known map[string]verify.Answer) {
	systest.Serve(t, "unix", path, func(c net.Conn) {
		conn, hello := attr.NewConn(c, time.Minute), attr.Protocol(verify.Protocol)
		for err := conn.Send(&hello); err == nil; {
			var r verify.Request
			if conn.Recv(&r) != nil {
				return
			}
			answer, ok := known[r.Address]
			if !ok {
				answer = verify.Answer{Status: verify.Todo, Reason: "Address verification in progress"}
			}
			if r.Kind != verify.KindPeek {
				t.Errorf("a %s for %s", r.Kind, r.Address)
			}
			err = conn.Send(&answer)
		}
	})
}

// TestSimulateVerification tells what the verify service knows.
func TestSimulateVerification(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	os.MkdirAll(filepath.Join(dir, "queue/private"), 0o755)
	knowing(t, filepath.Join(dir, "queue/private/verify"), map[string]verify.Answer{
		"gone@far.example": {Status: verify.Bounce, Reason: "host said: no such user"}, "here@far.example": {Status: verify.OK, Reason: "delivered"}})
	os.WriteFile(filepath.Join(dir, "main.cf"), []byte(`compatibility_level = 3.6
queue_directory = `+dir+`/queue
myhostname = mail.example.com
relay_domains = far.example
inet_interfaces = 127.0.0.1
smtpd_peername_lookup = no
smtpd_proxy_filter = 127.0.0.1:10025
unverified_recipient_reject_code = 550
smtpd_recipient_restrictions = reject_unverified_recipient, check_policy_service inet:127.0.0.1:1
`), 0o644)
	os.WriteFile(filepath.Join(dir, "master.cf"), []byte("smtp inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\n"), 0o644)
	var out, errs bytes.Buffer
	run([]string{"postern", "simulate", "--config", dir, "--client", "203.0.113.5", "--from", "a@b.example", "--to", "gone@far.example", "--to", "here@far.example", "--to", "new@far.example"}, nil, &out, &errs)
	for _, text := range []string{
		"> RCPT TO:<gone@far.example>\n< 550 5.1.1 <gone@far.example>: Recipient address rejected: undeliverable address: host said: no such user\n",
		"> RCPT TO:<here@far.example>\n< 250 2.1.5 Ok\n",
		"> RCPT TO:<new@far.example>\n< 450 4.1.1 <new@far.example>: Recipient address rejected: unverified address: Address verification in progress\n",
		"\n    smtpd_recipient_restrictions: check_policy_service inet:127.0.0.1:1 -> not asked\n",
		"\nfilter before the queue 127.0.0.1:10025: not asked. ",
		"\nverification of <gone@far.example>: undeliverable (host said: no such user)\nverification of <here@far.example>: deliverable (delivered)\nverification of <new@far.example>: unknown (it would be probed)\n",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s%s", text, out.String(), errs.String())
		}
	}
}

// TestSimulateForward follows .forward files, lists in files and the owner of a
// list as local(8) does, and delivers to none of what they name.
func TestSimulateForward(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	os.Chmod(filepath.Dir(dir), 0o755) // the users read what is below
	os.Chmod(dir, 0o755)
	ran := filepath.Join(dir, "ran")
	for name, text := range map[string]string{
		"forward-daemon": "\\daemon, bin@example.com\n# nobody@far.example\n\"|touch " + ran + "\"\n:include:" + dir + "/list\n",
		"forward-bin":    "daemon@example.com\n",
		"list":           "one@far.example\n" + dir + "/archive\n",
		"open":           "two@far.example\n",
		"main.cf": `compatibility_level = 3.6
queue_directory = ` + dir + `/queue
myhostname = mail.example.com
mydestination = example.com
myorigin = example.com
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
local_recipient_maps =
alias_maps = inline:{{list=:include:` + dir + `/list, bin}, {owner-list=carol@far.example}, {wild=:include:` + dir + `/open}}
forward_path = ` + dir + `/forward-$user
mail_spool_directory = ` + dir + `/mail
smtpd_peername_lookup = no
`,
		"master.cf": "smtp inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\nlocal unix - n n - - local\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(dir, "open"), 0o666)
	var out, errs bytes.Buffer
	run([]string{"postern", "simulate", "--config", dir, "--client", "127.0.0.1", "--from", "a@b.example",
		"--to", "daemon@example.com", "--to", "list@example.com", "--to", "wild@example.com"}, nil, &out, &errs)
	local := ": class local, transport local, next hop mail.example.com"
	far := ": class default, transport smtp, next hop far.example; in a new message"
	for _, text := range []string{
		`
  <daemon@example.com>` + local + `
    forward file ` + dir + `/forward-daemon
      <daemon@example.com>` + local + `
        mailbox ` + dir + `/mail/daemon
      <bin@example.com>` + local + `; in a new message
        forward file ` + dir + `/forward-bin
          <daemon@example.com>` + local + `; it would be returned: 5.4.6 mail forwarding loop for daemon@example.com
      command touch ` + ran + `
      included list ` + dir + `/list
        <one@far.example>` + far + `
        file ` + dir + `/archive; it would be returned: 5.7.1 mail to file is restricted
`, `
  <list@example.com>` + local + `
    alias list
      included list ` + dir + `/list
        <one@far.example>` + far + ` from <owner-list@example.com>
        file ` + dir + `/archive; it would be returned: 5.7.1 mail to file is restricted
      <bin@example.com>` + local + `; in a new message from <owner-list@example.com>
        forward file ` + dir + `/forward-bin
`, `
      included list ` + dir + `/open; :include: file ` + dir + `/open is world writable; it would wait: mail system configuration error
`,
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %s in\n%s%s", text, out.String(), errs.String())
		}
	}
	for _, name := range []string{"ran", "archive", "mail"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}
