package crash

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

// hostile is a system with small limits, which still serves its good clients.
const hostile = `smtpd_error_sleep_time = 0
smtpd_client_event_limit_exceptions = 127.0.0.1
smtpd_client_connection_count_limit = 3
`

// impatient is what a system needs to be rid of slow clients while a test waits.
const impatient = `smtpd_timeout = 4s
smtpd_per_request_deadline = yes
`

// soon is less than a session may last by default, and more than a busy machine
// takes for what is due at once or after a few seconds.
const soon = 40 * time.Second

// attack runs an attack while a good client sends mail. The good client notices
// nothing, and the memory of the system stays bounded.
func attack(t *testing.T, s harness.System, main string, run func(t *testing.T, i *harness.Instance)) {
	i := harness.New(t, s, harness.Config{Main: mainCF + hostile + main})
	i.Start()
	sent := 0
	good := func() {
		start := time.Now()
		if reply := sendOne(t, i, "good"); !strings.HasPrefix(reply, "250") {
			t.Errorf("a good client got %q", reply)
		}
		if took := time.Since(start); took > soon {
			t.Errorf("a good client waited for %s", took)
		}
		sent++
	}
	good()
	before := pss(t, i)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				good()
				time.Sleep(20 * time.Millisecond)
			}
		}
	}()
	run(t, i)
	grown := pss(t, i) - before
	close(stop)
	<-stopped
	good()
	if s == harness.Postern && grown > 48<<10 {
		t.Errorf("the attack costs %d KiB of memory", grown)
	}
	t.Logf("%d good messages, memory grown by %d KiB", sent, grown)
	i.Until("the good messages arrive", func() bool { return messages(t, i) == sent })
}

// pss is the memory of all processes in KiB, what they share counted once.
func pss(t *testing.T, i *harness.Instance) int {
	t.Helper()
	sum := 0
	for _, pid := range i.Processes() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // gone
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.Atoi(f[1])
				sum += n
			}
		}
	}
	return sum
}

// connect opens a connection from an address, which is not that of good
// clients, and reads the greeting.
func connect(t *testing.T, i *harness.Instance, from string) (*harness.Session, string) {
	t.Helper()
	s, greeting, err := harness.Connect(i.Addr(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, greeting
}

// ended reads the last reply of a session that the server ends.
func ended(s *harness.Session) string {
	last := ""
	for {
		reply, err := s.Reply()
		switch {
		case err == nil:
			last = reply
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			return last
		default:
			return last + " and then " + err.Error()
		}
	}
}

var envelope = []string{"EHLO client.example", "MAIL FROM:<bob@example.com>", "RCPT TO:<alice@example.com>", "DATA"}

// A client that stalls, in whatever state, is told so and disconnected after
// smtpd_timeout.
func TestStalledClient(t *testing.T) {
	t.Parallel()
	const timeout = "421 4.4.2 mail.example.com Error: timeout exceeded"
	systems(t, func(t *testing.T, s harness.System) {
		attack(t, s, impatient, func(t *testing.T, i *harness.Instance) {
			var clients sync.WaitGroup
			stall := func(from string, commands []string, rest string) {
				c, _ := connect(t, i, from)
				clients.Add(1)
				go func() {
					defer clients.Done()
					for _, command := range commands {
						if reply, err := c.Say(command); err != nil || reply[0] > '3' {
							t.Errorf("%s: %q %v", command, reply, err)
						}
					}
					start := time.Now()
					io.WriteString(c, rest)
					if got := ended(c); got != timeout {
						t.Errorf("after %q and %q: %q, want %q", commands, rest, got, timeout)
					}
					if took := time.Since(start); took < time.Second || took > soon {
						t.Errorf("after %q and %q: it took %s", commands, rest, took)
					}
				}()
			}
			for n := range len(envelope) + 1 {
				stall(fmt.Sprintf("127.0.3.%d", n+1), envelope[:n], "")
			}
			stall("127.0.3.10", nil, "EHL")
			stall("127.0.3.11", envelope, "Subject: half a message\r\n\r\ntext")
			stall("127.0.3.12", envelope[:3], "BDAT 1000\r\nhalf a chunk")
			clients.Wait()
		})
	})
}

// A client that sends a command octet by octet does not keep its session by
// that. Postfix counts from the last octet here, unless the deadline is per request.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	attack(t, harness.Postern, impatient, func(t *testing.T, i *harness.Instance) {
		for _, commands := range [][]string{envelope[:1], envelope} {
			c, _ := connect(t, i, "127.0.3.20")
			for _, command := range commands {
				c.Say(command)
			}
			start := time.Now()
			for {
				if _, err := io.WriteString(c, "x"); err != nil || time.Since(start) > 2*soon {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(start); took > soon {
				t.Errorf("after %q an octet every 0.1s keeps the session for %s", commands, took)
			}
		}
	})
}

// A client that does not wait for its turn is refused.
func TestEarlyTalker(t *testing.T) {
	t.Parallel()
	const refused = "554 5.5.0 Error: SMTP protocol synchronization"
	systems(t, func(t *testing.T, s harness.System) {
		attack(t, s, "", func(t *testing.T, i *harness.Instance) {
			for _, early := range []string{
				"EHLO client.example\r\nMAIL FROM:<bob@example.com>\r\n",
				"HELO client.example\r\nMAIL FROM:<bob@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nSubject: early\r\n\r\ntext\r\n.\r\n",
			} {
				c, _ := connect(t, i, "127.0.3.30")
				io.WriteString(c, early)
				if got := ended(c); got != refused {
					t.Errorf("%q gets %q, want %q", early, got, refused)
				}
			}
			c, _ := connect(t, i, "127.0.3.31")
			c.Say(envelope[0])
			io.WriteString(c, strings.Join(envelope[1:], "\r\n")+"\r\nSubject: early\r\n")
			if got := ended(c); got != refused {
				t.Errorf("text before 354 gets %q, want %q", got, refused)
			}
		})
	})
}

// A client that opens one connection after the other is held to its limit; what
// it is refused and what it does with its few sessions harms nobody else.
func TestFlood(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		attack(t, s, "", func(t *testing.T, i *harness.Instance) {
			const from, limit = "127.0.3.40", 3
			const refused = "421 4.7.0 mail.example.com Error: too many connections from " + from
			for n := range 100 {
				_, greeting := connect(t, i, from)
				switch {
				case n < limit && !strings.HasPrefix(greeting, "220 "):
					t.Errorf("connection %d gets %q", n, greeting)
				case n >= limit && greeting != refused:
					t.Fatalf("connection %d gets %q, want %q", n, greeting, refused)
				}
			}
			i.WaitLog(`warning: Connection concurrency limit exceeded: \d+ from \S*\[` + from + `\] for service `)
			if _, greeting := connect(t, i, "127.0.3.41"); !strings.HasPrefix(greeting, "220 ") {
				t.Errorf("its neighbour gets %q", greeting)
			}
		})
	})
}

// Junk commands end a session when there are too many, however they are sent.
func TestJunkCommands(t *testing.T) {
	t.Parallel()
	const tooMany = "421 4.7.0 mail.example.com Error: too many errors"
	systems(t, func(t *testing.T, s harness.System) {
		attack(t, s, "", func(t *testing.T, i *harness.Instance) {
			for _, junk := range []string{"JUNK", "NOOP", "RSET", "VRFY alice"} {
				c, _ := connect(t, i, "127.0.3.50")
				got, n := "", 0
				for n < 50000 && !strings.HasPrefix(got, "421") {
					reply, err := c.Say(junk)
					if err != nil {
						t.Fatal(err)
					}
					got = reply
					n++
				}
				if got != tooMany || n > 200 {
					t.Errorf("%s: %d commands, then %q, want %q", junk, n, got, tooMany)
				}
			}
			c, _ := connect(t, i, "127.0.3.51")
			go io.WriteString(c, strings.Repeat("JUNK\r\n", 50000))
			if got := ended(c); got != tooMany && got != "500 5.5.2 Error: command not recognized" {
				// What was not read when the server hung up may have reset the connection.
				t.Errorf("50,000 commands at once: %q, want %q", got, tooMany)
			}
		})
	})
}

// Input without end, or of a size that nobody needs, gets Postfix's replies.
func TestEndlessInput(t *testing.T) {
	t.Parallel()
	systems(t, func(t *testing.T, s harness.System) {
		attack(t, s, "", func(t *testing.T, i *harness.Instance) {
			megabyte := strings.Repeat("x", 1<<20)
			many := func(c net.Conn, text string, times int) {
				for range times {
					if _, err := io.WriteString(c, text); err != nil {
						t.Errorf("the connection ended: %v", err)
						return
					}
				}
			}
			say := func(c *harness.Session, command, want string) {
				t.Helper()
				if reply, err := c.Say(command); err != nil || reply != want {
					t.Errorf("%.60q: %q %v, want %q", command, reply, err, want)
				}
			}
			const tooBig = "552 5.3.4 Error: message file too big"
			c, _ := connect(t, i, "127.0.3.60")
			many(c, megabyte, 32) // a command without end
			say(c, "", "500 5.5.2 Error: command not recognized")
			say(c, "NOOP", "250 2.0.0 Ok")
			for _, text := range []string{"X-Endless: " + megabyte, "X-Many: " + strings.Repeat("x\r\nX-Many: ", 100000) + "\r\n", "\r\n" + megabyte} {
				for _, command := range envelope {
					c.Say(command)
				}
				many(c, text, 16) // more than message_size_limit
				say(c, "\r\n.", tooBig)
			}
			c.Say("MAIL FROM:<bob@example.com>")
			taken := 0
			for n := range 2000 {
				if reply, err := c.Say(fmt.Sprintf("RCPT TO:<u%d@example.com>", n)); err == nil && reply[0] == '2' {
					taken++
				} else if err != nil || reply != "452 4.5.3 Error: too many recipients" {
					t.Fatalf("recipient %d: %q %v", n, reply, err)
				}
			}
			if taken != 1000 { // smtpd_recipient_limit
				t.Errorf("%d of 2,000 recipients were taken, want 1,000", taken)
			}
			c.Close()
			c, _ = connect(t, i, "127.0.3.61")
			for _, command := range []string{envelope[0], envelope[1], "RCPT TO:<carol@example.com>", "DATA"} {
				c.Say(command)
			}
			if reply, err := c.Say("Subject: odd\x00 \r bytes\n\r\nNUL \x00 and bare\rCR\nLF\r\n."); err != nil || reply[0] != '2' {
				t.Errorf("NUL and bare CR, LF: %s %v", reply, err)
			}
		})
	})
}
