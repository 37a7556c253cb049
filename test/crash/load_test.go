package crash

import (
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/test/harness"
)

// A load is clients that submit mail and remember what became of it.
type load struct {
	i    *harness.Instance
	next atomic.Int64
	stop chan struct{}
	once sync.Once // closes stop
	done sync.WaitGroup

	mu      sync.Mutex
	sent    map[string]attempt
	replies map[string]int // to the end of messages, without queue ids
	killed  int            // submissions by sendmail that were killed
}

// An attempt is a message that was sent, by the token in its subject.
type attempt struct {
	acked    bool // 250, or exit 0 of sendmail
	refused  bool // a reply said no
	sendmail bool
}

// startLoad starts SMTP clients and users of sendmail. Some of the
// sendmail processes are killed before they are done.
func startLoad(i *harness.Instance, clients, users int) *load {
	l := &load{i: i, stop: make(chan struct{}), sent: map[string]attempt{}, replies: map[string]int{}}
	// A test that fails must not leave a load to the next one in its slot.
	i.T.Cleanup(l.end)
	for n := range clients {
		l.done.Add(1)
		go l.repeat(rand.New(rand.NewSource(int64(n))), l.session)
	}
	for n := range users {
		l.done.Add(1)
		go l.repeat(rand.New(rand.NewSource(int64(1000+n))), l.submit)
	}
	return l
}

func (l *load) repeat(r *rand.Rand, send func(*rand.Rand) error) {
	defer l.done.Done()
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		if send(r) != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// recipients get the mail: a mailbox of local, one of virtual, one that turns
// out not to exist, and one that waits, so that notices and the deferred queue
// take part.
var recipients = []string{"alice@example.com", "carol@example.com", "v@virtual.example", "gone@example.com", "slow@example.com"}

// message makes a message with a token of its own.
func (l *load) message(r *rand.Rand) (token, rcpt, text string) {
	token = fmt.Sprintf("token-%d-end", l.next.Add(1))
	return token, recipients[r.Intn(len(recipients))], "Subject: " + token + "\n\n" + strings.Repeat("text\n", r.Intn(2000))
}

func (l *load) note(token string, a attempt, reply string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[token] = a
	if reply, _, _ = strings.Cut(reply, " queued as "); reply != "" {
		l.replies[reply]++
	}
}

// session sends a few messages over one connection.
func (l *load) session(r *rand.Rand) error {
	s, err := harness.Open(l.i.Addr())
	if err != nil {
		return err
	}
	defer s.Close()
	for range 5 {
		token, rcpt, text := l.message(r)
		for _, command := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<" + rcpt + ">", "DATA"} {
			if reply, err := s.Say(command); err != nil || reply[0] > '3' {
				if err == nil {
					l.note(token, attempt{}, reply)
				}
				return fmt.Errorf("%s: %s %w", command, reply, err)
			}
		}
		reply, err := s.Say(strings.ReplaceAll(text, "\n", "\r\n") + ".")
		took := strings.HasPrefix(reply, "250")
		l.note(token, attempt{acked: err == nil && took, refused: err == nil && !took}, reply)
		if err != nil {
			return err
		}
	}
	return nil
}

// submit sends one message with sendmail and may kill it, and postdrop with it.
func (l *load) submit(r *rand.Rand) error {
	token, rcpt, text := l.message(r)
	cmd := l.i.As("bob", "sendmail", "-f", "bob@example.com", rcpt)
	cmd.Stdin = strings.NewReader(text)
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return err
	}
	if r.Intn(4) == 0 {
		time.Sleep(time.Duration(r.Intn(30)) * time.Millisecond)
		if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil {
			l.mu.Lock()
			l.killed++
			l.mu.Unlock()
		}
	}
	err := cmd.Wait()
	l.note(token, attempt{acked: err == nil, sendmail: true}, "")
	return nil
}

// end ends the load. A second call does nothing.
func (l *load) end() {
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
}

// wait lets the load go on until it has got n replies that begin with a text.
func (l *load) wait(what string, n int) {
	l.i.T.Helper()
	start := l.replied(what)
	l.i.Until(fmt.Sprintf("%d replies %q", n, what), func() bool { return l.replied(what) >= start+n })
}

// replied counts the replies that begin with a text.
func (l *load) replied(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for reply, count := range l.replies {
		if strings.HasPrefix(reply, what) {
			n += count
		}
	}
	return n
}
