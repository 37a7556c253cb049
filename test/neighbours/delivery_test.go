package neighbours

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// system is a mail system with virtual mailboxes in a database. Nothing says
// "proxy:", smtpd is in a jail, and the tables' files are root's alone.
func system(t *testing.T, typeName, connection string) *harness.Instance {
	table := func(query string) string {
		return connection + "idle_interval = 1\nretry_interval = 1\nquery = " + query + "\n"
	}
	i := harness.New(t, harness.Postern, harness.Config{
		Main: strings.ReplaceAll(`mydestination =
local_recipient_maps =
virtual_mailbox_domains = TYPE:@DIR@/etc/domains.cf
virtual_mailbox_maps = TYPE:@DIR@/etc/mailboxes.cf
virtual_alias_maps = TYPE:@DIR@/etc/aliases.cf
virtual_mailbox_base = @DIR@/vmail
virtual_uid_maps = static:2200
virtual_gid_maps = static:2200
smtpd_sender_restrictions = check_sender_access TYPE:@DIR@/etc/senders.cf
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_client_connection_rate_limit = 0
`, "TYPE", typeName),
		Master: "127.0.0.1:@PORT@ inet n - y - - smtpd\n",
		Files: map[string]string{
			"domains.cf":   table("SELECT 1 FROM virtual_domains WHERE name = '%s'"),
			"mailboxes.cf": table("SELECT 1 FROM virtual_users WHERE email = '%s'") + "result_format = %D/%U/\n",
			"aliases.cf":   table("SELECT destination FROM virtual_aliases WHERE source = '%s'"),
			"senders.cf":   table("SELECT 'REJECT' FROM odd WHERE k = '%s'"),
		},
	})
	for _, name := range []string{"domains.cf", "mailboxes.cf", "aliases.cf", "senders.cf"} {
		if err := os.Chmod(i.Host("etc/"+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// boxes counts the messages in the mailbox of a user.
func boxes(i *harness.Instance, domain, user string) int {
	entries, _ := os.ReadDir(filepath.Join(i.Host("vmail"), domain, user, "new"))
	return len(entries)
}

// send sends one message and returns how many recipients were accepted; a
// refusal that is not temporary fails the test.
func send(t *testing.T, i *harness.Instance, rcpts ...string) int {
	t.Helper()
	s, err := harness.Open(i.Addr())
	if err != nil {
		t.Error(err)
		return 0
	}
	defer s.Close()
	say := func(command string) string {
		reply, err := s.Say(command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			return "421 "
		}
		if reply[0] == '5' {
			t.Errorf("%s: %s", command, reply)
		}
		return reply
	}
	if say("MAIL FROM:<sender@client.example>")[0] != '2' {
		return 0
	}
	accepted := 0
	for _, rcpt := range rcpts {
		if say("RCPT TO:<" + rcpt + ">")[0] == '2' {
			accepted++
		}
	}
	if accepted == 0 || say("DATA")[0] != '3' || say("Subject: x\r\n\r\nx\r\n.")[0] != '2' {
		return 0
	}
	say("QUIT")
	return accepted
}

// interrupted lets mail flow, kills the server in the middle, starts it again,
// and counts.
func interrupted(t *testing.T, i *harness.Instance, s *server) {
	i.Start()
	if n := send(t, i, "all@example.com"); n != 1 {
		t.Fatal("mail is not accepted")
	}
	i.Until("an alias is delivered to its three mailboxes", func() bool {
		return boxes(i, "example.com", "john") == 1 && boxes(i, "example.com", "sue") == 1 && boxes(i, "example.org", "john") == 1
	})
	if s2, err := harness.Open(i.Addr()); err != nil {
		t.Fatal(err)
	} else {
		s2.Say("MAIL FROM:<sender@client.example>")
		if reply, _ := s2.Say("RCPT TO:<nobody@example.com>"); !strings.HasPrefix(reply, "550 5.1.1") {
			t.Errorf("a recipient who is not there: %s", reply)
		}
		s2.Close()
	}
	var mu sync.Mutex
	sent := 1
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 2 {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := send(t, i, "john@example.com")
				mu.Lock()
				sent += n
				mu.Unlock()
			}
		}()
	}
	total := func() int {
		mu.Lock()
		defer mu.Unlock()
		return sent
	}
	i.Until("mail flows", func() bool { return boxes(i, "example.com", "john") > 20 })
	s.kill()
	i.Until("lookups fail", func() bool { return strings.Contains(i.Log(), ": 451 4.3.0 <") })
	// What is accepted before has to wait in the queue.
	i.Until("mail is deferred or refused with 451", func() bool { return strings.Count(i.Log(), ": 451 4.3.0 <") > 20 })
	before := total()
	s.start()
	i.Until("mail flows again", func() bool { return total() > before+20 })
	close(stop)
	senders.Wait()
	i.Until(fmt.Sprintf("%d messages are delivered", total()), func() bool { return boxes(i, "example.com", "john") == total() })
	for _, bad := range []string{"status=bounced", "sender non-delivery notification", "panic"} {
		if strings.Contains(i.Log(), bad) {
			t.Errorf("the log has %q", bad)
		}
	}
	i.Until("the queue is empty", func() bool { return i.Empty("incoming", "active", "deferred") })
	if n := i.Count("corrupt"); n != 0 {
		t.Errorf("%d files in corrupt", n)
	}
	t.Logf("%d messages, %d deferred deliveries, %d refusals with 451", total(), strings.Count(i.Log(), "status=deferred"), strings.Count(i.Log(), ": 451 4.3.0 <"))
}

func TestDeliveryFromMariaDB(t *testing.T) {
	t.Parallel()
	s := mariadb(t, sqlFor("mariadb"))
	i := system(t, "mysql", file("hosts", s.addr(), "user", "postfix", "password", "secret 'pass", "dbname", "mail"))
	interrupted(t, i, s)
}

func TestDeliveryFromPostgreSQL(t *testing.T) {
	t.Parallel()
	s := postgresql(t, sqlFor("postgresql"))
	i := system(t, "pgsql", file("hosts", s.addr(), "user", "postfix", "password", "secret'pass", "dbname", "postgres"))
	interrupted(t, i, s)
	i.Until("idle connections are closed", func() bool {
		return strings.TrimSpace(s.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'postfix'")) == "0"
	})
}

// A database in a file that proxymap may only read; one that takes its place is
// seen at once.
func TestDeliveryFromSQLite(t *testing.T) {
	t.Parallel()
	sqlite3 := program(t, "sqlite3")
	i := system(t, "sqlite", "dbpath = @DIR@/etc/mail.sqlite\n")
	put := func(script string) {
		t.Helper()
		path := i.Host("etc/mail.sqlite")
		cmd := exec.Command(sqlite3, path+".new")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := errors.Join(os.Chown(path+".new", 0, 2100), os.Chmod(path+".new", 0o640), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	put(sqlFor("sqlite"))
	i.Start()
	if send(t, i, "john@example.com") != 1 {
		t.Error("mail is not accepted")
	}
	put(sqlFor("sqlite") + "INSERT INTO virtual_users VALUES (10, 1, 'new@example.com', 'x', 0, NULL);\n")
	if send(t, i, "new@example.com") != 1 {
		t.Error("mail for a new user is not accepted")
	}
	i.Until("both are delivered", func() bool { return boxes(i, "example.com", "john") == 1 && boxes(i, "example.com", "new") == 1 })
	// A write-ahead log that belongs to a program that runs.
	put("PRAGMA journal_mode = WAL;\n" + sqlFor("sqlite"))
	writer := exec.Command(sqlite3, i.Host("etc/mail.sqlite"))
	in, err := writer.StdinPipe()
	if err == nil {
		err = writer.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Wait()
	defer in.Close()
	fmt.Fprintln(in, "INSERT INTO virtual_users VALUES (11, 1, 'later@example.com', 'x', 0, NULL);")
	i.Until("a user in the log is known", func() bool {
		errs := 0
		for _, suffix := range []string{"-wal", "-shm"} {
			if os.Chown(i.Host("etc/mail.sqlite"+suffix), 0, 2100) != nil || os.Chmod(i.Host("etc/mail.sqlite"+suffix), 0o640) != nil {
				errs++
			}
		}
		return errs == 0 && recipient(i, "later@example.com") == '2'
	})
}

// recipient returns the first digit of the reply to a recipient.
func recipient(i *harness.Instance, rcpt string) byte {
	s, err := harness.Open(i.Addr())
	if err != nil {
		return 0
	}
	defer s.Close()
	s.Say("MAIL FROM:<sender@client.example>")
	reply, err := s.Say("RCPT TO:<" + rcpt + ">")
	if err != nil {
		return 0
	}
	return reply[0]
}

// Mail that is in the queue when the database goes away waits, and is delivered
// without anybody's help when it comes back.
func TestQueueWaitsForDatabase(t *testing.T) {
	t.Parallel()
	s := postgresql(t, sqlFor("postgresql"))
	i := system(t, "pgsql", file("hosts", s.addr(), "user", "postfix", "password", "secret'pass", "dbname", "postgres"))
	main, err := os.ReadFile(i.Host("etc/main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	i.WriteFile("etc/main.cf", string(main)+"defer_transports = virtual\n")
	i.Start()
	for range 5 {
		send(t, i, "john@example.com", "sue@example.com")
	}
	i.Until("five wait", func() bool { return i.Count("deferred") == 5 })
	s.kill()
	i.WriteFile("etc/main.cf", string(main))
	if out, status := i.Run("", "postfix", "-c", i.Dir+"/etc", "reload"); status != 0 {
		t.Fatal(out)
	}
	failures := func() int {
		return strings.Count(i.Log(), "lookup error for") + strings.Count(i.Log(), "address resolver failure")
	}
	i.Until("deliveries are tried in vain", func() bool { return failures() > 3 && i.Count("deferred") > 0 })
	s.start()
	i.Until("all is delivered", func() bool {
		return boxes(i, "example.com", "john") == 5 && boxes(i, "example.com", "sue") == 5 && i.Count("deferred") == 0
	})
	if strings.Contains(i.Log(), "status=bounced") {
		t.Error("mail bounced")
	}
}

// memcached: postmap reads and writes as the original does.
func TestMemcached(t *testing.T) {
	t.Parallel()
	s := memcached(t)
	p := newPair(t, "", map[string]string{
		"m.cf": "memcache = inet:" + s.addr() + "\nkey_format = p:%s\nbackup = inline:{{b@example.com = from the backup}}\n",
		"d.cf": "memcache = inet:" + s.addr() + "\nkey_format = p:%u@%d\ndomain = example.com\n",
		"w.cf": "memcache = inet:" + s.addr() + "\nkey_format = p:%s\n",
	})
	for _, key := range []string{"p:postfix@example.com", "p:postern@example.com", "p:user", "p:日本@example.com"} {
		s.store(key, "value of "+key)
	}
	keys := []string{"postfix@example.com", "POSTERN@example.com", "b@example.com", "c@example.com", "a b@example.com", "@example.com", "postfix@other.example", "b@example.com",
		"x\ty", "日本@example.com", "user", strings.Repeat("k", 240)}
	for _, name := range []string{"m", "d", "w"} {
		p.compare("memcache", name, keys, func(dir string) string { return "memcache:" + dir + "/etc/" + name + ".cf" })
	}
	for _, want := range []int{0, 1} {
		for _, i := range []*harness.Instance{p.postfix, p.ours} {
			key := i.System.Name + "@example.com"
			if out, status := i.Run("", "postmap", "-d", key, "memcache:"+i.Dir+"/etc/w.cf"); status != want {
				t.Errorf("%s: postmap -d: %q, status %d, want %d", i.System.Name, out, status, want)
			}
		}
	}
	s.kill()
	if out, status := p.ours.Run("", "postmap", "-q", "b@example.com", "memcache:"+p.ours.Dir+"/etc/m.cf"); status != 0 || !strings.Contains(out, "from the backup") {
		t.Errorf("without the server: %q, %d", out, status)
	}
	if out, status := p.ours.Run("", "postmap", "-q", "b@example.com", "memcache:"+p.ours.Dir+"/etc/w.cf"); status != 1 || !strings.Contains(out, "connection refused") {
		t.Errorf("without server and backup: %q, %d", out, status)
	}
}

// store tells memcached a value.
func (s *server) store(key, value string) {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "set %s 0 0 %d\r\n%s\r\n", key, len(value), value)
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "STORED\r\n" {
		s.t.Fatalf("memcached says %q, %v", line, err)
	}
}
