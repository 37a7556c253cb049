package crash

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// inbox counts the messages of a user.
func inbox(t *testing.T, i *harness.Instance, user string) int {
	t.Helper()
	files, err := filepath.Glob(i.Host("mail/" + user + "/new/*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// ends are ways to write a line with a dot; only the first ends a message.
var ends = []string{"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r\r\n.\r\r\n", "\r\n\x00.\r\n",
	"\r\n.\x00\r\n", "\r\n. \r\n", "\r\n..\r\n", "\r\n.\r\r\n", "\n\n.\n\n", "\r\n\r.\r\n", "\n\r.\r\n", "\r\n.\n\r\n"}

// smuggled is what stands behind the false end: a message for bob with a number.
const smuggled = "MAIL FROM:<evil@x.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: evil %d.\r\n\r\nx\r\n.\r\n"

// TestSmuggling hides a message in another one behind everything that may look
// like the end of data, by DATA and by BDAT, under each policy on bare
// newlines. Only where the administrator has allowed them, by "no", does a line
// that ends otherwise end the message, as with Postfix.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		values := []string{"no", "yes", "normalize", "reject"}
		if s == harness.Postern {
			values = append(values, "note")
		}
		master, ports := "", map[string]int{}
		for _, v := range values {
			ports[v] = harness.FreePort(t)
			master += fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_forbid_bare_newline=%s\n", ports[v], v)
		}
		i := harness.New(t, s, harness.Config{Main: "local_recipient_maps =\nsmtpd_forbid_bare_newline_exclusions =\n" +
			"smtpd_forbid_unauth_pipelining = no\nsmtpd_error_sleep_time = 0\nsmtpd_client_connection_count_limit = 0\n", Master: master})
		i.Start()
		for _, v := range values {
			tries := 0
			for n, end := range ends {
				for _, bdat := range []bool{false, true} {
					if n > 0 || bdat { // else it is the end
						smuggle(t, i, ports[v], "first"+end+fmt.Sprintf(smuggled, n), bdat)
						tries++
					}
				}
			}
			i.WaitSettled()
			through := taken(t, i)
			want := map[string]bool{}
			if v == "no" {
				// A line ends with any number of carriage returns and a newline then.
				for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\n\n.\n\n", "\r\n.\n\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n"} {
					want[fmt.Sprintf("%q", end)] = true
				}
			}
			t.Logf("%s: smtpd_forbid_bare_newline = %s: %d tries, %d messages smuggled", s.Name, v, tries, len(through))
			if fmt.Sprint(through) != fmt.Sprint(want) {
				t.Errorf("%s: smuggled behind %v, want %v", v, through, want)
			}
		}
	})
}

// taken returns behind which ends bob's messages stood, and removes them.
func taken(t *testing.T, i *harness.Instance) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(i.Host("mail/bob/new/*"))
	if err != nil {
		t.Fatal(err)
	}
	through := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for n, end := range ends {
			if strings.Contains(string(b), fmt.Sprintf("\nSubject: evil %d.\n", n)) {
				through[fmt.Sprintf("%q", end)] = true
			}
		}
		os.Remove(f)
	}
	return through
}

// smuggle sends content by DATA, or in one chunk that holds all of it.
func smuggle(t *testing.T, i *harness.Instance, port int, content string, bdat bool) {
	t.Helper()
	c, _, err := harness.Connect(fmt.Sprintf("127.0.0.1:%d", port), "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	i.Sessions++
	commands := slices.Clone(envelope[:3])
	content = "Subject: x\r\n\r\n" + content
	if !bdat {
		commands = append(commands, "DATA")
	}
	for _, command := range commands {
		if reply, err := c.Say(command); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q %v", command, reply, err)
		}
	}
	if bdat {
		content = fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content)
	}
	io.WriteString(c, content+"QUIT\r\n")
	for reply := ""; err == nil && !strings.HasPrefix(reply, "221"); {
		reply, err = c.Reply()
	}
}

// relays are addresses by which a host may be asked to pass mail on to
// victim@nowhere.example.
var relays = []string{
	"victim@nowhere.example", "victim%nowhere.example@mail.example.com", "victim%nowhere.example@example.com", "victim%nowhere.example",
	"nowhere.example!victim", "nowhere.example!victim@mail.example.com", "mail.example.com!nowhere.example!victim", "nowhere.example!victim%mail.example.com",
	"@mail.example.com:victim@nowhere.example", "@mail.example.com,@example.com:victim@nowhere.example", "@[127.0.0.1]:victim@nowhere.example",
	`"victim@nowhere.example"`, `"victim@nowhere.example"@mail.example.com`, `"victim%nowhere.example"@mail.example.com`, `"nowhere.example!victim"@mail.example.com`,
	"victim@nowhere.example@mail.example.com", "victim%nowhere.example@[127.0.0.1]", "nowhere.example!victim@[127.0.0.1]", "victim@[192.0.2.1]",
	"victim@[IPv6:2001:db8::1]", "victim%nowhere.example@localhost", `victim\@nowhere.example`, `victim\@nowhere.example@mail.example.com`,
	"victim%nowhere.example%mail.example.com", "victim@nowhere.example.", "victim@NOWHERE.example", "victim%40nowhere.example@mail.example.com",
	"victim@nowhere.example%mail.example.com", `"victim"@nowhere.example`, "victim@mail.example.com:nowhere.example", "alice+victim%nowhere.example@example.com",
}

// TestOpenRelay asks a host to pass mail on in every form, from many senders.
// None is taken, although the host takes every local part of its domains, not
// even where "%" and "!" in it mean nothing; nothing reaches the next hop.
func TestOpenRelay(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		for _, hack := range []string{"yes", "no"} {
			sink := harness.NewSink(t, "")
			i := harness.New(t, s, harness.Config{Main: fmt.Sprintf("mynetworks = 192.0.2.99\nlocal_recipient_maps =\nluser_relay = carol\nrelayhost = [127.0.0.1]:%d\n"+
				"smtpd_hard_error_limit = 1000\nsmtpd_soft_error_limit = 1000\nsmtpd_error_sleep_time = 0\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"+
				"allow_percent_hack = %s\nswap_bangpath = %s\n", sink.Port, hack, hack)})
			i.Start()
			probes, taken := probe(t, i)
			i.WaitSettled()
			for _, line := range sink.Got() {
				if strings.HasPrefix(line, "RCPT TO:") && strings.Contains(line, "victim") {
					t.Errorf("passed on: %s", line)
				}
			}
			t.Logf("%s, allow_percent_hack = %s: %d probes of %d forms, %d taken, %d sessions with the next hop",
				s.Name, hack, probes, len(relays), taken, beginning(sink.Got(), "EHLO"))
			if taken > 0 {
				t.Errorf("%d probes were taken", taken)
			}
		}
	})
}

// probe tries all forms with all kinds of senders.
func probe(t *testing.T, i *harness.Instance) (probes, taken int) {
	t.Helper()
	c, _ := connect(t, i, "127.0.3.70")
	i.Sessions++
	say := func(command string) string {
		t.Helper()
		reply, err := c.Say(command)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return reply
	}
	say("EHLO client.example")
	for _, sender := range []string{"spam@nowhere.example", "", "spam@example.com", "spam@mail.example.com", "spam@localhost", "spam@[127.0.0.1]", "spam"} {
		for _, rcpt := range relays {
			say("RSET")
			say("MAIL FROM:<" + sender + ">")
			probes++
			if reply := say("RCPT TO:<" + rcpt + ">"); reply[0] != '2' {
				continue
			}
			taken++
			say("DATA")
			say("Subject: relayed\r\n\r\nx\r\n.")
		}
	}
	say("QUIT")
	return probes, taken
}

func beginning(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// TestBeforeTLS sends commands in the packet of STARTTLS, in plain text, and as
// a server answers before the handshake what will be asked after it. Neither
// counts; a password in plain text is not looked at; strangers have no word in
// who they are.
func TestBeforeTLS(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		i := harness.New(t, s, harness.Config{Main: "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = @DIR@/etc/cert.pem\nsmtpd_tls_auth_only = yes\n" +
			"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nsmtpd_error_sleep_time = 0\nsmtpd_tls_loglevel = 1\nsmtpd_hard_error_limit = 100\n",
			Master: "tlsmgr unix - - n 1000? 1 tlsmgr\n", Files: map[string]string{"cert.pem": harness.Certificate(t, "mail.example.com")}})
		harness.NewAuth(t, i, "alice secret\n")
		i.Start()
		plain := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00secret"))
		injections := []string{"NOOP\r\n", "EHLO evil.example\r\n", "\r\n", "N", "AUTH PLAIN " + plain + "\r\n", "EHLO evil.example\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"}
		ended, without := 0, 0
		for _, injected := range injections {
			c, _ := connect(t, i, "127.0.3.80")
			i.Sessions++
			c.Say("EHLO client.example")
			io.WriteString(c, "STARTTLS\r\n"+injected)
			reply, err := c.Reply()
			secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			if err != nil || reply[0] != '2' || secure.Handshake() != nil {
				ended++
				c.Close()
				continue
			}
			// Who goes on is somebody who has said nothing yet.
			fmt.Fprintf(secure, "RCPT TO:<bob@example.com>\r\n")
			answer := make([]byte, 512)
			n, _ := secure.Read(answer)
			if !strings.HasPrefix(string(answer[:n]), "503 5.5.1 Error: need MAIL command") {
				t.Errorf("after %q under TLS: %q", injected, answer[:n])
			}
			without++
			secure.Close()
		}
		refused := 0
		c, _ := connect(t, i, "127.0.3.81")
		i.Sessions++
		c.Say("EHLO client.example")
		for _, command := range []string{"AUTH PLAIN " + plain, "AUTH LOGIN", "XCLIENT ADDR=127.0.0.1 NAME=localhost", "XCLIENT LOGIN=alice",
			"XFORWARD ADDR=127.0.0.1 NAME=localhost", "XFORWARD SOURCE=LOCAL"} {
			if reply, err := c.Say(command); err != nil || !strings.HasPrefix(reply, "503 5.5.1 Error: authentication not enabled") && !strings.HasPrefix(reply, "550 5.7.0 Error: insufficient authorization") {
				t.Errorf("%s: %q, %v", command, reply, err)
				continue
			}
			refused++
		}
		c.Say("QUIT")
		i.WaitSettled()
		if log := i.Log(); strings.Contains(log, "=<evil") || strings.Contains(log, "sasl_username") || inbox(t, i, "bob") > 0 {
			t.Error("an injected command had an effect")
		}
		t.Logf("%s: %d injections: %d sessions ended, %d went on without it; %d commands of strangers refused", s.Name, len(injections), ended, without, refused)
	})
}

// TestRepliesBeforeTLS is a server, or somebody on the way to it, that answers
// before the handshake what the client asks after it.
func TestRepliesBeforeTLS(t *testing.T) {
	t.Parallel()
	cert := filepath.Join(t.TempDir(), "cert.pem")
	writeFile(t, cert, harness.Certificate(t, "sink.example"))
	sink := harness.NewSink(t, "CERT "+cert+"\nSTARTTLS 220 2.0.0 go | 250-evil.example | 250 AUTH PLAIN | 250 2.1.0 injected | 250 2.1.5 injected\n")
	i := harness.New(t, harness.Postern, harness.Config{Main: fmt.Sprintf("relayhost = [127.0.0.1]:%d\nsmtp_tls_security_level = encrypt\n", sink.Port)})
	i.Start()
	c, _ := connect(t, i, "127.0.0.1")
	for _, command := range []string{envelope[0], envelope[1], "RCPT TO:<u@far.example>", "DATA", "Subject: x\r\n\r\nsecret\r\n."} {
		if reply, err := c.Say(command); err != nil || reply[0] > '3' {
			t.Fatalf("%s: %q %v", command, reply, err)
		}
	}
	i.WaitLog(`status=deferred \(Cannot start TLS: host \S+ sent data before the handshake\)`)
	if got := strings.Join(sink.Got(), "\n"); strings.Contains(got, "MAIL FROM") || strings.Contains(got, "secret") || strings.Contains(got, "(TLS)") {
		t.Errorf("the client went on:\n%s", got)
	}
}

// TestSlowCrowd is a thousand clients, 5,000 in the long form, that send an octet now and then. All of
// them are cut off in time, in a bounded memory, while a good client is served.
func TestSlowCrowd(t *testing.T) {
	t.Parallel()
	clients := 1000
	if *long {
		clients = 5000
	}
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF + "smtpd_client_event_limit_exceptions = 127.0.0.1\nsmtpd_timeout = 2s\nsmtpd_per_request_deadline = yes\n" +
		fmt.Sprintf("default_process_limit = %d\n", clients+100)})
	i.Start()
	sendOne(t, i, "first")
	before := pss(t, i)
	var crowd sync.WaitGroup
	var mu sync.Mutex
	longest := time.Duration(0)
	for k := range clients {
		c, _ := connect(t, i, addrOf(k))
		crowd.Go(func() {
			start := time.Now()
			for _, command := range envelope[:k%5] {
				c.Say(command)
			}
			for time.Since(start) < 30*time.Second {
				if _, err := io.WriteString(c, "x"); err != nil {
					break
				}
				time.Sleep(500 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(start))
		})
	}
	full := pss(t, i) - before
	slowest := time.Duration(0)
	for range 5 {
		start := time.Now()
		if reply := sendOne(t, i, "good"); !strings.HasPrefix(reply, "250") {
			t.Errorf("a good client got %q", reply)
		}
		slowest = max(slowest, time.Since(start))
	}
	crowd.Wait()
	t.Logf("%d slow clients: the last was cut off after %s; %d KiB each; a good client waited for %s at most", clients, longest.Round(time.Millisecond), full/clients, slowest.Round(time.Millisecond))
	if longest > 20*time.Second || full > clients*100 || slowest > 5*time.Second {
		t.Error("that is too much")
	}
}

// logLine is how each line of a log looks; what is not printable is not in it.
var logLine = regexp.MustCompile(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d mail postfix/[a-z]+\[\d+\]: [^\p{C}\p{Zl}\p{Zp}]*$`)

// unprintable is what no log has in it.
var unprintable = regexp.MustCompile(`[\p{C}\p{Zl}\p{Zp}]`)
