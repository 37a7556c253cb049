package neighbours

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"postern/test/harness"
)

// rspamdConf is rspamd's proxy worker in milter mode, which scans by itself
// (self_scan), with a few of its modules and rules of the test's own.
const rspamdConf = `options {
  pidfile = "@DIR@/pid";
  tempdir = "@DIR@";
  url_tld = "@DIR@/tld";
  filters = "regexp";
  enable_test_patterns = true;
  local_addrs = [];
  control_socket = "@DIR@/control mode=0600";
  hs_cache_dir = "@DIR@/";
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
lua = "@DIR@/rules.lua";
modules { path = "/usr/share/rspamd/plugins/greylist.lua"; path = "/usr/share/rspamd/plugins/milter_headers.lua"; }
redis { servers = "127.0.0.1:@REDIS@"; timeout = 10s; }
greylist { timeout = 1s; check_local = true; message = "Greylisted, come again"; }
milter_headers { use = ["x-spam-level", "x-spam-status"]; skip_local = false; skip_authenticated = false; }
actions { reject = 15; rewrite_subject = 10; add_header = 6; greylist = 4; subject = "[spam] %s"; }
worker "rspamd_proxy" {
  bind_socket = "127.0.0.1:@PORT@";
  milter = yes;
  timeout = 60s;
  count = 1;
  upstream "local" { default = yes; self_scan = yes; }
}
`

const rspamdRules = `config['regexp'] = {
  SPAM_WORD = { re = 'Subject=/unwanted/H', score = 8, group = 'test' },
}
`

// rspamd starts rspamd with a Redis server of its own for the greylist.
func rspamd(t *testing.T) *server {
	t.Helper()
	r := newServer(t, "redis", "redis-server")
	r.args = []string{"redis-server", "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "", "--dir", r.dir}
	r.start()
	s := newServer(t, "rspamd", "rspamd")
	conf := strings.NewReplacer("@DIR@", s.dir, "@PORT@", strconv.Itoa(s.port), "@REDIS@", strconv.Itoa(r.port)).Replace(rspamdConf)
	s.write(t, "conf", conf, 0o644)
	s.write(t, "rules.lua", rspamdRules, 0o644)
	s.write(t, "tld", "com\nexample\n", 0o644)
	s.args = []string{"rspamd", "-f", "-c", s.dir + "/conf"}
	s.start()
	return s
}

// TestRspamd has rspamd add header fields, refuse spam, put a message off and
// take it when it comes again.
func TestRspamd(t *testing.T) {
	s := rspamd(t)
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("smtpd_milters = inet:127.0.0.1:%d\nsmtpd_peername_lookup = no\n", s.port)})
	i.Start()
	send := func(user, message string) error {
		return submit(i, "127.0.0.9", "alice@example.com", []string{user + "@example.com"}, message)
	}
	if err := send("bob", letter); err != nil {
		t.Fatal(err)
	}
	got := one(t, i, "bob")
	mustContain(t, got, "\nX-Spam-Status: No, score=0.00\n")
	if strings.Contains(got, "X-Spam: ") {
		t.Errorf("a letter is marked as spam:\n%s", got)
	}

	// What looks like spam is put off once, and then taken with a mark.
	unwanted := strings.Replace(letter, "a letter", "an unwanted letter", 1)
	if err := send("carol", unwanted); err == nil || err.Error() != "451 4.7.1 Greylisted, come again" {
		t.Errorf("the first try: %v", err)
	}
	i.WaitLog(`: milter-reject: END-OF-MESSAGE from unknown\[127\.0\.0\.9\]: 4\.7\.1 Greylisted, come again;`)
	i.Until("rspamd takes the letter", func() bool { return send("carol", unwanted) == nil })
	mustContain(t, one(t, i, "carol"), "\nX-Spam: Yes\n", "\nX-Spam-Level: ********\n", "\nX-Spam-Status: Yes, score=8.00\n")

	err := send("bob", letter+gtube)
	if err == nil || err.Error() != "554 5.7.1 Gtube pattern" {
		t.Errorf("spam: %v", err)
	}
	i.WaitLog(`: milter-reject: END-OF-MESSAGE from unknown\[127\.0\.0\.9\]: 5\.7\.1 Gtube pattern; from=<alice@example\.com> to=<bob@example\.com> proto=ESMTP helo=<client\.example>`)

	if n := len(delivered(t, i, "bob")); n != 1 {
		t.Errorf("bob has %d messages, want 1: spam was delivered", n)
	}

	// rspamd knows a text for which it rewrites the subject.
	if err := send("alice", letter+strings.Replace(gtube, "XJS", "ZJS", 1)); err != nil {
		t.Fatal(err)
	}
	if got := one(t, i, "alice"); !strings.Contains(got, "\nSubject: [spam] a letter of two lines\n") || strings.Count(got, "\nSubject:") != 1 {
		t.Errorf("the subject is not as rspamd wants it:\n%s", got)
	}

	// A simulation names it, and asks it only about the envelope.
	for _, args := range [][]string{nil, {"--ask"}} {
		out, status := i.Run("", "postern", append([]string{"simulate", "--config", i.Dir + "/etc", "--client", "127.0.0.9", "--from", "a@b.example", "--to", "bob@example.com"}, args...)...)
		state := "not asked"
		if args != nil {
			state = "asked about the envelope; the content is not shown to it"
		}
		if want := "\nmilter inet:" + s.addr() + ": " + state + " (without it: shutdown)\n"; status != 0 || !strings.Contains(out, want) {
			t.Errorf("postern simulate %v: status %d, no %q in\n%s", args, status, want, out)
		}
	}

	// A filter that is gone costs what milter_default_action says.
	s.kill()
	if err := send("bob", letter); err == nil || err.Error()[0] != '4' {
		t.Errorf("without rspamd: %v, want a temporary refusal", err)
	}
}
