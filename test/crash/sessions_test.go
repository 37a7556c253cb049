package crash

import (
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/test/harness"
)

// crowd is an instance that takes n sessions, of one client as well. It listens
// for other hosts, too: without them there is no stress.
func crowd(t *testing.T, n int) *harness.Instance {
	i := harness.New(t, harness.Postern, harness.Config{
		Main: fmt.Sprintf("default_process_limit = %d\nsmtpd_client_connection_count_limit = 0\ndefault_transport = discard\nsmtpd_timeout = ${stress?{3}:{300}}s\n", n),
	})
	master, err := os.ReadFile(i.Host("etc/master.cf"))
	if err != nil {
		t.Fatal(err)
	}
	i.WriteFile("etc/master.cf", strings.Replace(string(master), "127.0.0.1:", "0.0.0.0:", 1))
	i.Start()
	return i
}

// addrOf spreads clients over addresses of this host, so that none runs out of
// ports.
func addrOf(n int) string { return fmt.Sprintf("127.0.%d.%d", 10+n/200, 1+n%200) }

// TestIdleSessions holds many idle sessions in one process, and a client among
// them is served at once. The long form has 10,000 of them below 1 GiB.
func TestIdleSessions(t *testing.T) {
	n := 500
	if *long {
		n = 10_000
	}
	i := crowd(t, n+100)
	before := pss(t, i)
	for k := range n {
		connect(t, i, addrOf(k))
	}
	start := time.Now()
	if reply := sendOne(t, i, "among idle ones"); !strings.HasPrefix(reply, "250") {
		t.Errorf("a client among %d idle ones got %q", n, reply)
	}
	took := time.Since(start)
	grown := pss(t, i) - before
	t.Logf("%d idle sessions: %d MiB, %d KiB each; a message among them took %s", n, grown>>10, grown/n, took)
	if grown > n*100 || took > soon {
		t.Errorf("%d idle sessions cost %d KiB, and a message %s", n, grown, took)
	}
	if pids := smtpdProcesses(i); pids != 1 {
		t.Errorf("%d processes serve them", pids)
	}
}

func smtpdProcesses(i *harness.Instance) int {
	n := 0
	for _, pid := range i.Processes() {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(name)) == "smtpd" {
			n++
		}
	}
	return n
}

// TestActiveSessions has many clients send at once. Nobody fails, and nobody
// is left behind: when half of all messages are taken, each client has got
// some of its own through.
func TestActiveSessions(t *testing.T) {
	clients, each := 200, 8
	if *long {
		clients, each = 2000, 8
	}
	i := crowd(t, clients+50)
	var total atomic.Int64
	done := make([]atomic.Int64, clients)
	atHalf := make(chan []int64, 1)
	errs := make(chan error, clients)
	ready, begin := sync.WaitGroup{}, make(chan struct{})
	for k := range clients {
		ready.Add(1)
		go func() {
			s, _, err := harness.Connect(i.Addr(), addrOf(k))
			ready.Done()
			if err != nil {
				errs <- err
				return
			}
			defer s.Close()
			<-begin
			s.SetDeadline(time.Now().Add(5 * time.Minute))
			errs <- sendMany(s, each, func() {
				done[k].Add(1)
				if total.Add(1) == int64(clients*each/2) {
					var now []int64
					for n := range done {
						now = append(now, done[n].Load())
					}
					atHalf <- now
				}
			})
		}()
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	for range clients {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	now := <-atHalf
	sort.Slice(now, func(a, b int) bool { return now[a] < now[b] })
	behind := 0
	for _, n := range now {
		if n == 0 {
			behind++
		}
	}
	t.Logf("%d clients, %.0f messages/s; at half time the slowest had %d, the median %d, the fastest %d of %d through, %d had none",
		clients, float64(clients*each)/took.Seconds(), now[0], now[len(now)/2], now[len(now)-1], each, behind)
	if behind > clients/20 {
		t.Errorf("%d of %d clients had nothing through at half time", behind, clients)
	}
}

// sendMany sends messages over one session.
func sendMany(s *harness.Session, n int, sent func()) error {
	if reply, err := s.Say("EHLO client.example"); err != nil || reply[:3] != "250" {
		return fmt.Errorf("EHLO: %q %w", reply, err)
	}
	for range n {
		for _, command := range []string{"MAIL FROM:<bob@example.com>", "RCPT TO:<u@far.example>", "DATA", "Subject: x\r\n\r\ntext\r\n."} {
			reply, err := s.Say(command)
			if err != nil {
				return fmt.Errorf("%.20s: %w", command, err)
			}
			if reply[0] > '3' {
				return fmt.Errorf("%.20s: %s", command, reply)
			}
		}
		sent()
	}
	return nil
}

// TestSessionLimit fills all places. The next client is served as soon as one
// is free, with the settings for stress.
func TestSessionLimit(t *testing.T) {
	const places = 20
	i := crowd(t, places)
	var held []*harness.Session
	for k := range places {
		s, _ := connect(t, i, addrOf(k))
		held = append(held, s)
	}
	i.WaitLog(`all server ports busy|all ports busy|process limit`)
	waiting, err := net.Dial("tcp", i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	waiting.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := waiting.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a client is served although all places are taken")
	}
	start := time.Now()
	held[0].Close()
	buf := make([]byte, 512)
	say := func(command string) string {
		t.Helper()
		if command != "" {
			fmt.Fprint(waiting, command+"\r\n")
		}
		waiting.SetReadDeadline(time.Now().Add(harness.Wait))
		n, err := waiting.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return string(buf[:n])
	}
	if got := say(""); !strings.HasPrefix(got, "220") {
		t.Errorf("greeting: %s", got)
	}
	if took := time.Since(start); took > soon {
		t.Errorf("the next client waited for %s", took)
	}
	say("EHLO client.example")
	// Under stress one error is too many (smtpd_hard_error_limit).
	if got := say("NONSENSE"); !strings.Contains(got, "421 4.7.0 mail.example.com Error: too many errors") {
		if got = say(""); !strings.HasPrefix(got, "421 4.7.0 mail.example.com Error: too many errors") {
			t.Errorf("after an error: %s", got)
		}
	}
	// Who waits in silence is disconnected after 3 seconds, not 300.
	start = time.Now()
	silent, _ := connect(t, i, addrOf(100))
	if got := ended(silent); !strings.HasPrefix(got, "421 4.4.2") {
		t.Errorf("a silent client: %s", got)
	}
	if took := time.Since(start); took < 2*time.Second || took > soon {
		t.Errorf("a silent client was kept for %s", took)
	}
}
