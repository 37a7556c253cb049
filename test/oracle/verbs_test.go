package oracle

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

var (
	every = flag.Bool("every", false, "play every pair of commands in every context, not a sample")
	seed  = flag.Uint64("seed", 321, "another sample of the pairs and triples of commands")
)

// A step is a command with what belongs to it, or several in one write.
type step struct {
	send    string
	replies int    // 0 means 1
	newer   string // Postfix has changed the reply since the packaged release: ours
}

// steps are the commands, good and bad.
func verbSteps() []step {
	long := strings.Repeat("x", 3000)
	var list []step
	for _, line := range verbLines {
		list = append(list, step{send: line + "\r\n"})
	}
	return append(list,
		step{send: "HELP\r\n", newer: "214 2.0.0"},
		step{send: "HELP MAIL\r\n", newer: "214 2.0.0"},
		// Postfix: a size that was refused is still there for the next MAIL.
		step{send: "MAIL FROM:<a@client.example> SIZE=99999999\r\nRSET\r\n", replies: 2},
		step{send: "BDAT 4\r\nab\r\n"},
		step{send: "BDAT 3\r\nQUI"},
		step{send: "BDAT 4 LAST\r\nab\r\n"},
		step{send: "BDAT 0 LAST\r\n"},
		step{send: "BDAT 0\r\n"},
		step{send: "bdat 4 last\r\n\n.\n\n"},
		step{send: "NOOP " + long + "\r\n"},
		step{send: "MAIL FROM:<" + long + "@client.example>\r\n"},
		step{send: "MAIL FROM:<a@client.example> " + long + "\r\n"},
		step{send: "RCPT TO:<" + strings.Repeat("x", 400) + "@example.com>\r\n"},
		step{send: "MAIL FROM:<a@client.example>\r\nRCPT TO:<alice@example.com>\r\n", replies: 2},
		step{send: "RSET\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<u@refused.example>\r\nDATA\r\n", replies: 4},
		step{send: "\x00NOOP\r\n"},
		step{send: "NOOP\x00x\r\n"},
		step{send: "NOOP\n"},
		step{send: "  NOOP  \r\n"},
		step{send: "\tRSET\t\r\n"},
		step{send: "RSET\r\r\n"},
	)
}

// verbLines are commands of a line.
var verbLines = []string{
	"HELO client.example", "HELO", "HELO a b c", "helo [127.0.0.1]", "HELO _x_.example",
	"EHLO client.example", "EHLO", "EHLO [IPv6:::1]", "EHLO ..",
	"MAIL FROM:<a@client.example>", "MAIL FROM:<>", "MAIL FROM: <a@client.example>", "MAIL FROM:a@client.example",
	"MAIL", "MAIL FROM", "MAIL FROM:", "MAIL TO:<a@client.example>", "MAIL FROM:<a@client.example", "MAIL FROM:a@client.example>",
	`MAIL FROM:<"a b"@client.example>`, `MAIL FROM:<"a\"b"@client.example>`, `MAIL FROM:<"">`, `MAIL FROM:<""@client.example>`,
	"MAIL FROM:<@relay.example:a@client.example>", "MAIL FROM:<@r.example,@s.example:a@client.example>", "MAIL FROM:<a@[127.0.0.1]>",
	"MAIL FROM:<a@[IPv6:::1]>", "MAIL FROM:<a@[bad]>", "MAIL FROM:<a@127.0.0.1>", "MAIL FROM:<a>", "MAIL FROM:<a@b@c.example>", "MAIL FROM:<a b@client.example>",
	"MAIL FROM:<a@client..example>", "MAIL FROM:<.a@client.example>", "MAIL FROM:<a.@client.example>", "MAIL FROM:<@>", "MAIL FROM:<<a@client.example>>",
	"MAIL FROM:<a@client.example>>", "MAIL FROM:Name <a@client.example>", "MAIL FROM:<a@client.example> SIZE=100",
	"MAIL FROM:<a@client.example> SIZE=-1", "MAIL FROM:<a@client.example> SIZE=", "MAIL FROM:<a@client.example> SIZE", "MAIL FROM:<a@client.example> SIZE=99999999999999999999",
	"MAIL FROM:<a@client.example> BODY=8BITMIME", "MAIL FROM:<a@client.example> BODY=7BIT", "MAIL FROM:<a@client.example> BODY=BINARYMIME", "MAIL FROM:<a@client.example> BODY",
	"MAIL FROM:<a@client.example> RET=HDRS ENVID=x", "MAIL FROM:<a@client.example> RET=NONE", "MAIL FROM:<a@client.example> RET=FULL RET=FULL",
	"MAIL FROM:<a@client.example> ENVID=a+20b", "MAIL FROM:<a@client.example> ENVID=+", "MAIL FROM:<a@client.example> ENVID=", "MAIL FROM:<a@client.example> AUTH=<>",
	"MAIL FROM:<a@client.example> AUTH=b@c+", "MAIL FROM:<a@client.example> XVERP", "MAIL FROM:<a@client.example> XVERP=+=", "MAIL FROM:<a@client.example> XVERP=ab",
	"MAIL FROM:<> XVERP", "MAIL FROM:<a@client.example> SMTPUTF8", "MAIL FROM:<a@client.example> SMTPUTF8=1", "MAIL FROM:<\xc3\xa4@client.example> SMTPUTF8",
	"MAIL FROM:<\xc3\xa4@client.example>", "MAIL FROM:<a@\xc3\xa4.example> SMTPUTF8", "MAIL FROM:<a\xff@client.example>", "MAIL FROM:<a@client.example> FOO=bar",
	"MAIL FROM:<a@client.example>FOO", "mail from:<a@client.example> size=5 body=8bitmime",
	"RCPT TO:<alice@example.com>", "RCPT TO:<u@elsewhere.example>", "RCPT TO:<u@refused.example>", "RCPT TO:<nosuch@example.com>", "RCPT", "RCPT TO:", "RCPT TO:<>",
	"RCPT TO:<postmaster>", "RCPT TO:<Postmaster@example.com>", "RCPT TO:<alice>", "RCPT TO:alice@example.com", "RCPT TO: <alice@example.com>", "RCPT FROM:<alice@example.com>",
	`RCPT TO:<"alice"@example.com>`, `RCPT TO:<"a@refused.example"@example.com>`, `RCPT TO:<"x y"@example.com>`, "RCPT TO:<@example.com:alice@example.com>",
	"RCPT TO:<@a.example,@b.example:u@refused.example>", "RCPT TO:<alice@[127.0.0.1]>", "RCPT TO:<alice@[192.0.2.1]>", "RCPT TO:<alice@[nothing]>", "RCPT TO:<alice@127.0.0.1>",
	"RCPT TO:<u%refused.example@example.com>", "RCPT TO:<refused.example!u>", "RCPT TO:<refused.example!u@example.com>", "RCPT TO:<u@refused.example@example.com>",
	"RCPT TO:<alice@example.com.>", "RCPT TO:<alice@EXAMPLE.com>", "RCPT TO:<alice+ext@example.com>", "RCPT TO:<\xc3\xa4@example.com>", "RCPT TO:<-x@example.com>", "RCPT TO:<|x@example.com>",
	"RCPT TO:<alice@example.com> NOTIFY=NEVER", "RCPT TO:<alice@example.com> NOTIFY=SUCCESS,FAILURE,DELAY", "RCPT TO:<alice@example.com> NOTIFY=NEVER,DELAY",
	"RCPT TO:<alice@example.com> NOTIFY=", "RCPT TO:<alice@example.com> NOTIFY=x", "RCPT TO:<alice@example.com> ORCPT=rfc822;alice+40example.com",
	"RCPT TO:<alice@example.com> ORCPT=x", "RCPT TO:<alice@example.com> ORCPT=rfc822;a+", "RCPT TO:<alice@example.com> ORCPT=utf-8;\\x{e4}@example.com", "RCPT TO:<alice@example.com> SIZE=1",
	"RCPT TO:<alice@example.com> FOO",
	"DATA", "DATA x", "data", "RSET", "RSET x", "NOOP", "NOOP some words", "QUIT", "QUIT x", "quit",
	"VRFY", "VRFY alice", "VRFY <alice@example.com>", "VRFY nosuch@example.com", "VRFY u@refused.example", "VRFY a b", "VRFY \xc3\xa4@example.com SMTPUTF8", "VRFY <>", "VRFY alice@example.com FOO",
	"ETRN", "ETRN example.com", "ETRN elsewhere.example", "ETRN #relay.example", "ETRN @relay.example", "ETRN a b", "ETRN [127.0.0.1]", "ETRN -bad-", "ETRN relay.example",
	"AUTH", "AUTH PLAIN", "AUTH PLAIN *", "AUTH PLAIN =", "AUTH PLAIN AGFsaWNlAHNlY3JldA==", "AUTH PLAIN AGFsaWNlAHdyb25n", "AUTH PLAIN !!!!", "AUTH LOGIN", "AUTH LOGIN YWxpY2U=",
	"AUTH FOO", "AUTH PLAIN a b", "auth plain AGFsaWNlAHdyb25n",
	"STARTTLS", "STARTTLS x", "starttls",
	"XCLIENT", "XCLIENT NAME=spike.example ADDR=192.0.2.9", "XCLIENT NAME=[UNAVAILABLE]", "XCLIENT FOO=bar", "XCLIENT ADDR=bad", "XCLIENT ADDR", "XCLIENT HELO=x PROTO=ESMTP", "XCLIENT PROTO=FOO",
	"XCLIENT LOGIN=bob", "XCLIENT PORT=x", "XCLIENT DESTADDR=192.0.2.1 DESTPORT=25", "XCLIENT ADDR=IPV6:2001:db8::1", "XCLIENT NAME=+",
	"XFORWARD", "XFORWARD NAME=spike.example ADDR=192.0.2.9 PROTO=SMTP HELO=x IDENT=abc SOURCE=REMOTE", "XFORWARD FOO=bar", "XFORWARD ADDR=bad", "XFORWARD SOURCE=x", "XFORWARD NAME", "XFORWARD PORT=x",
	"XFORWARD ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE]",
	"MAIL FROM:>", "MAIL FROM:(c)", "MAIL FROM:<<a@client.example>", "MAIL FROM:a:b", "MAIL FROM:<a@client.example>,x", "MAIL FROM:<a@client.example> AUTH=a AUTH=b",
	"RCPT TO:alice@example.com>", "RCPT TO:alice@example.com,", "RCPT TO:<alice@example.com>)", "RCPT TO:<alice @example.com>", `RCPT TO:<alice\@example.com>`, "RCPT TO:<@example.com>",
	"RCPT TO:<alice@>", "RCPT TO:<alice@1>", "RCPT TO:<alice@[]>", "RCPT TO:<double-bounce>", "RCPT TO:<a,b@example.com>", "RCPT TO:<u@[IPv6:::1]>",
	"XCLIENT DESTADDR=foo", "XCLIENT PORT=[TEMPUNAVAIL]", "XCLIENT LOGIN=[UNAVAILABLE]", "XCLIENT NAME=[TEMPUNAVAIL] REVERSE_NAME=[TEMPUNAVAIL]", "XFORWARD ADDR=[TEMPUNAVAIL]", "XFORWARD NAME=+41 HELO=+",
	"FOO", "FOO bar", "EXPN list", "TURN", "SEND FROM:<a@client.example>", "", " ", ".", "MAILFROM:<a@client.example>", "MAIL\tFROM:<a@client.example>", "RCPT\tTO:<alice@example.com>",
}

// A prelude is what comes before the steps under test.
type prelude struct {
	name string
	send []string
}

var preludes = []prelude{
	{"new", nil},
	{"HELO", []string{"HELO client.example\r\n"}},
	{"EHLO", []string{"EHLO client.example\r\n"}},
	{"MAIL", []string{"EHLO client.example\r\n", "MAIL FROM:<a@client.example>\r\n"}},
	{"RCPT", []string{"EHLO client.example\r\n", "MAIL FROM:<a@client.example>\r\n", "RCPT TO:<alice@example.com>\r\n"}},
	{"refused", []string{"EHLO client.example\r\n", "MAIL FROM:<a@client.example>\r\n", "RCPT TO:<u@refused.example>\r\n"}},
	{"BDAT", []string{"EHLO client.example\r\n", "MAIL FROM:<a@client.example>\r\n", "RCPT TO:<alice@example.com>\r\n", "BDAT 4\r\nab\r\n"}},
	{"failed BDAT", []string{"EHLO client.example\r\n", "BDAT 4\r\nab\r\n"}},
}

const verbMain = `smtpd_soft_error_limit = 1000000
smtpd_hard_error_limit = 1000000
smtpd_junk_command_limit = 1000000
smtpd_error_sleep_time = 0
smtpd_recipient_restrictions = check_recipient_access inline:{refused.example=REJECT}, permit_mynetworks, reject
smtpd_relay_restrictions = permit
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
smtpd_authorized_verp_clients = 127.0.0.0/8
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
fast_flush_domains = relay.example
local_recipient_maps = inline:{alice=x}
local_transport = discard
default_transport = discard
`

// TestVerbs sends commands, good, bad and out of their turn, in sequences to
// both systems, and compares the replies.
func TestVerbs(t *testing.T) {
	harness.Root(t)
	plans := verbPlans()
	got := map[string][][]string{}
	var mu sync.Mutex
	var playing sync.WaitGroup
	for _, s := range []harness.System{harness.Postfix, harness.Postern} {
		i := harness.New(t, s, harness.Config{Main: verbMain})
		harness.NewAuth(t, i, "alice secret\n")
		i.Start()
		playing.Go(func() {
			out := playPlans(i, plans)
			mu.Lock()
			got[s.Name] = out
			mu.Unlock()
		})
	}
	playing.Wait()
	commands := 0
	differ := map[string]int{}
	for n, p := range plans {
		commands += len(p)
		if d := firstDifference(p, got["postfix"][n], got["postern"][n]); d != "" {
			differ[d]++
		}
	}
	for d, n := range differ {
		t.Errorf("%d times: %s", n, d)
	}
	t.Logf("%d sequences, %d commands", len(plans), commands)
}

// firstDifference shows where the replies to a sequence begin to differ, or
// returns "".
func firstDifference(plan []step, want, got []string) string {
	for k, p := range plan {
		if got[k] == want[k] || p.newer != "" && strings.HasPrefix(got[k], p.newer) {
			continue
		}
		before := ""
		if k > 0 {
			before = plan[k-1].send
		}
		return fmt.Sprintf("after %.60q\n\tC: %.80q\n%s", before, p.send, harness.Diff(want[k], got[k]))
	}
	return ""
}

// sampled is how many of 1000 pairs are played.
const sampled = 4

// verbPlans are the sequences, each for a connection of its own.
func verbPlans() [][]step {
	random := rand.New(rand.NewPCG(5, *seed))
	all := verbSteps()
	var plans [][]step
	for _, p := range preludes {
		var before []step
		for _, s := range p.send {
			before = append(before, step{send: s})
		}
		for _, first := range all {
			var plan []step
			for _, second := range all {
				if !*every && random.IntN(1000) >= sampled {
					continue
				}
				plan = append(plan, step{send: "EHLO again.example\r\n"}, step{send: "RSET\r\n"})
				plan = append(append(plan, before...), first, second)
			}
			if plan != nil {
				plans = append(plans, plan)
			}
		}
	}
	for range len(all) {
		var plan []step
		for range 10 {
			plan = append(plan, step{send: "RSET\r\n"})
			p := preludes[random.IntN(len(preludes))]
			for _, s := range p.send {
				plan = append(plan, step{send: s})
			}
			for range 3 {
				plan = append(plan, all[random.IntN(len(all))])
			}
		}
		plans = append(plans, plan)
	}
	return plans
}

// playPlans plays each sequence and returns what was answered, for each step.
func playPlans(i *harness.Instance, plans [][]step) [][]string {
	out := make([][]string, len(plans))
	next := make(chan int)
	var players sync.WaitGroup
	for range 4 {
		players.Go(func() {
			for n := range next {
				out[n] = playSteps(i.Addr(), plans[n])
			}
		})
	}
	for n := range plans {
		next <- n
	}
	close(next)
	players.Wait()
	return out
}

// playSteps plays a sequence, with a new connection where the server has ended
// one.
func playSteps(addr string, plan []step) []string {
	var out []string
	var c *speaker
	defer func() { c.close() }()
	for _, s := range plan {
		if c == nil || c.ended {
			c.close()
			var err error
			if c, err = newSpeaker(addr); err != nil {
				out = append(out, err.Error())
				continue
			}
		}
		out = append(out, c.play(s))
	}
	return out
}

// A speaker is a client that notes what is answered.
type speaker struct {
	conn  net.Conn
	in    *bufio.Reader
	out   strings.Builder
	ended bool
}

func newSpeaker(addr string) (*speaker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &speaker{conn: conn, in: bufio.NewReader(conn)}
	s.conn.SetDeadline(time.Now().Add(harness.Wait))
	s.reply()
	return s, nil
}

func (s *speaker) close() {
	if s != nil {
		s.conn.Close()
	}
}

// play sends a step, and what the server then asks for.
func (s *speaker) play(p step) string {
	s.out.Reset()
	s.send(p.send)
	code := ""
	for range max(p.replies, 1) {
		code = s.reply()
	}
	switch code {
	case "354":
		s.send("Subject: x\r\n\r\nx\r\n.\r\n")
		s.reply()
	case "334":
		s.send("*\r\n")
		s.reply()
	}
	return s.out.String()
}

func (s *speaker) send(text string) {
	s.conn.SetDeadline(time.Now().Add(harness.Wait))
	s.conn.Write([]byte(text)) // where it fails the reply is missing
}

// reply notes a reply and returns its code.
func (s *speaker) reply() string {
	for !s.ended {
		line, err := s.in.ReadString('\n')
		if err != nil {
			s.ended = true
			s.out.WriteString("(end)\n")
			break
		}
		line = strings.TrimRight(line, "\r\n")
		if at := strings.Index(line, "queued as "); at >= 0 {
			line = line[:at] + "queued as QID"
		}
		s.out.WriteString(line + "\n")
		if len(line) < 4 || line[3] != '-' {
			return line[:min(3, len(line))]
		}
	}
	return ""
}
