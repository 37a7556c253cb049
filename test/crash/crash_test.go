// Package crash kills services, master and everything at once while mail comes
// in, and counts: every message that was acknowledged has been delivered,
// returned, or is still in the queue.
//
//	go test ./test/crash           a short round
//	go test ./test/crash -long     minutes
package crash

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

var long = flag.Bool("long", false, "kill for minutes")

// services are the programs that are killed, one after the other.
var services = []string{"qmgr", "cleanup", "local", "bounce", "error", "trivial-rewrite", "smtpd", "anvil", "postlogd"}

// A load is clients that send mail and remember what was acknowledged.
type load struct {
	addr string
	next atomic.Int64
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	acked map[string]bool
	tried int
}

func startLoad(addr string, clients int) *load {
	l := &load{addr: addr, stop: make(chan struct{}), acked: map[string]bool{}}
	for n := range clients {
		l.done.Add(1)
		go l.client(rand.New(rand.NewSource(int64(n))))
	}
	return l
}

func (l *load) client(r *rand.Rand) {
	defer l.done.Done()
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		if l.session(r) != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// session sends a few messages over one connection. Some recipients turn out
// not to exist and some wait, so that notices and the deferred queue take part.
func (l *load) session(r *rand.Rand) error {
	s, err := harness.Open(l.addr)
	if err != nil {
		return err
	}
	defer s.Close()
	for range 5 {
		token := fmt.Sprintf("token-%d-end", l.next.Add(1))
		rcpt := [...]string{"alice@example.com", "carol@example.com", "gone@example.com", "slow@example.com"}[r.Intn(4)]
		for _, command := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<" + rcpt + ">", "DATA"} {
			if reply, err := s.Say(command); err != nil || reply[0] > '3' {
				return fmt.Errorf("%s: %s %w", command, reply, err)
			}
		}
		body := strings.Repeat("text\r\n", r.Intn(2000))
		reply, err := s.Say("Subject: " + token + "\r\n\r\n" + body + ".")
		l.mu.Lock()
		l.tried++
		if err == nil && strings.HasPrefix(reply, "250") {
			l.acked[token] = true
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

const mainCF = `
transport_maps = inline:{ {gone.example=error:5.1.2 no such place} {slow.example=retry:4.4.4 not now} }
virtual_alias_maps = inline:{ {gone@example.com=u@gone.example} {slow@example.com=bob@slow.example} }
mydestination = example.com, slow.example
forward_path =
smtpd_recipient_restrictions = permit_mynetworks
service_throttle_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
local_recipient_maps =
`

func TestKill(t *testing.T) {
	i := harness.New(t, harness.Postern, harness.Config{Main: mainCF})
	i.Start()
	l := startLoad(i.Addr(), 8)
	rounds := 1
	if *long {
		rounds = 20
	}
	kills := map[string]int{}
	for range rounds {
		for _, name := range services {
			time.Sleep(300 * time.Millisecond)
			kills[name] += kill(i, name)
		}
		time.Sleep(500 * time.Millisecond)
		syscall.Kill(i.MasterPID(), syscall.SIGKILL)
		kills["master"]++
		time.Sleep(300 * time.Millisecond)
		i.KillAll()
		i.Start()
		time.Sleep(time.Second)
		i.KillAll()
		kills["all at once"]++
		i.Start()
		time.Sleep(time.Second)
	}
	l.end()
	t.Logf("killed: %v", kills)
	i.Stop()
	count(t, i, l)
}

// kill kills the processes of a program and returns their number.
func kill(i *harness.Instance, name string) int {
	n := 0
	for _, pid := range i.Processes() {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(comm)) == name && syscall.Kill(pid, syscall.SIGKILL) == nil {
			n++
		}
	}
	return n
}

var tokens = regexp.MustCompile(`token-\d+-end`)

// count lets the system deliver what is left, then looks for every message.
func count(t *testing.T, i *harness.Instance, l *load) {
	i.WriteConfig(harness.Config{Main: strings.Replace(mainCF, "{slow.example=retry:4.4.4 not now}", "", 1)})
	i.Start()
	defer func() {
		if t.Failed() {
			t.Logf("left in incoming %v, active %v, deferred %v", i.Queue("incoming"), i.Queue("active"), i.Queue("deferred"))
		}
	}()
	i.Until("the queue is empty", func() bool {
		i.Run("", "postqueue", "-f")
		// A message moves from incoming to active to deferred, and back to active.
		for range 2 {
			if complete(i)+i.Count("active")+i.Count("deferred") > 0 {
				return false
			}
		}
		return true
	})
	found := map[string]int{}
	for _, path := range []string{"mail/alice/new/*", "mail/bob/new/*", "mail/carol/new/*", "queue/corrupt/*", "queue/hold/*"} {
		files, err := filepath.Glob(i.Host(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if token := tokens.Find(b); token != nil {
				found[string(token)]++
			}
		}
	}
	lost, twice := 0, 0
	for token := range l.acked {
		switch n := found[token]; {
		case n == 0:
			lost++
			t.Errorf("%s was acknowledged and is gone", token)
		case n > 1:
			twice++
		}
	}
	t.Logf("%d messages tried, %d acknowledged: %d lost, %d twice; %d more delivered without an acknowledgement",
		l.tried, len(l.acked), lost, twice, len(found)-len(l.acked)+lost)
	if len(l.acked) < 100 {
		t.Errorf("only %d messages were acknowledged: the test shows nothing", len(l.acked))
	}
	if n := i.Count("corrupt"); n > 0 {
		t.Errorf("%d files in the corrupt queue", n)
	}
	for _, q := range []string{"bounce", "defer", "trace"} {
		if n := i.Count(q); n > 0 {
			t.Errorf("%d logs are left in %s", n, q)
		}
	}
}

// complete is the number of complete messages in incoming: what a killed
// cleanup has left there is none.
func complete(i *harness.Instance) int {
	n := 0
	for _, id := range i.Queue("incoming") {
		info, err := os.Stat(i.Host("queue/incoming/" + id))
		if err == nil && info.Mode().Perm()&0o700 == 0o700 {
			n++
		}
	}
	return n
}
