package neighbours

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// deliver sends a message in plain text and returns the reply to RCPT and, if
// it is positive, the message as it was delivered.
func deliver(t *testing.T, i *harness.Instance) (reply, text string) {
	t.Helper()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	say := func(command string) string {
		t.Helper()
		reply, err := s.Say(command)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	say("MAIL FROM:<a@client.example>")
	if reply = say("RCPT TO:<alice@example.com>"); !strings.HasPrefix(reply, "250") {
		say("QUIT")
		return reply, ""
	}
	say("DATA")
	say("Subject: x\r\n\r\nx\r\n.")
	say("QUIT")
	var files []string
	i.Until("alice has mail", func() bool {
		files, _ = filepath.Glob(i.Host("mail/alice/new/*"))
		return len(files) > 0
	})
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(files[0])
	return reply, string(b)
}

// TestPostgrey greylists: the first try is put off, a later one is taken and
// gets the header field that postgrey asks for.
func TestPostgrey(t *testing.T) {
	s := newServer(t, "postgrey", "postgrey")
	i := harness.New(t, harness.Postern, harness.Config{
		Main: "mynetworks = 192.0.2.1\nsmtpd_recipient_restrictions = check_policy_service inet:" + s.addr() + "\n",
	})
	empty := s.dir + "/none"
	os.WriteFile(empty, nil, 0o644)
	s.args = []string{"postgrey", "--inet=" + s.addr(), "--dbdir=" + s.dir, "--delay=2", "--whitelist-clients=" + empty, "--whitelist-recipients=" + empty,
		"--user=nobody", "--group=nogroup", "--auto-whitelist-clients=0"}
	s.start()
	i.Start()
	simulated := func(args ...string) string {
		out, _ := i.Run("", "postern", append([]string{"simulate", "--config", i.Dir + "/etc", "--client", "127.0.0.77", "--client-name", "c.example",
			"--from", "b@client.example", "--to", "alice@example.com"}, args...)...)
		return out
	}
	const greylisted = "< 450 4.2.0 <alice@example.com>: Recipient address rejected: Greylisted"
	// Without --ask nobody is asked; with it, postgrey's answer is the reply.
	if out := simulated(); strings.Contains(out, greylisted) || !strings.Contains(out, "check_policy_service inet:"+s.addr()+" -> not asked\n") {
		t.Errorf("postern simulate: %s", out)
	}
	if out := simulated("--ask"); !strings.Contains(out, greylisted) {
		t.Errorf("postern simulate --ask: %s", out)
	}
	reply, _ := deliver(t, i)
	if !strings.HasPrefix(reply, "450 4.2.0 <alice@example.com>: Recipient address rejected: Greylisted") {
		t.Errorf("the first try: %s", reply)
	}
	var text string
	i.Until("postgrey lets the client in", func() bool {
		reply, text = deliver(t, i)
		return text != ""
	})
	if !strings.HasPrefix(text, "Return-Path") || !strings.Contains(text, "\nX-Greylist: delayed ") {
		t.Errorf("%s\n%s", reply, text)
	}
	if out, _ := i.Run("", "postern", "why", "--config", i.Dir+"/etc", "a@client.example"); !strings.Contains(out, "Greylisted") {
		t.Errorf("postern why: %s", out)
	}
}
